"""The training loop: every step, with logs, samples, validation and checkpoints at their intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from unpairaug.data import UnpairedBatch, ValidationPairs
from unpairaug.data.bad import BadCount
from unpairaug.errors import RunStopped
from unpairaug.losses import Losses
from unpairaug.recipe import TrainSection
from unpairaug.restoring.restore import Bicubic, Restorer
from unpairaug.rng import mix_seed
from unpairaug.terminal.progress import Progress
from unpairaug.training.checkpoint_selection import CheckpointSelection
from unpairaug.training.events import EventFiles
from unpairaug.training.gain import format_validation, measure_unpaired_gain, measure_with_gain
from unpairaug.training.guards import Guards
from unpairaug.training.recovery import Recovery
from unpairaug.training.run_folder import RunFolder
from unpairaug.training.running_losses import RunningLosses
from unpairaug.training.samples import draw_samples, save_sheet
from unpairaug.training.step_reader import StepReader, to_device
from unpairaug.training.step_watch import CHECK_EVERY, BadStep
from unpairaug.training.stopping import StopRequests, stop_error
from unpairaug.training.trainer import JointTrainer


class TrainingLoop:
    """Takes the steps from `start` to the end of the schedule and writes the run folder."""

    def __init__(
        self,
        accelerator: Accelerator,
        trainer: JointTrainer,
        train: TrainSection,
        run: RunFolder,
        samples: UnpairedBatch,
        validation: ValidationPairs | None,
        reader: StepReader,
        start: int,
        bad: BadCount | None = None,
        selection: CheckpointSelection | None = None,
        stop: StopRequests | None = None,
    ) -> None:
        """Prepare the steps from `start`.

        Args:
            accelerator: of the run.
            trainer: takes the steps.
            train: intervals, seed and the like.
            run: where everything is written.
            samples: shown on the sample sheets and checked by the guards; 8-bit images on any device.
            validation: pairs that the averaged head is measured on, if there are any.
            reader: reads the samples of the steps.
            start: steps taken already.
            bad: counts the images that are skipped, where they are.
            selection: scores the steps, on the main process alone.
            stop: the stop requests of this process.
        """
        self.accelerator, self.trainer, self.train, self.run = accelerator, trainer, train, run
        self.samples, self.validation = to_device(samples, accelerator), validation
        self.steps, self.bad, self.selection = trainer.schedule.steps, bad, selection
        self.guards = Guards(trainer, self.samples, train.seed)
        intervals = {"sample": train.sample_every, "validate": train.validate_every, "save": train.checkpoint_every}
        self.progress = Progress(start, self.steps, accelerator.is_main_process, intervals)
        self.losses = RunningLosses(accelerator)
        self.events = EventFiles(accelerator, run.path / "tensorboard")
        self.stop, self.saved_step = stop or StopRequests(accelerator), start
        self.reader, self.recovery = reader, Recovery(trainer, run, self, reader)

    def run_steps(self) -> None:
        """Take every step that is left; save a checkpoint and the trained parts.

        Raises:
            RunStopped: a stop was requested, and a checkpoint is saved; a loss is not finite.
            WriteError: a file of the run cannot be written, as on a full disk.
        """
        if self.progress.step == 0:
            self.measure_input()
            with self.progress.time_left.measure("validate"):
                self.validate(0)
        self.stop.defer()
        while self.progress.step < self.steps:
            try:
                batches = self.reader.read_from(self.progress.step)
                while self.progress.step < self.steps:
                    self.take_step(self.progress.step, batches)
            except BadStep as bad:
                if self.recovery.handle(bad):
                    self.progress.go_back(bad.step)
                    self.end_step(bad.step)
        self.progress.close()

    def take_step(self, step: int, batches: Iterator[list[UnpairedBatch]]) -> None:
        """Take one step, counted from 0, and what follows it.

        Raises:
            BadStep: this step, or one since the last check, is not finite.
            RunStopped: see `run_steps`.
        """
        self.recovery.begin_step(step)
        self.seed(step)
        micro_batches = next(batches)
        for batch in micro_batches:
            self.guards.add_colours(batch)
        losses = self.trainer.train_step(micro_batches, step)
        self.recovery.end_step(step, losses, micro_batches)
        self.add_losses(losses, step)
        self.end_step(step)

    def end_step(self, step: int) -> None:
        """Count a step, do what is due after it, and stop if that is requested."""
        self.progress.advance()
        self.run_periodic(step + 1)
        reason = self.stop.agree(step + 1, self.progress.steps_per_second)
        if reason and step + 1 < self.steps:
            self.save_between_intervals(step + 1)
            raise stop_error(reason, f"after step {step + 1}, and saved a checkpoint; the same command resumes from it")

    def seed(self, step: int) -> None:
        """Seed the global generator, which layers such as dropout draw from."""
        torch.manual_seed(
            mix_seed(self.train.seed, step * self.accelerator.num_processes + self.accelerator.process_index)
        )

    def run_periodic(self, step: int) -> None:
        """Log, sample, validate and save, each at its own interval and all at the last step."""
        train, last = self.train, step == self.steps
        due = {
            every: step % every == 0 or last
            for every in (train.log_every, train.sample_every, train.validate_every, train.checkpoint_every)
        }
        if step % CHECK_EVERY == 0 or any(due.values()):
            self.recovery.check(step)  # before anything is written
        self.recovery.is_due |= any(due.values())
        if due[train.log_every]:
            self.log_losses(step)
            self.report_bad_images(step)
        work = {
            "sample": (train.sample_every, self.save_samples, self.check_guards),
            "validate": (train.validate_every, self.validate, self.select_checkpoint),
            "save": (train.checkpoint_every, self.save),
        }
        for kind, (every, *actions) in work.items():
            if due[every]:
                with self.progress.time_left.measure(kind):
                    for act in actions:
                        act(step)

    def add_losses(self, losses: Losses, step: int) -> None:
        """Add the loss terms of a step to their running sums."""
        if self.losses and losses.keys() != self.losses.sums.keys():
            self.log_losses(step)  # a new phase has other terms
        self.losses.add(losses)

    def log_losses(self, step: int) -> None:
        """Log the mean of each loss term since the last call, over all processes.

        Raises:
            BadStep: a loss or a gradient since the last check is not finite.
        """
        if not self.losses:
            return  # nothing is trained: the warm-up of a translator without networks
        self.recovery.check(step)
        self.recovery.is_due = True
        values = self.losses.means()
        self.losses.reset()
        self.progress.report(values)
        self.record(step, "train", {**values, **self.recovery.watch.latest, **self.schedule_values(step - 1)})

    def report_bad_images(self, step: int) -> None:
        """Log the images that any process found bad since the last call.

        Raises:
            RunStopped: they are more than `data.max_bad` allows.
        """
        if self.bad is None:
            return
        news = self.bad.add(gather_object(self.bad.images.pop_new()))
        for reason in news:
            self.progress.log(f"skipped: {reason}")
        share = self.bad.share(step)
        if news or step == self.steps:
            self.record(step, "data", {"bad_images": len(self.bad), "bad_share": share})
        if news and share > self.bad.max_bad:
            raise RunStopped(
                f"{len(self.bad)} images are bad, {share:.2%} of those read, and data.max_bad allows "
                f"{self.bad.max_bad:.2%}; replace or remove the files named above: the same command resumes from the "
                f"last checkpoint in {self.run.checkpoints}"
            )

    def schedule_values(self, step: int) -> dict[str, float]:
        """Learning rates and feedback at a step, and the speed of the run in steps per second."""
        return {
            **{f"lr_{kind}": lr for kind, lr in self.trainer.learning_rates(step).items()},
            "feedback": self.trainer.schedule.feedback_at(step),
            "steps_per_second": self.progress.steps_per_second,
        }

    def save_samples(self, step: int) -> None:
        """Write a sheet of sample images, and of a validation pair."""
        if not self.accelerator.is_main_process:
            return
        picture = draw_samples(self.trainer, self.samples, self.validation, self.train.seed)
        save_sheet(self.run.path / "samples" / f"step_{step:06}.png", picture)
        self.events.add_picture("samples", picture, step)

    def check_guards(self, step: int) -> None:
        """Let the guards measure, and log their numbers and warnings."""
        colours = cast("Tensor", self.accelerator.reduce(self.guards.mean_colours(), "mean"))
        if not self.accelerator.is_main_process:
            return
        values, warnings = self.guards.check(step, colours)
        if values:
            self.record(step, "guards", values)
        for warning in warnings:
            self.progress.log(f"warning: {warning}")

    def validate(self, step: int) -> None:
        """Measure the averaged head on the validation pairs."""
        self.measure(step, "val", self.trainer.ema_task)

    def measure_input(self) -> None:
        """Measure what the head has to beat: the validation input, enlarged by bicubic interpolation above scale 1."""
        scale = self.trainer.task.scale
        self.measure(0, "val_input" if scale == 1 else "val_bicubic", Bicubic(scale))

    def measure(self, step: int, split: str, restorer: Restorer) -> None:
        """Measure a restorer on the validation pairs, where there are any, divided over the processes."""
        if self.validation is not None:
            means, gain = measure_with_gain(restorer, self.validation, self.run, is_baseline=split != "val")
            self.progress.log(format_validation(step, split, means, gain))
            self.record(step, split, means)
            if gain:
                self.record(step, "gain", gain)

    def select_checkpoint(self, step: int) -> None:
        """Score the averaged networks on unpaired images, and save them if no earlier score was as good."""
        is_warmup = self.trainer.schedule.phase(step - 1) in ("translator_warmup", "head_warmup")
        if self.selection is None or is_warmup:
            return
        values = self.selection.measure()
        self.record(step, "selection", values)
        self.record(step, "unpaired", measure_unpaired_gain(self.selection))
        if self.selection.is_best(values):
            notes = self.run.training_notes(step, self.trainer.task.scale)
            self.run.save_best(self.selection.keep({"step": step, **values}, notes))

    def save(self, step: int) -> None:
        """Save a checkpoint and the trained parts."""
        self.log_losses(step)
        self.save_state(step)

    def save_between_intervals(self, step: int) -> None:
        """Save a checkpoint at a step that no interval asks for, and log nothing: the resumed run logs as planned."""
        self.recovery.check(step)
        if self.saved_step != step:
            self.save_state(step)

    def save_state(self, step: int) -> None:
        """Write checkpoint and trained parts; everything logged so far is on disk before them."""
        files, state = self.trainer.state()
        self.recovery.check_state(step, files)
        if self.selection is not None:
            files["best"], state["best"] = self.selection.state()
        state["loop"] = self.state_dict()
        self.events.flush()
        self.run.save(step, files, state, self.trainer.ema_translator, self.trainer.ema_task)
        self.saved_step = step
        self.accelerator.wait_for_everyone()

    def state_dict(self) -> dict[str, Any]:
        """What logs and warnings of the next steps depend on, as JSON holds it. Collective."""
        parts = {"losses": self.losses, "guards": self.guards, "watch": self.recovery}
        state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
        if self.bad is not None:
            state["bad_images"] = self.bad.state_dict(gather_object([self.bad.images.unreported()]))
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, on any number of processes."""
        self.losses.load_state_dict(state["losses"])
        self.guards.load_state_dict(state["guards"])
        self.recovery.load_state_dict(state["watch"])
        if self.bad is not None and "bad_images" in state:
            self.bad.load_state_dict(
                state["bad_images"], self.accelerator.process_index, self.accelerator.num_processes
            )

    def record(self, step: int, split: str, values: dict[str, float]) -> None:
        """Write numbers to `metrics.jsonl` and to the event files."""
        self.run.log_metrics(step, split, values)
        self.events.add_numbers({f"{split}/{name}": value for name, value in values.items()}, step)
