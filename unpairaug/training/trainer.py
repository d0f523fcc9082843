"""Joint training of a translator and a task head: one update at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unpairaug.bridge import Bridge
from unpairaug.camera import CameraReport
from unpairaug.camera.optics import Progress
from unpairaug.data import UnpairedBatch
from unpairaug.data.pair_share import is_pair
from unpairaug.losses import Losses
from unpairaug.recipe import TrainSection
from unpairaug.recipe.optimizer_sections import OptimizerSection
from unpairaug.rng import Rng, sample_rng
from unpairaug.task import Task
from unpairaug.training.averaging import GradientAveraging
from unpairaug.training.checkpoint import Tensors
from unpairaug.training.gradients import Gradients
from unpairaug.training.learning_rates import learning_rates
from unpairaug.training.optimizers import NetworkOptimizers, role_of
from unpairaug.training.real_path import RealPath
from unpairaug.training.schedule import Schedule
from unpairaug.translator import (
    FollowsPhase,
    FollowsSteps,
    JudgesRealness,
    KeepsImages,
    Phase,
    Restores,
    Translator,
    degrade_input,
    measure_camera,
)

Weights = tuple[Tensor, ...] | list[Tensor]
TRANSLATOR_LEARNS: tuple[Phase, ...] = ("translator_warmup", "joint")
REAL_PATH_LEARNS: tuple[Phase, ...] = ("joint", "head_finish")


class JointTrainer:
    """The head learns on degraded images as they are made, and what it finds hard flows back into the translator.

    One forward and one backward pass of the head serve both its own update and the translator's feedback. All networks
    are updated together from the same state by one optimiser, or by several that step as one: so there is one gradient
    scaler, and one count of accumulated batches, whatever the number of networks.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        translator: Translator,
        task: Task,
        bridge: Bridge,
        real_path: RealPath,
        schedule: Schedule,
        train: TrainSection,
        optimizer: OptimizerSection,
    ) -> None:
        self.accelerator, self.train = accelerator, train
        self.translator, self.task = translator.to(accelerator.device), task.to(accelerator.device)
        self.bridge, self.real_path, self.schedule = bridge, real_path, schedule
        for criterion in (task.criterion, real_path.criterion):
            if criterion is not None:
                criterion.to(accelerator.device)
        self.translator_learns = any(p.requires_grad for p in translator.generators.parameters())
        learning = translator if self.translator_learns else Translator()
        self.networks = {
            **{f"generator_{name}": network for name, network in learning.generators.items()},
            **{f"discriminator_{name}": network for name, network in learning.discriminators.items()},
            "head": task,
            **{f"task_discriminator_{name}": network for name, network in task.discriminators.items()},
            **{name: network.to(accelerator.device) for name, network in real_path.networks()},
        }
        for network in self.networks.values():
            # Convolutions alone: other weights may have a dimension more.
            nn.utils.convert_conv2d_weight_memory_format(network.train(), torch.channels_last)
        self.optimizers = NetworkOptimizers(self.networks, optimizer, accelerator.device)
        self.gradients = Gradients(self.networks)
        self.averaging = GradientAveraging(accelerator, self.networks)
        self.rates = learning_rates(optimizer, schedule)
        # Under accelerate, stepping and zeroing go through the gradient scaler of fp16.
        self.optimizer = accelerator.prepare_optimizer(self.optimizers.optimizer)
        self.learned = nn.ModuleList([translator.generators, task])
        self.average = AveragedModel(self.learned, multi_avg_fn=self.average_weights)
        generators, self.ema_task = cast("tuple[nn.ModuleDict, Task]", tuple(self.average.module.children()))
        self.ema_translator = _with_generators(translator, generators)
        self.average.eval().requires_grad_(False)
        if real_path.feed == "restore(real)":
            self.ema_task = self.ema_task.with_restorer(self.ema_translator)

    def measure_camera(self, clean: Tensor, real: Tensor, scenes: int, progress: Progress = iter) -> CameraReport:
        """Measure the camera that the translator holds on unpaired crops, before the first step.

        Args:
            clean: (N, 3, H, W) in [0, 1].
            real: (N, 3, h, w) in [0, 1].
            scenes: number of images that they are from, of the side that has fewer.
            progress: see `MeasuredCamera.measure`.
        """
        report = measure_camera(self.translator, self.task.source(clean), real, scenes, progress)
        self.average.module.load_state_dict(self.learned.state_dict())
        return report

    def train_step(self, micro_batches: Sequence[UnpairedBatch], step: int) -> Losses:
        """One update of every network that the phase trains; the mean of each loss term over the micro-batches."""
        phase = self.schedule.phase(step)
        share, last = 1 / len(micro_batches), len(micro_batches) - 1
        terms = [self.accumulate(batch, step, phase, share, at == last) for at, batch in enumerate(micro_batches)]
        if terms[0]:
            self.update(step)
        else:  # nothing learns in the warm-up of a translator without networks; the head's average begins all the same
            self.average.update_parameters(self.learned)
        return {name: torch.stack([losses[name] for losses in terms]).mean() for name in terms[0]}

    def accumulate(self, batch: UnpairedBatch, step: int, phase: Phase, share: float, is_last: bool = True) -> Losses:
        """Add the gradients of one micro-batch, in the order of the data: source, fake, restored, losses.

        After the last one's first backward pass, processes begin to average what has a gradient.
        """
        clean, real, index = batch
        self.translator.rng = rng = sample_rng(self.train.seed, index.tolist(), clean.device)
        if isinstance(self.translator, FollowsPhase):
            self.translator.phase = phase
        if isinstance(self.translator, FollowsSteps):
            self.translator.training_step = step

        with self.accelerator.autocast():
            self.discriminators_learn(False)
            source = self.task.source(clean)
            fake = self.degrade(clean, source, phase, rng)
            learns = self.translator_learns and phase in TRANSLATOR_LEARNS
            losses_g = self.translator.losses_g(source, real, fake) if learns else {}
            restored = restored_real = None
            feedback = self.schedule.feedback_at(step)
            if phase != "translator_warmup":
                fed = self.bridge(source, fake, real, feedback, rng, self.translator.camera, self.restore_in(phase))
                if self.bridge.pairs:
                    paired = is_pair(index, self.bridge.pairs).to(fed.device)
                    fed = torch.where(paired[:, None, None, None], real, fed)
                restored = self.task(fed)
                losses_g = {**losses_g, **self.task_losses(self.weighed(restored, clean, fed), clean)}
            if phase in REAL_PATH_LEARNS and self.real_path:
                restored_real = self.real_path.restored(real, self.task, self.translator_in(phase), feedback)
                judges = self.task, self.ema_translator
                losses_g = {**losses_g, **self.real_path.losses_g(restored_real, real, clean, *judges)}
        self.backward(losses_g, share)
        if is_last:
            self.averaging.begin()

        with self.accelerator.autocast():
            self.discriminators_learn(True)
            losses_d = self.translator.losses_d(source, real, fake.detach()) if learns else {}
            if restored is not None:
                judged = self.task.losses_d(restored.detach(), clean)
                losses_d = {**losses_d, **{f"d_task_{name}": loss for name, loss in judged.items()}}
            if restored_real is not None:
                losses_d = {**losses_d, **self.real_path.losses_d(restored_real.detach(), clean)}
        self.backward(losses_d, share)
        return {name: loss.detach() for name, loss in {**losses_g, **losses_d}.items()}

    def task_losses(self, restored: Tensor, clean: Tensor) -> Losses:
        """The task's terms as they are logged: `task_` before each name, `task` alone where there is one without."""
        terms = self.task.losses(restored, clean)
        return {"task" if n == "task" else f"task_{n}": self.train.lambda_task * loss for n, loss in terms.items()}

    def weighed(self, restored: Tensor, clean: Tensor, fed: Tensor) -> Tensor:
        """The restored image, moved towards the clean one where the head saw what looks unlike a real image.

        So every loss counts such places less, and none has to know of it (after Wei et al., 2021, eq. 7).
        """
        if not self.bridge.domain_weights:
            return restored
        with torch.no_grad():
            weights = F.interpolate(
                cast("JudgesRealness", self.translator).realness(fed), size=clean.shape[-2:], mode="bilinear"
            )
        return clean + weights * (restored - clean)

    def translator_in(self, phase: Phase) -> Translator:
        """The translator while it learns, else the averaged one, in evaluation mode."""
        return self.translator if self.translator_learns and phase != "head_finish" else self.ema_translator

    def restore_in(self, phase: Phase) -> Callable[[Tensor], Tensor] | None:
        """The way back of `translator_in`, where it has one."""
        translator = self.translator_in(phase)
        return translator.restore if isinstance(translator, Restores) else None

    def degrade(self, clean: Tensor, source: Tensor, phase: Phase, rng: Rng) -> Tensor:
        """The fake: of the translator while it learns; the source itself before, the averaged translator's after."""
        if phase == "head_warmup":
            return source
        translator = self.translator_in(phase)
        with torch.set_grad_enabled(translator is self.translator):
            return translator(degrade_input(translator, clean, source), rng)

    def backward(self, losses: Losses, share: float) -> None:
        total = torch.stack([*losses.values()]).sum() if losses else torch.zeros(())
        if total.requires_grad:
            self.accelerator.backward(share * total)

    def update(self, step: int) -> None:
        """Average the gradients over processes, clip each network's, step, and move the running averages."""
        self.average_gradients()
        self.accelerator.unscale_gradients(self.optimizer)
        self.gradients.measure()
        if self.train.clip is not None:
            self.gradients.clip(self.train.clip)
        self.optimizers.set_learning_rates(self.learning_rates(step))
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update_parameters(self.learned)

    @torch.no_grad()
    def average_weights(self, averages: Weights, weights: Weights, count: Tensor | int) -> None:
        """Move the running averages towards the weights.

        The decay rises to `train.ema` as the average gets older, (1 + t) / (10 + t) after t steps (as in TensorFlow's
        ExponentialMovingAverage): a short run is not held back by its initial weights. t is read on the CPU, so the
        device is not waited for.
        """
        t = int(self.average.n_averaged)
        get_ema_multi_avg_fn(min(self.train.ema, (1 + t) / (10 + t)))(averages, weights, count)

    def learning_rates(self, step: int) -> dict[str, float]:
        """The learning rate at a step of each role that there is among the networks."""
        return {role: self.rates[role](step) for role in dict.fromkeys(map(role_of, self.networks))}

    def average_gradients(self) -> None:
        """Average the gradients, and the running statistics of batch norm, over processes."""
        self.averaging.finish()

    def discriminators_learn(self, learn: bool) -> None:
        """Whether gradients stop at the discriminators' weights or only pass through them to the generators."""
        self.translator.discriminators.requires_grad_(learn)
        self.task.discriminators.requires_grad_(learn)
        self.real_path.discriminators.requires_grad_(learn)

    def state(self) -> tuple[dict[str, Tensors], dict[str, Any]]:
        """All that a resumed run needs, as named tensors by file, and as plain values.

        Collective: every process must call it. There are no random states in it, since every draw follows from the seed
        and the step.
        """
        moments, counts = self.optimizers.state()
        pool = self.translator.image_pool() if isinstance(self.translator, KeepsImages) else {}
        files = {
            "translator": self.translator.state_dict(),
            "task": self.task.state_dict(),
            "task_discriminators": self.task.discriminators.state_dict(),
            "real_path": {
                f"{name}.{key}": tensor
                for name, network in self.real_path.networks()
                for key, tensor in network.state_dict().items()
            },
            "average": self.average.state_dict(),
            "optimizer": moments,
            "image_pool": {name: self.accelerator.gather(rows) for name, rows in pool.items()},
        }
        scaler = self.accelerator.scaler
        return files, {"scaler": scaler.state_dict() if scaler else None, "optimizer": counts}

    def load_state(self, files: dict[str, Tensors], state: dict[str, Any]) -> None:
        """Take back what `state` gave, on any number of processes that shares the global batch evenly."""
        self.translator.load_state_dict(files["translator"])
        self.task.load_state_dict(files["task"])
        self.task.discriminators.load_state_dict(files.get("task_discriminators", {}))
        for name, network in self.real_path.networks():
            held = files["real_path"].items()
            network.load_state_dict({k.removeprefix(f"{name}."): t for k, t in held if k.startswith(f"{name}.")})
        self.average.load_state_dict(files["average"])
        self.optimizers.load_state(files["optimizer"], state["optimizer"])
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        if isinstance(self.translator, KeepsImages):
            pool = files["image_pool"].items()
            self.translator.load_image_pool({n: t.chunk(ranks)[rank].to(self.accelerator.device) for n, t in pool})
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])


def _with_generators(translator: Translator, generators: nn.ModuleDict) -> Translator:
    """A translator of the same kind that degrades with other generators; for use, not for training."""
    twin = copy.deepcopy(translator)
    twin.generators, twin.discriminators = generators, nn.ModuleDict()
    twin.camera = translator.camera  # measured once, before training: the two share it
    return twin.eval()
