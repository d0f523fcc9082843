"""The kinds of guards: what each measures on a snapshot of the networks, and what it warns of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Snapshot:
    """What the networks make of the same few samples at some step. Images are (B, 3, h, w), in [0, 1] unless stated."""

    source: Tensor
    fake: Tensor
    """What the translator makes of the source, clamped to [0, 1]."""
    second_fake: Tensor
    """The same with another draw of noise."""
    real_colour_shift: Tensor
    """Mean colour of the real images so far minus that of the sources: (3,)."""
    realness: tuple[Tensor, Tensor] | None
    """How real the discriminator finds each place of the real and of the fake images; None where it does not learn."""
    head_errors: tuple[Tensor, Tensor] | None
    """Restored minus clean, (B, 3, H, W), before and after `perturbation` of the head's input; None where the head is
    fed no fakes."""
    perturbation: Tensor | None
    """An invisible change of the head's input, (B, 3, h, w)."""


class Guard(Protocol):
    """Detects one way to go wrong."""

    section: str
    """Anchor of its section on the page."""

    def measure(self, snapshot: Snapshot) -> dict[str, float]:
        """Its numbers by name; empty where there is nothing to measure."""
        ...

    def find_fault(self, values: dict[str, float]) -> str | None:
        """What is wrong with these numbers, in words; None if nothing is."""
        ...


class ColourDrift:
    """Are fakes further from their sources in colour than the real images are from all sources?

    The two domains may differ, so any shift between zero and their difference, channel by channel, is accepted.
    """

    section = "colour-drift"
    TOLERANCE = 5.0
    """8-bit steps beyond that."""

    def measure(self, snapshot: Snapshot) -> dict[str, float]:
        """8-bit steps: `colour_*` of fakes and `real_colour_*` of real images against sources; `colour_drift`."""
        shift = 255 * (snapshot.fake - snapshot.source).mean((0, 2, 3))
        real_shift = 255 * snapshot.real_colour_shift
        beyond = torch.maximum(shift - real_shift.clamp(min=0), real_shift.clamp(max=0) - shift).clamp(min=0)
        names = "red", "green", "blue"
        return {
            **{f"colour_{name}": value for name, value in zip(names, shift.tolist(), strict=True)},
            **{f"real_colour_{name}": value for name, value in zip(names, real_shift.tolist(), strict=True)},
            "colour_drift": beyond.max().item(),
        }

    def find_fault(self, values: dict[str, float]) -> str | None:
        if values["colour_drift"] <= self.TOLERANCE:
            return None
        shift = ", ".join(f"{name} {values[f'colour_{name}']:+.1f}" for name in ("red", "green", "blue"))
        return f"colour drift: the translator shifts colours by {shift} of 255 steps; the real images do not differ so"


class Collapse:
    """Has the noise of a stochastic translator died? A translator whose draws never differed is deterministic."""

    section = "collapse"
    LEAST = 0.1
    """8-bit steps: less is lost when an image is rounded."""

    def __init__(self) -> None:
        self.largest = 0.0
        """Largest diversity measured so far."""

    def measure(self, snapshot: Snapshot) -> dict[str, float]:
        """`diversity`: standard deviation of the draws for one source, in 8-bit steps."""
        spread = 255 * (snapshot.fake - snapshot.second_fake).square().mean().div(2).sqrt().item()
        self.largest = max(self.largest, spread)
        return {"diversity": spread} if self.largest > 0 else {}

    def find_fault(self, values: dict[str, float]) -> str | None:
        if values["diversity"] >= self.LEAST or self.largest < self.LEAST:
            return None
        return (
            f"collapse: two draws of the translator differ by {values['diversity']:.2g} of 255 steps, and by up to "
            f"{self.largest:.1f} earlier in the run: its noise has died"
        )


class Saturation:
    """Does the discriminator still teach? Not if it never errs, nor if it gives every place the same score."""

    section = "discriminator-saturation"
    MAX_AUC = 0.999
    MIN_SPREAD = 0.005

    def measure(self, snapshot: Snapshot) -> dict[str, float]:
        """Of the places of real and fake images: mean realness, its spread, and `discriminator_auc`.

        `discriminator_auc` is how often a real place scores above a fake one (area under the ROC curve): 1 is without
        error, 0.5 is guessing. Unlike a loss, it means the same in every adversarial game.
        """
        if snapshot.realness is None:
            return {}
        real, fake = (side.flatten() for side in snapshot.realness)
        ordered = fake.sort().values
        below, not_above = (torch.searchsorted(ordered, real, right=right) for right in (False, True))
        return {
            "realness_real": real.mean().item(),
            "realness_fake": fake.mean().item(),
            "realness_spread": torch.cat([real, fake]).std().item(),
            "discriminator_auc": ((below + not_above) / 2 / len(fake)).mean().item(),
        }

    def find_fault(self, values: dict[str, float]) -> str | None:
        if values["discriminator_auc"] > self.MAX_AUC:
            return (
                f"discriminator saturation: the discriminator separates real from translated images without error "
                f"(mean realness {values['realness_real']:.2f} and {values['realness_fake']:.2f})"
            )
        if values["realness_spread"] < self.MIN_SPREAD:
            return (
                f"discriminator saturation: the discriminator gives every place, real or translated, the same "
                f"realness {values['realness_real']:.2f}"
            )
        return None


class Leak:
    """Does the head use detail of translated images that is invisible and that no real image has (Chu et al., 2017)?

    Such a head amplifies the smallest detail, and an invisible change of its input spoils its output. Either sign alone
    is harmless: a head that has nothing to restore errs more after any change, and one that removes blur amplifies it.
    """

    section = "leak"
    MAX_GAIN, MAX_ERROR_RATIO = 3.0, 1.05

    def measure(self, snapshot: Snapshot) -> dict[str, float]:
        """`leak_gain`: gain of the head on an invisible change; `leak_error_ratio`: its error after / before."""
        if snapshot.head_errors is None or snapshot.perturbation is None:
            return {}
        before, after = snapshot.head_errors
        change = snapshot.perturbation.square().mean().sqrt().clamp(min=1e-6)
        ratio = after.square().mean().sqrt() / before.square().mean().sqrt().clamp(min=1e-6)
        return {
            "leak_gain": ((after - before).square().mean().sqrt() / change).item(),
            "leak_error_ratio": ratio.item(),
        }

    def find_fault(self, values: dict[str, float]) -> str | None:
        if values["leak_gain"] <= self.MAX_GAIN or values["leak_error_ratio"] <= self.MAX_ERROR_RATIO:
            return None
        return (
            f"leak: after an invisible change of translated images the head errs {values['leak_error_ratio']:.1f} "
            f"times as much, and amplifies the change {values['leak_gain']:.1f} times: it uses hidden detail that real "
            f"images do not have"
        )
