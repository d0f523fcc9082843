"""Replay mutated files of steps that went wrong, as `unpairaug debug replay` does.

python tests/faults/fuzz_replays.py --count 2000 --seed 0
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from hostile import change_alike, find_places, limited, mutate_values
from mutate import Case, Fault, main, mutate, run_cases

os.environ["HF_HUB_OFFLINE"] = "1"

from unpairaug.data import UnpairedBatch
from unpairaug.recipe import load_recipe
from unpairaug.training.build import build_trainer
from unpairaug.training.replay import replay, save_replay

KINDS = ("bytes", "values", "values", "values", "options")
SMALL = ["task.head={type: vdsr, depth: 3, width: 4}", "translator={type: cyclegan, ngf: 4, n_blocks: 1}"]
SMALL += ["translator.discriminator={type: patch, ndf: 4, n_layers: 1}", "data.crop=16", "data.batch_size=1"]


def make_file(path: Path) -> bytes:
    """A whole file of a step of a small run."""
    recipe = load_recipe("smoke", SMALL).resolve(steps_per_epoch=7)
    files, state = build_trainer(recipe, Accelerator(cpu=True)).state()
    batch = UnpairedBatch(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 8, 8), torch.tensor([3]))
    save_replay(path, 2, ["loss"], recipe, files, state, [batch], "no")
    return path.read_bytes()


def make_cases(whole: bytes, count: int, seed: int) -> Iterator[Case]:
    """The file with mutated bytes, or with other values in the recipe, the state and what else it says."""
    rng = random.Random(seed)
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    values = json.loads(header["__metadata__"]["replay"])
    keys = [str(key) for holder, key in find_places(values) if isinstance(holder, dict)]
    for _ in range(count):
        kind = rng.choice(KINDS)
        if kind == "bytes":
            yield Case(kind, mutate(whole, [whole], rng))
            continue
        changed = change_alike(values, "recipe", rng) if kind == "options" else mutate_values(values, keys, rng)
        yield Case(kind, _with_values(header, changed, whole[8 + length :]))


def _with_values(header: dict[str, Any], values: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps({**header, "__metadata__": {"replay": json.dumps(values)}}).encode()
    return len(text).to_bytes(8, "little") + text + data


def run(count: int, seed: int) -> tuple[list[Fault], str]:
    """Replay each case."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step_2.safetensors"
        whole = make_file(path)
        replay(path)  # imports what is imported late, before memory is limited

        def read(case: Case) -> None:
            path.write_bytes(case.data)
            replay(path)

        return run_cases(make_cases(whole, count, seed), limited(read))


if __name__ == "__main__":
    main(__doc__ or "", 2000, run)
