"""Selects the best step of a run without paired images: a score of the averaged networks on unpaired images.

A head does well on real images if it does well on translated ones and these resemble real ones (after the bound of
Ben-David et al., 2010). Both can be measured: the ground truth of a translated image is known, and two sets of images
can be compared without pairs. Errors on real images alone show when these are restored and degraded again.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unpairaug.bridge import round_to_8_bits
from unpairaug.data import UnpairedBatch
from unpairaug.networks.filters import low_pass
from unpairaug.rng import sample_rng
from unpairaug.scoring.scores import spectrum_distance
from unpairaug.task import Task
from unpairaug.training.checkpoint import Tensors
from unpairaug.training.trainer import JointTrainer
from unpairaug.translator import Translator, degrade_input

SIGMA = 2.0
"""Standard deviation in pixels of the blur before an image is compared with itself degraded again: noise differs."""
MAX_RADIUS = 3.0
"""Largest radius of that blur in standard deviations; the blur is narrowed for smaller crops."""
PIXELS = 2**19
"""Pixels of all clean samples together: about as many as a validation pair of a photograph has."""
MAX_SAMPLES, MIN_SAMPLES = 64, 8
"""Bounds of the number of samples, whatever their size."""
CHUNK = 4
"""Samples in one forward pass, as many as on a sample sheet, so that a batch that fits in training fits here."""


@dataclass(frozen=True)
class BestStep:
    """Copies on the CPU of the averaged networks at the best step so far."""

    values: dict[str, float]
    """Its `step`, and the values of `CheckpointSelection.measure`."""
    notes: dict[str, Any]
    """The notes on training for the model cards."""
    translator: Translator
    task: Task


class CheckpointSelection:
    """Scores the averaged networks at intervals, always on the same samples, and keeps a copy of the best ones."""

    def __init__(self, trainer: JointTrainer, batch: UnpairedBatch, seed: int) -> None:
        """Start without a best step.

        Args:
            trainer: whose averaged networks are scored.
            batch: the samples, on the trainer's device, in [0, 1].
            seed: of the translator's draws.
        """
        self.trainer, self.batch, self.seed = trainer, batch, seed
        self.real = to_8_bit_arrays(batch.degraded)
        self.best: BestStep | None = None

    @torch.inference_mode()
    def measure(self) -> dict[str, float]:
        """`score`, the sum of three terms in dB; smaller is better.

        `translation`: distance of translated clean images to real ones, `scores.spectrum_distance`. `restoration`:
        error of the head on the translated images, whose ground truth is known. `consistency`: difference between the
        real images and themselves restored and degraded again, both blurred. Errors are mean squares in squared 8-bit
        steps.
        """
        fakes, errors, differences = [], [], []
        for rows in torch.arange(len(self.batch.index)).split(CHUNK):
            clean, real, index = (side[rows.to(side.device)] for side in self.batch)
            fake = round_to_8_bits(self.degrade(clean, index))
            again = self.degrade(self.restore(real), index)
            sigma = min(SIGMA, (min(real.shape[-2:]) - 1) / MAX_RADIUS)
            fakes += to_8_bit_arrays(fake)
            errors.append((self.restore(fake) - clean).square().mean(dim=(1, 2, 3)))
            differences.append(low_pass(again - real, sigma).square().mean(dim=(1, 2, 3)))
        terms = {
            "translation": spectrum_distance(self.real, fakes),
            "restoration": _decibels(errors),
            "consistency": _decibels(differences),
        }
        return {"score": sum(terms.values()), **terms}

    def restore(self, degraded: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] through the averaged head, rounded to 8 bits as in a file."""
        return round_to_8_bits(self.trainer.ema_task(degraded).clamp(0, 1))

    def degrade(self, image: Tensor, index: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] through the averaged translator, at the mean strength of the recipe."""
        translator = self.trainer.ema_translator
        strength = sum(self.trainer.bridge.strengths(translator.camera)) / 2
        source = self.trainer.task.source(image)
        fake = translator(degrade_input(translator, image, source), sample_rng(self.seed, index.tolist(), image.device))
        return (source + strength * (fake - source)).clamp(0, 1)

    def is_best(self, values: dict[str, float]) -> bool:
        """Whether the score is better than every earlier one; one that is not finite never is."""
        return bool(np.isfinite(values["score"])) and (self.best is None or values["score"] < self.best.values["score"])

    def keep(self, values: dict[str, float], notes: dict[str, Any]) -> BestStep:
        """Copy the averaged networks as they are now."""
        self.best = BestStep(values, notes, *self._copies())
        return self.best

    def state(self) -> tuple[Tensors, dict[str, Any] | None]:
        """The best step for a checkpoint: weights by name, and plain values; None if there is none."""
        if self.best is None:
            return {}, None
        parts = {"translator": self.best.translator.generators, "task": self.best.task}
        weights = {f"{name}.{key}": t for name, part in parts.items() for key, t in part.state_dict().items()}
        return weights, {"values": self.best.values, "notes": self.best.notes}

    def load_state(self, weights: Tensors, state: dict[str, Any] | None) -> None:
        """Restore what `state` returned."""
        self.best = None
        if state is not None:
            best = self.keep(state["values"], state["notes"])
            for name, part in {"translator": best.translator.generators, "task": best.task}.items():
                own = {k.removeprefix(f"{name}."): t for k, t in weights.items() if k.startswith(f"{name}.")}
                part.load_state_dict(own)

    def _copies(self) -> tuple[Translator, Task]:
        return deepcopy(self.trainer.ema_translator).cpu(), deepcopy(self.trainer.ema_task).cpu()


def sample_count(crop: int) -> int:
    """The number of samples to score, for clean crops of `crop` pixels a side."""
    return min(MAX_SAMPLES, max(MIN_SAMPLES, PIXELS // crop**2))


def _decibels(squares: list[Tensor]) -> float:
    """10 log10(1 + m), where m is the mean of mean squares in [0, 1], in squared 8-bit steps."""
    return float(10 * np.log10(1 + 255**2 * torch.cat(squares).mean().item()))


def to_8_bit_arrays(images: Tensor) -> list[np.ndarray]:
    """(B, 3, H, W) in [0, 1] as arrays (H, W, 3) in 8 bits."""
    return list((images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
