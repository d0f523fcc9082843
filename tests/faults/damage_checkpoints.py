"""Damage the checkpoints of a run and resume it: nothing damaged is loaded, and the newest whole checkpoint is.

python tests/faults/damage_checkpoints.py --count 200 --seed 0
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from unpairaug.errors import UserError
from unpairaug.recipe import Recipe, load_recipe
from unpairaug.training.build import build_trainer, make_accelerator
from unpairaug.training.checkpoint import list_checkpoints, load_checkpoint
from unpairaug.training.resume import resume
from unpairaug.training.run_folder import RunFolder
from unpairaug.training.run_recipe import run_recipe
from unpairaug.training.trainer import JointTrainer
from unpairaug.training.training_data import open_data, resolve_lengths

STEPS = [2, 4, 6]
"""Steps at which the run saves a checkpoint."""


def recipe_of(folder: Path, seed: int = 0) -> Recipe:
    lengths = [f"train.steps={STEPS[-1]}", "train.checkpoint_every=2", f"train.keep_checkpoints={len(STEPS)}"]
    quick = ["data.val_clean=null", "data.val_degraded=null", "train.sample_every=100", "translator.pool_size=8"]
    return load_recipe("smoke", [*lengths, *quick, f"train.seed={seed}", f"output_dir={folder}"])


def flip_bits(checkpoint: Path, other: Path, rng: random.Random) -> None:
    path = rng.choice([path for path in checkpoint.iterdir() if path.stat().st_size])
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 1, 8, 64])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def truncate(checkpoint: Path, other: Path, rng: random.Random) -> None:
    path = rng.choice([path for path in checkpoint.iterdir() if path.stat().st_size])
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def zero_block(checkpoint: Path, other: Path, rng: random.Random) -> None:
    path = rng.choice([*checkpoint.iterdir()])
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    content[start : start + 4096] = bytes(len(content[start : start + 4096]))
    path.write_bytes(content)


def swap_files(checkpoint: Path, other: Path, rng: random.Random) -> None:
    one, two = rng.sample(sorted(checkpoint.iterdir()), 2)
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)


def remove_file(checkpoint: Path, other: Path, rng: random.Random) -> None:
    rng.choice([*checkpoint.iterdir()]).unlink()


def add_file(checkpoint: Path, other: Path, rng: random.Random) -> None:
    name = rng.choice(["best.safetensors", "extra.safetensors", ".hidden", "notes.txt", "state.json.bak"])
    (checkpoint / name).write_bytes(rng.randbytes(rng.randrange(100)))


def take_file_of_another_run(checkpoint: Path, other: Path, rng: random.Random) -> None:
    """Most often the image pool: nothing else in the checkpoint depends on it."""
    name = rng.choice(["image_pool.safetensors", rng.choice([path.name for path in checkpoint.iterdir()])])
    shutil.copy(other / checkpoint.name / name, checkpoint / name)


def take_file_of_another_step(checkpoint: Path, other: Path, rng: random.Random) -> None:
    step = rng.choice([step for step in STEPS if checkpoint.name != f"step_{step}"])
    name = rng.choice([path.name for path in checkpoint.iterdir()])
    shutil.copy(other.parent.parent / "run" / "checkpoints" / f"step_{step}" / name, checkpoint / name)


def drop_optimizer_rows(checkpoint: Path, other: Path, rng: random.Random) -> None:
    path = checkpoint / "optimizer.safetensors"
    tensors = load_file(path)
    for key in rng.sample(sorted(tensors), rng.randrange(1, len(tensors))):
        del tensors[key]
    save_file(tensors, path)


def edit_state(checkpoint: Path, other: Path, rng: random.Random) -> None:
    path = checkpoint / "state.json"
    state = json.loads(path.read_text())
    state["step"] = rng.choice([10**9, -1, 0, 2.5, None, state["step"] + 1, "6"])
    path.write_text(rng.choice([json.dumps(state, indent=2), "[]", "null", "[" * 5000, ""]))


def plant_nan(checkpoint: Path, other: Path, rng: random.Random) -> None:
    path = rng.choice([p for p in checkpoint.glob("*.safetensors") if load_file(p)])
    tensors = load_file(path)
    floats = [key for key, tensor in sorted(tensors.items()) if tensor.is_floating_point()]
    tensors[rng.choice(floats)].view(-1)[0] = rng.choice([torch.nan, torch.inf])
    save_file(tensors, path)


def take_checkpoint_of_another_run(checkpoint: Path, other: Path, rng: random.Random) -> None:
    """A whole one: it is refused, because it is of another seed."""
    shutil.rmtree(checkpoint)
    shutil.copytree(other / checkpoint.name, checkpoint)


def take_checkpoint_of_another_step(checkpoint: Path, other: Path, rng: random.Random) -> None:
    shutil.rmtree(checkpoint)
    step = rng.choice([step for step in STEPS if checkpoint.name != f"step_{step}"])
    shutil.copytree(other.parent.parent / "run" / "checkpoints" / f"step_{step}", checkpoint)


Damage = Callable[[Path, Path, random.Random], None]
KINDS: list[Damage] = [
    *(flip_bits, truncate, zero_block, swap_files, remove_file, add_file, take_file_of_another_run),
    *(take_file_of_another_step, drop_optimizer_rows, edit_state, plant_nan),
    *(take_checkpoint_of_another_run, take_checkpoint_of_another_step),
]


class Harness:
    """Two runs that differ in their seed, and a trainer that checkpoints are loaded into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, seed in (("run", 0), ("other", 1)):
            run_recipe(recipe_of(folder / name, seed), "smoke")
        recipe = recipe_of(folder / "run")
        accelerator = make_accelerator(recipe)
        self.data = open_data(recipe)
        self.recipe = resolve_lengths(recipe, self.data, processes=1)
        self.trainer: JointTrainer = build_trainer(self.recipe, accelerator)

    def damage(self, case: Path, kind: Damage, count: int, rng: random.Random) -> None:
        """Damage the newest checkpoints of a copy of the run."""
        shutil.copytree(self.folder / "run", case)
        for checkpoint in list_checkpoints(case / "checkpoints")[-count:]:
            before = contents(checkpoint)
            while contents(checkpoint) == before:  # bits may be flipped back, or zeros written over zeros
                kind(checkpoint, self.folder / "other" / "checkpoints", rng)

    def outcome(self, case: Path, count: int) -> str:
        """What a resume does with a run whose newest checkpoints are damaged."""
        recipe = self.recipe.model_copy(update={"output_dir": str(case)})
        run = RunFolder(recipe, self.data.identity())
        try:
            step = resume(recipe, self.trainer, run).step
        except UserError as error:
            return "refused" if len(str(error)) <= 2000 else f"FAILED: a message of {len(str(error))} characters"
        if count == len(STEPS):
            return f"FAILED: it resumed from step {step}, and every checkpoint is damaged"
        expected = STEPS[-1 - count]
        if step != expected:
            return f"FAILED: it resumed from step {step}, and step {expected} is the newest whole one"
        files, _ = load_checkpoint(self.folder / "run" / "checkpoints" / f"step_{expected}")
        found, _ = self.trainer.state()
        same = all(torch.equal(found[name][key], tensor) for name in found for key, tensor in files[name].items())
        left = sorted(path.name for path in (case / "checkpoints").iterdir())
        wanted = sorted(
            [f"damaged_step_{step}" for step in STEPS if step > expected]
            + [f"step_{step}" for step in STEPS if step <= expected]
        )
        return "the newest whole one" if same and left == wanted else f"FAILED: same tensors: {same}, left: {left}"


def contents(checkpoint: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in checkpoint.iterdir()}


def run_cases(folder: Path, count: int, seed: int) -> list[tuple[str, str]]:
    """Kind and outcome of each case; the kinds in turn, the newest checkpoint damaged, or the newest two, or all."""
    harness, rng, found = Harness(folder), random.Random(seed), []
    for number in range(count):
        kind, damaged = KINDS[number % len(KINDS)], rng.choice([1, 1, 1, 2, 3])
        case = folder / "case"
        harness.damage(case, kind, damaged, rng)
        name = f"{kind.__name__} × {damaged}"
        try:
            found.append((name, harness.outcome(case, damaged)))
        except Exception as error:
            found.append((name, f"FAILED: {type(error).__name__}: {error}"))
        shutil.rmtree(case)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run_cases(Path(folder), options.count, options.seed)
    for name, outcome in found:
        if outcome.startswith("FAILED"):
            print(f"{name}: {outcome}")
    print(Counter(outcome.partition(":")[0] for _, outcome in found))
    raise SystemExit(any(outcome.startswith("FAILED") for _, outcome in found))


if __name__ == "__main__":
    main()
