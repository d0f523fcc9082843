"""Load mutated model folders, and apply what loads to an image.

python tests/faults/fuzz_model_folders.py --count 5000 --seed 0
"""

from __future__ import annotations

import copy
import json
import logging
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from hostile import draw_value, find_places, limited, mutate_values
from mutate import Case, Fault, main, mutate, run_cases

os.environ["HF_HUB_OFFLINE"] = "1"

from unpairaug import Task, Translator, UserError
from unpairaug.registry import tasks
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
Folder = tuple[str, dict[str, Any], bytes]
"""Which part, its config.json, its weights."""


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
            config = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
            folders.append((part.part, config, Path(folder, "model.safetensors").read_bytes()))
    return folders


def make_cases(folders: list[Folder], count: int, seed: int) -> Iterator[Case]:
    """Pairs of config.json and weights, of which one is mutated: as bytes, or as values."""
    rng = random.Random(seed)
    keys = [str(key) for _, config, _ in folders for holder, key in find_places(config) if isinstance(holder, dict)]
    texts = [json.dumps(config).encode() for _, config, _ in folders]
    blobs = [weights for *_, weights in folders]
    for _ in range(count):
        at = rng.randrange(len(folders))
        part, config, weights = folders[at]
        text, kind = texts[at], rng.choice(["config bytes", *["config values"] * 5, "options", "weights", "header"])
        if kind == "config bytes":
            text = mutate(text, texts, rng)
        elif kind == "config values":
            text = json.dumps(mutate_values(config, keys, rng)).encode()
        elif kind == "options":
            text = json.dumps(_change_option(config, part, rng)).encode()
        elif kind == "weights":
            weights = mutate(weights, blobs, rng)
        else:
            weights = _mutate_header(weights, keys, rng)
        yield Case(f"{kind} of a {part}", len(text).to_bytes(8, "little") + text + weights)


def _change_option(config: dict[str, Any], part: str, rng: random.Random) -> dict[str, Any]:
    """Another number or another value where the type of the option stays as it is: what a check of types lets pass."""
    changed = copy.deepcopy(config)
    places = [
        (holder, key) for holder, key in find_places(changed[part]) if type(holder[key]) in (int, float, bool, str)
    ]
    if places:
        holder, key = rng.choice(places)
        wanted, value = type(holder[key]), draw_value(rng)
        while type(value) is not wanted:
            value = draw_value(rng)
        holder[key] = value
    return changed


def _mutate_header(weights: bytes, keys: list[str], rng: random.Random) -> bytes:
    """The same file with other names, shapes, types or offsets of tensors."""
    length = int.from_bytes(weights[:8], "little")
    header = json.dumps(mutate_values(json.loads(weights[8 : 8 + length]), keys, rng)).encode()
    return len(header).to_bytes(8, "little") + header + weights[8 + length :]


def run(count: int, seed: int) -> tuple[list[Fault], str]:
    """Load each case; what loads restores or degrades an image, and is described on a card."""
    logging.getLogger("unpairaug").setLevel(logging.ERROR)  # folders without a manifest are warned of
    image, folders = torch.rand(1, 3, 16, 16), make_folders()
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"

        def read(case: Case) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            length = int.from_bytes(case.data[:8], "little")
            (folder / "config.json").write_bytes(case.data[8 : 8 + length])
            (folder / "model.safetensors").write_bytes(case.data[8 + length :])
            is_task = case.kind.endswith("task")
            part: Any = (Task if is_task else Translator).from_pretrained(folder)
            part.generate_model_card()
            with torch.inference_mode():
                _apply(part, image)

        for name, config, weights in folders:  # also imports what is imported late, before memory is limited
            text = json.dumps(config).encode()
            read(Case(f"whole {name}", len(text).to_bytes(8, "little") + text + weights))
        return run_cases(make_cases(folders, count, seed), limited(read))


def _apply(part: Any, image: torch.Tensor) -> None:
    """Restore or degrade; what a network cannot do with so small an image is no fault of the folder's reader."""
    try:
        part(image) if isinstance(part, Task) else part.degrade(image, torch.Generator().manual_seed(0))
    except (RuntimeError, UserError, NotImplementedError, AssertionError, ValueError) as error:
        if "memory" in str(error):
            raise


if __name__ == "__main__":
    main(__doc__ or "", 5_000, run)
