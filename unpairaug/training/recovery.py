"""What becomes of a run at a step that is not finite: it stops, leaves the step out, or rolls back.

The last good state is kept in memory. A bad step is found some steps late, so the run goes back to that state and takes
its steps once more, each checked by itself, up to the bad one. No weight that came after it is ever saved.
"""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast

from torch import Tensor

from unpairaug.data import UnpairedBatch
from unpairaug.errors import RunStopped
from unpairaug.losses import Losses
from unpairaug.registry.trust import find_code_names
from unpairaug.sharing.tensor_file import find_nonfinite
from unpairaug.terminal.progress import Progress
from unpairaug.training.checkpoint import Tensors, flatten_files
from unpairaug.training.replay import save_replay
from unpairaug.training.run_folder import RunFolder
from unpairaug.training.step_reader import StepReader
from unpairaug.training.step_watch import BadStep, StepWatch
from unpairaug.training.trainer import JointTrainer

MAX_NAMES = 4
"""Samples whose images a message names."""
ADVICE = (
    "If a head or loss of your own returns NaN or infinity, mend it. Else lower the learning rates, "
    "set train.clip=1, or use train.mixed_precision=no; or let train.on_nonfinite=skip leave "
    "out such steps. Then the same command goes on"
)


class Loop(Protocol):
    """What takes the steps, and is saved and restored beside the trainer."""

    progress: Progress

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...
    def save_between_intervals(self, step: int) -> None: ...


class Snapshot(NamedTuple):
    """A state in memory."""

    step: int
    """Steps taken."""
    files: dict[str, Tensors]
    state: dict[str, Any]
    loop: dict[str, Any]


