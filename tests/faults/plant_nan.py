"""Plant a value that is not finite in a run: in each loss term, in each network's gradient, in three precisions.

It is planted in the step before a checkpoint and in the last step, and nothing of it may be saved.

    python tests/faults/plant_nan.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from unpairaug.errors import RunStopped
from unpairaug.losses import Losses
from unpairaug.recipe import load_recipe
from unpairaug.training import build, replay, run_recipe
from unpairaug.training.checkpoint import find_checkpoint_damage, list_checkpoints
from unpairaug.training.trainer import JointTrainer

STEPS, EVERY = 8, 3
"""Steps of the run, and steps between its checkpoints."""
BEFORE_A_CHECKPOINT, LAST = 5, 7
"""Bad steps, counted from 0."""


class Fault(NamedTuple):
    """What is planted, and where."""

    name: str
    """`loss <term>`, `gradient of <network>` or `weights of <network>`."""
    steps: Sequence[int]
    """Counted from 0."""
    precision: str = "no"
    times: int = 1000
    """How often it is computed, at most."""


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """While it lasts, every trainer computes the fault in its steps."""
    kind, _, name = fault.name.partition(" ")
    name = name.removeprefix("of ")
    originals = {method: getattr(JointTrainer, method) for method in ("accumulate", "backward", "average_gradients")}
    originals["update"] = JointTrainer.update
    now, left = [-1], [fault.times]

    def is_due(kind_of_place: str) -> bool:
        if kind != kind_of_place or now[0] not in fault.steps or not left[0]:
            return False
        left[0] -= 1
        return True

    def accumulate(self: JointTrainer, batch: Any, step: int, *rest: Any) -> Losses:
        now[0] = step
        return originals["accumulate"](self, batch, step, *rest)

    def backward(self: JointTrainer, losses: Losses, share: float) -> None:
        if name in losses and is_due("loss"):
            losses[name] = losses[name] * torch.nan
        originals["backward"](self, losses, share)

    def average_gradients(self: JointTrainer) -> None:
        if is_due("gradient"):
            for parameter in self.networks[name].parameters():
                if parameter.grad is not None:
                    parameter.grad[(0,) * parameter.ndim] = torch.nan
        originals["average_gradients"](self)

    def update(self: JointTrainer, step: int) -> None:
        originals["update"](self, step)
        if is_due("weights"):
            with torch.no_grad():
                next(self.networks[name].parameters()).fill_(torch.inf)

    patches = {"accumulate": accumulate, "backward": backward, "average_gradients": average_gradients, "update": update}
    with patch.multiple(JointTrainer, **patches), emulated_fp16():
        yield


@contextmanager
def emulated_fp16() -> Iterator[None]:
    """Let accelerate use fp16 and its gradient scaler on a CPU, too; without this it asks for a GPU."""
    original = build.make_accelerator

    def make(recipe: Any, **options: Any) -> Accelerator:
        AcceleratorState._reset_state()  # another precision than that of the run before
        if recipe.train.mixed_precision != "fp16" or torch.cuda.is_available():
            return original(recipe, **options)
        full = recipe.model_copy(update={"train": recipe.train.model_copy(update={"mixed_precision": "no"})})
        accelerator = original(full, **options)
        accelerator.state._mixed_precision, accelerator.native_amp = "fp16", True
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        return accelerator

    with patch.object(run_recipe, "make_accelerator", make), patch.object(replay, "make_accelerator", make):
        yield


def overrides(folder: Path, precision: str = "no", policy: str = "stop") -> list[str]:
    return [
        *(f"train.steps={STEPS}", f"train.checkpoint_every={EVERY}", f"train.on_nonfinite={policy}"),
        *("schedule.translator_warmup=0", "schedule.head_warmup=0", "data.val_clean=null", "data.val_degraded=null"),
        *(
            "task.loss={l1: 1, gan: {weight: 0.1, discriminator: {type: srgan, ndf: 4, norm: none}}}",
            "train.log_every=4",
        ),
        *(f"output_dir={folder}", f"train.mixed_precision={precision}", "data.batch_size=2", "train.sample_every=100"),
        "train.select_checkpoint=false",
    ]


def train(folder: Path, fault: Fault | None = None, policy: str = "stop", *more: str) -> str:
    """Train, and return the message with which the run ended; empty for a completed one."""
    precision = fault.precision if fault else "no"
    recipe = load_recipe("smoke", [*overrides(folder, precision, policy), *more])
    with planted(fault or Fault("", [])):
        try:
            run_recipe.run_recipe(recipe, "smoke")
        except RunStopped as error:
            return str(error)
    return ""


def names_of_everything() -> list[str]:
    """The loss terms and networks of the run."""
    found: list[str] = []
    original = JointTrainer.train_step

    def record(self: JointTrainer, *arguments: Any) -> Losses:
        losses = original(self, *arguments)
        found[:] = [*(f"loss {name}" for name in losses), *(f"gradient of {name}" for name in self.networks)]
        return losses

    with tempfile.TemporaryDirectory() as folder, patch.object(JointTrainer, "train_step", record):
        train(Path(folder))
    return found


def find_failures(folder: Path, fault: Fault) -> list[str]:
    """Train with a fault, and return what is not as it must be."""
    message, wrong, step = train(folder, fault), [], fault.steps[0]
    is_scaled = fault.precision == "fp16" and fault.name.startswith("gradient")
    files = [file for part in ("checkpoints", "head", "translator") for file in (folder / part).rglob("*.safetensors")]
    for file in files:
        if any(not torch.isfinite(t).all() for t in load_file(file).values() if t.is_floating_point()):
            wrong.append(f"{file} is not finite")
    steps = [int(path.name.removeprefix("step_")) for path in list_checkpoints(folder / "checkpoints")]
    damage = {path: find_checkpoint_damage(path) for path in list_checkpoints(folder / "checkpoints")}
    wrong += [f"{path}: {found}" for path, found in damage.items() if found]
    if is_scaled:  # the scaler leaves the step out, and the run is completed
        return wrong + ([message] if message else []) + ([] if steps[-1] == STEPS else [f"checkpoints {steps}"])
    file = folder / "nonfinite" / f"step_{step}.safetensors"
    if f"step {step + 1} is not finite: " not in message or fault.name not in message or str(file) not in message:
        wrong.append(f"the message is {message!r}")
    if steps[-1] != step:
        wrong.append(f"checkpoints {steps}, and the last finite state is that of step {step}")
    with planted(fault):
        again = replay.replay(file)
    if fault.name not in again.bad():
        wrong.append(f"the replay has {again.values}")
    if any(found not in again.bad() for found in again.names):
        wrong.append(f"the replay is finite where the run was not: {again.names}")
    if replay.replay(file).bad() if fault.precision != "fp16" else ():
        wrong.append("the replay is not finite without the fault")
    return wrong


def main() -> None:
    failed = count = 0
    for name in names_of_everything():
        for precision in ("no", "bf16", "fp16"):
            for step in (BEFORE_A_CHECKPOINT, LAST):
                fault = Fault(name, [step], precision)
                with tempfile.TemporaryDirectory() as folder:
                    wrong = find_failures(Path(folder) / "run", fault)
                count, failed = count + 1, failed + bool(wrong)
                for line in wrong:
                    print(f"{fault}: {line}")
    print(f"{count} faults planted, {failed} failed")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
