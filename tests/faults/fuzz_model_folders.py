"""Load mutated model folders, and apply what loads to an image.

python tests/faults/fuzz_model_folders.py --count 5000 --seed 0
"""

from __future__ import annotations

import json
import logging
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from hostile import change_alike, find_places, limited, mutate_values
from mutate import Case, Fault, main, mutate, run_cases

os.environ["HF_HUB_OFFLINE"] = "1"

from unpairaug import Task, Translator, UserError
from unpairaug.registry import tasks
from unpairaug.sharing import pretrained
from unpairaug.translator import build_translator

HEADS: list[dict[str, Any]] = [
    {"type": "vdsr", "depth": 3, "width": 4},
    {"type": "vdsr_cyclesr", "n_blocks": 1, "width": 4},
    {"type": "edsr", "n_blocks": 1, "width": 4},
    {"type": "fsrcnn", "width": 4, "shrunk": 2, "depth": 1},
    {"type": "srresnet", "n_blocks": 1, "width": 4},
    {"type": "spandrel", "arch": "Compact", "num_feat": 4, "num_conv": 1},
]
PATCH = {"type": "patch", "ndf": 4, "n_layers": 1}
TRANSLATORS: list[dict[str, Any]] = [
    {"type": "cyclegan", "ngf": 4, "n_blocks": 1, "discriminator": PATCH},
    {"type": "stochastic_cyclegan", "width": 4, "depth": 2, "measure": "all"},
    {"type": "one_sided", "width": 4, "depth": 2},
    {"type": "kernel_noise", "kernel": 5, "latent": 2},
    {"type": "cut", "ngf": 4, "n_blocks": 1, "layers": [1, 2], "discriminator": PATCH},
    {"type": "cincgan", "width": 4, "n_blocks": 1, "discriminator": PATCH},
    {"type": "classic"},
    {"type": "bicubic"},
]
FILES = ("config.json", "model.safetensors", "manifest.json")
KINDS = ("config bytes", *["config values"] * 5, "options", "weights", "header", "manifest")
Folder = tuple[str, list[bytes]]
"""Which part, and its files."""


def make_folders() -> list[Folder]:
    """Whole folders, small ones."""
    torch.manual_seed(0)
    parts: list[Any] = [tasks.build({"type": "sr", "scale": 2, "head": head}) for head in HEADS]
    parts += [tasks.build({"type": "denoise", "head": {"type": "dncnn", "depth": 3, "width": 4}})]
    parts += [parts[-1].with_restorer(build_translator(TRANSLATORS[0]))]
    parts += [build_translator(spec) for spec in TRANSLATORS]
    with tempfile.TemporaryDirectory() as folder:
        folders = []
        for part in parts:
            part.save_pretrained(folder)
            folders.append((part.part, [Path(folder, name).read_bytes() for name in FILES]))
    return folders


def make_cases(folders: list[Folder], count: int, seed: int) -> Iterator[Case]:
    """Folders of which one file is mutated: as bytes, or as values. Only a mutated manifest is there at all."""
    rng = random.Random(seed)
    configs = [json.loads(files[0]) for _, files in folders]
    keys = [str(key) for config in configs for holder, key in find_places(config) if isinstance(holder, dict)]
    texts, blobs, manifests = zip(*(files for _, files in folders), strict=True)
    for _ in range(count):
        at, kind = rng.randrange(len(folders)), rng.choice(KINDS)
        (part, (text, weights, manifest)), config = folders[at], configs[at]
        if kind == "config bytes":
            text = mutate(text, [*texts], rng)
        elif kind == "config values":
            text = json.dumps(mutate_values(config, keys, rng)).encode()
        elif kind == "options":
            text = json.dumps(change_alike(config, part, rng)).encode()
        elif kind == "weights":
            weights = mutate(weights, [*blobs], rng)
        elif kind == "header":
            weights = _mutate_header(weights, keys, rng)
        manifest = mutate(manifest, [*manifests], rng) if kind == "manifest" else b""
        yield Case(f"{kind} of a {part}", _pack([text, weights, manifest]))


def _pack(files: list[bytes]) -> bytes:
    return json.dumps([file.hex() for file in files]).encode()


def _mutate_header(weights: bytes, keys: list[str], rng: random.Random) -> bytes:
    """The same file with other names, shapes, types or offsets of tensors."""
    length = int.from_bytes(weights[:8], "little")
    header = json.dumps(mutate_values(json.loads(weights[8 : 8 + length]), keys, rng)).encode()
    return len(header).to_bytes(8, "little") + header + weights[8 + length :]


def run(count: int, seed: int) -> tuple[list[Fault], str]:
    """Load each case; what loads restores or degrades an image, and is described on a card."""
    logging.getLogger("unpairaug").setLevel(logging.ERROR)  # folders without a manifest are warned of
    pretrained.sleep = lambda seconds: None  # no other process writes the folder, so that waiting is useless
    image, folders = torch.rand(1, 3, 16, 16), make_folders()
    with tempfile.TemporaryDirectory() as folder:

        def read(case: Case) -> None:
            for name, file in zip(FILES, json.loads(case.data), strict=True):
                path = Path(folder, name)
                path.write_bytes(bytes.fromhex(file)) if file else path.unlink(missing_ok=True)
            is_task = case.kind.endswith("task")
            part: Any = (Task if is_task else Translator).from_pretrained(folder)
            part.generate_model_card()
            with torch.inference_mode():
                _apply(part, image)

        for name, files in folders:  # also imports what is imported late, before memory is limited
            read(Case(f"whole {name}", _pack(files)))
        return run_cases(make_cases(folders, count, seed), limited(read))


def _apply(part: Any, image: torch.Tensor) -> None:
    """Restore or degrade; what a network cannot do with so small an image is no fault of the folder's reader."""
    try:
        part(image) if isinstance(part, Task) else part.degrade(image, torch.Generator().manual_seed(0))
    except (RuntimeError, UserError) as error:
        if "memory" in str(error):
            raise


if __name__ == "__main__":
    main(__doc__ or "", 5_000, run)
