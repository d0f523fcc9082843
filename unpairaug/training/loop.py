"""The course of a run: step after step, with logs, samples, validation and checkpoints now and then."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import cast

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from unpairaug.data import UnpairedBatch, ValidationPairs
from unpairaug.data.bad import BadCount
from unpairaug.errors import RunStopped, UserError
from unpairaug.evaluation.evaluate import measure_pairs
from unpairaug.losses import Losses
from unpairaug.recipe import TrainSection
from unpairaug.restoring.restore import Bicubic, Restorer
from unpairaug.rng import mix_seed
from unpairaug.terminal.progress import Progress
from unpairaug.training.choice import Choice
from unpairaug.training.guards import Guards
from unpairaug.training.run_folder import RunFolder
from unpairaug.training.samples import sample_sheet, save_sheet
from unpairaug.training.trainer import JointTrainer


class TrainingLoop:
    """Takes the steps from `start` to the end of the schedule and keeps the run folder."""

    def __init__(
        self,
        accelerator: Accelerator,
        trainer: JointTrainer,
        train: TrainSection,
        run: RunFolder,
        shown: UnpairedBatch,
        validation: ValidationPairs | None,
        start: int,
        bad: BadCount | None = None,
        choice: Choice | None = None,
    ) -> None:
        self.accelerator, self.trainer, self.train, self.run = accelerator, trainer, train, run
        self.shown, self.validation = to_device(shown, accelerator), validation
        self.steps, self.bad, self.choice = trainer.schedule.steps, bad, choice
        self.guards = Guards(trainer, self.shown, train.seed)
        self.progress = Progress(start, self.steps, enabled=accelerator.is_main_process)
        self.sums: Losses = {}
        self.summed = 0

    def run_to_the_end(self, batches: Iterable[UnpairedBatch]) -> None:
        """Take every step; leave a checkpoint and the trained parts behind.

        Raises:
            RunStopped: SIGINT or SIGTERM came, and a checkpoint was left; a loss term is not finite; the disk is full.
        """
        batches = iter(batches)
        with _stop_signals() as stopped:
            if self.progress.step == 0:
                self.measure_bicubic()
                self.validate(0)
            for step in range(self.progress.step, self.steps):
                self.seed(step)
                losses = self.trainer.train_step(self.read(batches), step)
                self.add(losses, step)
                self.progress.advance()
                self.now_and_then(step + 1)
                if step + 1 < self.steps and self.asked_to_stop(stopped, step + 1):
                    self.save(step + 1)
                    raise RunStopped(f"stopped after step {step + 1}; the same command goes on from there")
        self.progress.close()

    def read(self, batches: Iterator[UnpairedBatch]) -> list[UnpairedBatch]:
        """The micro-batches of a step, on the device.

        Raises:
            UserError: an image cannot be read; processes read different ones, so whichever meets it tells it.
        """
        try:
            read = [to_device(b, self.accelerator) for b in islice(batches, self.train.gradient_accumulation)]
        except UserError as error:
            error.is_of_one_process = True
            raise
        for batch in read:
            self.guards.add_colours(batch)
        return read

    def seed(self, step: int) -> None:
        """Seed what does not draw from the step's own generators, such as dropout in a head."""
        torch.manual_seed(
            mix_seed(self.train.seed, step * self.accelerator.num_processes + self.accelerator.process_index)
        )

    def asked_to_stop(self, signals: Sequence[int], step: int) -> bool:
        """Whether a signal came; processes agree on it where they wait for each other anyway."""
        if self.accelerator.num_processes == 1:
            return bool(signals)
        if step % self.train.log_every:
            return False
        return bool(
            cast("Tensor", self.accelerator.reduce(torch.tensor(len(signals), device=self.accelerator.device))) > 0
        )

    def now_and_then(self, step: int) -> None:
        """What happens beside the step, each at its own interval and all at the end."""
        train, last = self.train, step == self.steps
        if step % train.log_every == 0 or last:
            self.report(step)
            self.tell_bad(step)
        if step % train.sample_every == 0 or last:
            self.sample(step)
            self.look(step)
        if step % train.validate_every == 0 or last:
            self.validate(step)
            self.choose(step)
        if step % train.checkpoint_every == 0 or last:
            self.save(step)

    def add(self, losses: Losses, step: int) -> None:
        """Keep a running sum of each loss term on the device, so that no step waits for a number to be read."""
        if self.sums and losses.keys() != self.sums.keys():
            self.report(step)  # a new phase has other terms
        self.sums = {name: self.sums.get(name, 0) + loss.float() for name, loss in losses.items()}
        self.summed += 1

    def report(self, step: int) -> None:
        """Log the mean of each loss term since the last report, over all processes; stop at one that is not finite."""
        if not self.sums:
            return  # nothing is trained: a translator without networks in its warm-up
        names, summed = list(self.sums), self.summed
        sums = torch.stack([self.sums[name] for name in names])
        means = cast("Tensor", self.accelerator.reduce(sums / summed, "mean"))
        values = dict(zip(names, means.tolist(), strict=True))
        self.sums, self.summed = {}, 0
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        if broken:
            raise RunStopped(
                f"not finite: {', '.join(broken)}, from step {step - summed} to {step}; earlier checkpoints in "
                f"{self.run.checkpoints} are whole. Lower the learning rates, set train.clip, or use full precision."
            )
        self.progress.report(values)
        self.record(step, "train", {**values, **self.course(step - 1)})

    def tell_bad(self, step: int) -> None:
        """Name the images found bad since the last time, by any process; stop where they are too many."""
        if self.bad is None:
            return
        news = self.bad.add(gather_object(self.bad.images.news()))
        for reason in news:
            self.progress.log(f"skipped: {reason}")
        share = self.bad.share(step)
        if news or step == self.steps:
            self.record(step, "data", {"bad_images": len(self.bad), "bad_share": share})
        if news and share > self.bad.max_bad:
            raise RunStopped(
                f"{len(self.bad)} images are bad, {share:.2%} of those looked at, and data.max_bad allows "
                f"{self.bad.max_bad:.2%}; mend or remove the files named above: the same command goes on from the last "
                f"checkpoint in {self.run.checkpoints}"
            )

    def course(self, step: int) -> dict[str, float]:
        """Where the schedule stands at a step, and how fast the run is."""
        return {
            **{f"lr_{kind}": lr for kind, lr in self.trainer.learning_rates(step).items()},
            "feedback": self.trainer.schedule.feedback_at(step),
            "steps_per_second": self.progress.steps_per_second,
        }

    def sample(self, step: int) -> None:
        if not self.accelerator.is_main_process:
            return
        picture = sample_sheet(self.trainer.ema_translator, self.trainer.ema_task, self.shown, self.train.seed)
        save_sheet(self.run.path / "samples" / f"step_{step:06}.png", picture)
        for tracker in self.accelerator.trackers:
            tracker.log_images({"samples": picture[None]}, step=step, dataformats="NHWC")

    def look(self, step: int) -> None:
        """Let the guards measure, and say what they find wrong."""
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

    def measure_bicubic(self) -> None:
        """Say what the head has to beat: the validation images enlarged by interpolation, or as they are at scale 1."""
        self.measure(0, "val_bicubic", Bicubic(self.trainer.task.scale))

    def measure(self, step: int, split: str, restorer: Restorer) -> None:
        """Measure on the validation pairs, where there are any, divided over the processes."""
        if self.validation is not None:
            means, _ = measure_pairs(restorer, self.validation)
            self.progress.log(f"step {step}  {split}  " + "  ".join(f"{k} {v:.4f}" for k, v in means.items()))
            self.record(step, split, means)

    def choose(self, step: int) -> None:
        """Score the averaged networks on unpaired images, and keep them if none before were as good."""
        young = self.trainer.schedule.phase(step - 1) in ("translator_warmup", "head_warmup")
        if self.choice is None or young:
            return
        values = self.choice.measure()
        self.record(step, "choice", values)
        if self.choice.is_best(values):
            self.run.keep_best(
                self.choice.keep({"step": step, **values}, self.run.notes(step, self.trainer.task.scale))
            )

    def save(self, step: int) -> None:
        self.report(step)  # never save what is not finite
        files, state = self.trainer.state()
        if self.choice is not None:
            files["best"], state["best"] = self.choice.state()
        self.run.save(step, files, state, self.trainer.ema_translator, self.trainer.ema_task)
        self.accelerator.wait_for_everyone()

    def record(self, step: int, split: str, values: dict[str, float]) -> None:
        self.run.metrics(step, split, values)
        self.accelerator.log({f"{split}/{name}": value for name, value in values.items()}, step=step)


def to_device(batch: UnpairedBatch, accelerator: Accelerator) -> UnpairedBatch:
    """The batch on this process's device, its images of 8 bits as float32 in [0, 1].

    They stay channels-last: convolutions are faster so, on CPUs too.
    """
    clean, degraded = (
        image.to(accelerator.device, memory_format=torch.channels_last, non_blocking=True).div(255)
        for image in batch[:2]
    )
    return UnpairedBatch(clean, degraded, batch.index)


@contextmanager
def _stop_signals() -> Iterator[Sequence[int]]:
    """Signals that asked the run to stop; a second one of them stops at once."""
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