class Recovery:
    """Keeps the last good state, and decides what follows a bad step. All methods are collective."""

    def __init__(self, trainer: JointTrainer, run: RunFolder, loop: Loop, reader: StepReader) -> None:
        """Keep nothing yet.

        Args:
            trainer: whose state is kept.
            run: the run; `train.on_nonfinite` of its recipe says what follows a bad step.
            loop: takes the steps.
            reader: names the images of a sample.
        """
        self.trainer, self.run, self.loop, self.reader = trainer, run, loop, reader
        self.watch = StepWatch(trainer)
        self.good: Snapshot | None = None
        """The last state after which something was logged; all steps up to it are checked."""
        self.before: Snapshot | None = None
        """The state before the present step, while each is checked by itself."""
        self.check_each_until = 0
        """Steps up to which each is checked by itself; 0 in a run that goes well."""
        self.bad_steps = 0
        """Bad steps that the run has passed so far."""
        self.is_due = True
        """Whether the next state is to be kept, because something was logged after the last."""

    def begin_step(self, step: int) -> None:
        """Keep the state before a step, counted from 0, if it is to be kept."""
        if step < self.check_each_until:
            self.before = self._take_snapshot(step)
        elif self.is_due:
            self.good, self.is_due = self._take_snapshot(step), False

    def end_step(self, step: int, losses: Losses, batches: Sequence[UnpairedBatch]) -> None:
        """Keep the numbers of a step for the next check; or check it, while each is checked by itself.

        Raises:
            BadStep: it is not finite.
            RunStopped: the run has diverged.
        """
        self.watch.add(step, losses)
        if step < self.check_each_until:
            self.batches = batches
            self.check(step + 1)
            self.check_state(step + 1, self.trainer.state()[0])
            if step + 1 == self.check_each_until:
                self._pass("the steps before were not finite, and are when they are taken again", step + 1)

    def check(self, steps: int) -> None:
        """Check the steps since the last check, and log new warnings.

        Args:
            steps: steps taken.

        Raises:
            BadStep: one is not finite.
            RunStopped: the run has diverged.
        """
        for warning in self.watch.check(steps):
            self.loop.progress.log(f"warning: {warning}")
            self.is_due = True  # not to be logged again

    def check_state(self, steps: int, files: dict[str, Tensors]) -> None:
        """Check tensors of the state after so many steps.

        Raises:
            BadStep: one is not finite.
        """
        if names := find_nonfinite(flatten_files(files)):
            raise BadStep(steps - 1, names, steps)

    def handle(self, bad: BadStep) -> bool:
        """Go back to a good state, and decide how the run goes on.

        Returns:
            Whether the bad step is left out; else the steps from the good state on are to be taken again.

        Raises:
            RunStopped: the run ends here, with a checkpoint of the state before the bad step.
        """
        assert self.good is not None
        if not self.check_each_until:
            self.check_each_until = bad.steps
            self._restore(self.good)
            return False
        assert self.before is not None
        self._restore(self.before)
        train = self.run.recipe.train
        fault = f"step {bad.step + 1} is not finite: {_shorten(bad.names)}, of {self._describe_samples()}"
        saved = self._save_replay(bad)
        if train.on_nonfinite == "stop" or self.bad_steps >= train.max_nonfinite:
            raise self._stop(f"{fault}. {saved}", bad.step)
        if train.on_nonfinite == "rollback":
            self._restore(self.good)
        how = "left out" if train.on_nonfinite == "skip" else f"left out, with those after step {self.good.step}"
        self._pass(f"{fault}; {how}. {saved}", bad.step + 1)
        return True

    def state_dict(self) -> dict[str, Any]:
        """What later checks depend on, as JSON holds it."""
        return {**self.watch.state_dict(), "bad_steps": self.bad_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.watch.load_state_dict(state)
        self.bad_steps = state["bad_steps"]

    def _pass(self, what: str, steps: int) -> None:
        """Count a bad step that the run passes, and let it go on in the usual way."""
        self.bad_steps += 1
        self.check_each_until, self.is_due = 0, True
        self.loop.progress.log(f"warning: {what}")
        if self.bad_steps > self.run.recipe.train.max_nonfinite:
            raise self._stop(f"{what}; this has happened {self.bad_steps} times", steps)

    def _stop(self, what: str, step: int) -> RunStopped:
        """The error that ends the run, after a checkpoint of the present state."""
        if step == 0:
            return RunStopped(f"{what}. No step is saved. {ADVICE}")
        self.loop.save_between_intervals(step)
        return RunStopped(f"{what}. The state before it is saved as {self.run.checkpoints / f'step_{step}'}. {ADVICE}")

    def _take_snapshot(self, step: int) -> Snapshot:
        files, state = self.trainer.state()
        copies = {
            file: {key: t.detach().to("cpu", copy=True) for key, t in held.items()} for file, held in files.items()
        }
        return Snapshot(step, copies, copy.deepcopy(state), copy.deepcopy(self.loop.state_dict()))

    def _restore(self, snapshot: Snapshot) -> None:
        passed = self.bad_steps
        self.trainer.load_state(snapshot.files, copy.deepcopy(snapshot.state))
        self.loop.load_state_dict(copy.deepcopy(snapshot.loop))
        self.loop.progress.go_back(snapshot.step)
        self.bad_steps = passed

    def _describe_samples(self) -> str:
        """The samples of the present step, and the images of the first of them."""
        samples = sorted(index for batch in self._gather_batches() for index in batch.index.tolist())
        images = (f"{sample}: {' and '.join(self.reader.image_names(sample))}" for sample in samples[:MAX_NAMES])
        more = "; …" if len(samples) > MAX_NAMES else ""
        return f"samples {samples[0]} to {samples[-1]} ({'; '.join(images)}{more})"

    def _gather_batches(self) -> list[UnpairedBatch]:
        """The micro-batches of the present step, of all processes."""
        processes = self.trainer.accelerator.num_processes
        every = []
        for batch in self.batches:
            sides = [cast("Tensor", self.trainer.accelerator.gather(side)).chunk(processes) for side in batch]
            every += [UnpairedBatch(*one) for one in zip(*sides, strict=True)]
        return every

    def _save_replay(self, bad: BadStep) -> str:
        """Write the file for `unpairaug debug replay`, and say where it is."""
        assert self.before is not None
        path = self.run.path / "nonfinite" / f"step_{bad.step}.safetensors"
        batches, precision = self._gather_batches(), self.trainer.accelerator.mixed_precision
        try:
            if self.run.active:
                before = self.before
                save_replay(path, bad.step, bad.names, self.run.recipe, before.files, before.state, batches, precision)
        except OSError as error:
            return f"Its batch cannot be written: {error.strerror}"
        has_code = any(
            re.fullmatch(r"[\w.]+:\w+", name) for name in find_code_names(self.run.recipe.model_dump(exclude={"data"}))
        )
        return (
            f"unpairaug debug replay {shlex.quote(str(path))}{' --trust-code' if has_code else ''} takes the step again"
        )


def _shorten(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
