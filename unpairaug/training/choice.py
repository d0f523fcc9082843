"""Which step of a run to keep, judged without clean twins: a score of the averaged networks on unpaired images.

A head does well on real images where it does well on translated ones, and these are like real ones (after the bound of
Ben-David et al., 2010). Both can be measured: a translated image has its clean twin, and two sets of images can be
compared without any. What goes wrong on real images alone shows where they are restored and degraded again.
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
from unpairaug.networks.generators import low_pass
from unpairaug.rng import sample_rng
from unpairaug.scoring.scores import spectrum_distance
from unpairaug.task import Task
from unpairaug.training.checkpoint import Tensors
from unpairaug.training.trainer import JointTrainer
from unpairaug.translator import Translator

SIGMA = 2.0
"""Standard deviation in pixels of the blur after which an image degraded again is compared: noise is drawn anew."""
REACH = 3.0
"""Standard deviations that a blur looks to each side, at most: it is narrowed where a crop is smaller than that."""
PIXELS = 2**19
"""Pixels of all clean samples together: about as many as a validation pair of a photograph has."""
MOST, LEAST = 64, 8
"""Samples, however small or large they are."""
AT_ONCE = 4
"""Samples that the networks are given at once, as many as a picture sheet has: a batch that fits in training fits."""


@dataclass(frozen=True)
class Best:
    """The averaged networks of the best step so far, copies on the CPU."""

    values: dict[str, float]
    """Its `step`, and what was measured there: see `Choice.measure`."""
    notes: dict[str, Any]
    """What the parts' model cards say of their training."""
    translator: Translator
    task: Task


class Choice:
    """Scores a run now and then, always on the same samples, and keeps the best of what it has seen."""

    def __init__(self, trainer: JointTrainer, batch: UnpairedBatch, seed: int) -> None:
        """Begin without a best step.

        Args:
            trainer: whose averaged networks are scored.
            batch: the samples, on the trainer's device, in [0, 1].
            seed: of the translator's draws.
        """
        self.trainer, self.batch, self.seed = trainer, batch, seed
        self.real = _arrays(batch.degraded)
        self.best: Best | None = None

    @torch.inference_mode()
    def measure(self) -> dict[str, float]:
        """`score`, the sum of what follows, each in dB; the smaller, the better.

        `translation`: translated clean images against real ones, `scores.spectrum_distance`. `restoration`: how far the
        head is from the clean image on these, whose twin is known. `consistency`: how far the real images are from
        themselves restored and degraded again, both blurred. Errors are mean squares over one squared 8-bit step.
        """
        fakes, off, apart = [], [], []
        for rows in torch.arange(len(self.batch.index)).split(AT_ONCE):
            clean, real, index = (side[rows.to(side.device)] for side in self.batch)
            fake = round_to_8_bits(self.degraded(clean, index))
            again = self.degraded(self.restored(real), index)
            sigma = min(SIGMA, (min(real.shape[-2:]) - 1) / REACH)
            fakes += _arrays(fake)
            off.append((self.restored(fake) - clean).square().mean(dim=(1, 2, 3)))
            apart.append(low_pass(again - real, sigma).square().mean(dim=(1, 2, 3)))
        terms = {
            "translation": spectrum_distance(self.real, fakes),
            "restoration": _decibels(off),
            "consistency": _decibels(apart),
        }
        return {"score": sum(terms.values()), **terms}

    def restored(self, degraded: Tensor) -> Tensor:
        """What the averaged head makes of (B, 3, h, w) in [0, 1], as a file would hold it."""
        return round_to_8_bits(self.trainer.ema_task(degraded).clamp(0, 1))

    def degraded(self, image: Tensor, index: Tensor) -> Tensor:
        """The image (B, 3, H, W) in [0, 1] through the translator, at the mean strength of the recipe."""
        translator = self.trainer.ema_translator
        strength = sum(self.trainer.bridge.strengths(translator)) / 2
        source = self.trainer.task.source(image)
        fake = translator.degrade(translator.given(image, source), sample_rng(self.seed, index.tolist(), image.device))
        return (source + strength * (fake - source)).clamp(0, 1)

    def is_best(self, values: dict[str, float]) -> bool:
        """Whether nothing that was measured before was as good; what is not finite never is."""
        return bool(np.isfinite(values["score"])) and (self.best is None or values["score"] < self.best.values["score"])

    def keep(self, values: dict[str, float], notes: dict[str, Any]) -> Best:
        """Take the networks as they are now for the best."""
        self.best = Best(values, notes, *self._copies())
        return self.best

    def state(self) -> tuple[Tensors, dict[str, Any] | None]:
        """The best so far, as a checkpoint holds it: weights by name, and plain values; None where there is none."""
        if self.best is None:
            return {}, None
        parts = {"translator": self.best.translator.generators, "task": self.best.task}
        weights = {f"{name}.{key}": t for name, part in parts.items() for key, t in part.state_dict().items()}
        return weights, {"values": self.best.values, "notes": self.best.notes}

    def load_state(self, weights: Tensors, state: dict[str, Any] | None) -> None:
        """Take back what `state` gave."""
        self.best = None
        if state is not None:
            best = self.keep(state["values"], state["notes"])
            for name, part in {"translator": best.translator.generators, "task": best.task}.items():
                own = {k.removeprefix(f"{name}."): t for k, t in weights.items() if k.startswith(f"{name}.")}
                part.load_state_dict(own)

    def _copies(self) -> tuple[Translator, Task]:
        return deepcopy(self.trainer.ema_translator).cpu(), deepcopy(self.trainer.ema_task).cpu()


def samples(crop: int) -> int:
    """How many samples with clean crops of that side are scored."""
    return min(MOST, max(LEAST, PIXELS // crop**2))


def _decibels(squares: list[Tensor]) -> float:
    """The mean of mean squares in [0, 1], over one 8-bit step squared, which counts as nothing."""
    return float(10 * np.log10(1 + 255**2 * torch.cat(squares).mean().item()))


def _arrays(images: Tensor) -> list[np.ndarray]:
    """(B, 3, H, W) in [0, 1] as arrays (H, W, 3) in 8 bits."""
    return list((images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
