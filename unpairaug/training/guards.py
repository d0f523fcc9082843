"""Ways in which a run goes wrong without an error, measured as it goes: a warning says so once, and nothing stops.

Each has a section in docs/troubleshooting.md: what its numbers mean, and what to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from unpairaug.bridge import round_to_8_bits
from unpairaug.data import UnpairedBatch
from unpairaug.rng import Rng, mix_seed, normal, sample_rng
from unpairaug.training.trainer import TRANSLATOR_LEARNS, JointTrainer
from unpairaug.translator import Phase, Translator

PATIENCE = 3
"""Measurements in a row that must look wrong before it is said: a young translator or discriminator may be."""
PAGE = "docs/troubleshooting.md"


@dataclass(frozen=True)
class Look:
    """What becomes of the same few samples at some step; images (B, 3, h, w), in [0, 1] where not said otherwise."""

    source: Tensor
    fake: Tensor
    """As the translator draws it, cut to [0, 1]."""
    again: Tensor
    """A second draw."""
    real_colour: Tensor
    """Mean colour of the real images so far, less that of the sources: (3,)."""
    realness: tuple[Tensor, Tensor] | None
    """How real the discriminator finds each place of real and of fake images, where it learns."""
    restored: tuple[Tensor, Tensor] | None
    """Off the mark, of what the head makes of the fakes: (B, 3, H, W), at first as they are fed, then after a change
    that nobody sees; None where the head is fed no fakes."""
    unseen: Tensor | None
    """That change, (B, 3, h, w)."""


class Guard(Protocol):
    """One way to go wrong."""

    section: str
    """Anchor of its section on the page."""

    def measure(self, look: Look) -> dict[str, float]:
        """Its numbers by name; none where it has nothing to watch."""
        ...

    def fault(self, values: dict[str, float]) -> str | None:
        """What is wrong, in words, where these numbers are; None where all is well."""
        ...


class ColourDrift:
    """Are fakes further from their sources in colour than the real images are from all sources?

    The two domains may differ, so whatever lies between no shift and their difference, channel by channel, is fine.
    """

    section = "colour-drift"
    TOLERANCE = 5.0
    """8-bit steps beyond that."""

    def measure(self, look: Look) -> dict[str, float]:
        """8-bit steps: `colour_*` of fakes and `real_colour_*` of real images against sources; `colour_drift`."""
        shift, wanted = 255 * (look.fake - look.source).mean((0, 2, 3)), 255 * look.real_colour
        beyond = torch.maximum(shift - wanted.clamp(min=0), wanted.clamp(max=0) - shift).clamp(min=0)
        names = "red", "green", "blue"
        return {
            **{f"colour_{name}": value for name, value in zip(names, shift.tolist(), strict=True)},
            **{f"real_colour_{name}": value for name, value in zip(names, wanted.tolist(), strict=True)},
            "colour_drift": beyond.max().item(),
        }

    def fault(self, values: dict[str, float]) -> str | None:
        if values["colour_drift"] <= self.TOLERANCE:
            return None
        shift = ", ".join(f"{name} {values[f'colour_{name}']:+.1f}" for name in ("red", "green", "blue"))
        return f"colour drift: the translator shifts colours by {shift} of 255 steps, and real images do not differ so"


class Collapse:
    """Has the noise of a stochastic translator died? One whose draws never differed is deterministic, and is let be."""

    section = "collapse"
    LEAST = 0.1
    """8-bit steps: less is lost when an image is rounded."""

    def __init__(self) -> None:
        self.largest = 0.0

    def measure(self, look: Look) -> dict[str, float]:
        """`diversity`: standard deviation of the draws for one source, in 8-bit steps."""
        spread = 255 * (look.fake - look.again).square().mean().div(2).sqrt().item()
        self.largest = max(self.largest, spread)
        return {"diversity": spread} if self.largest > 0 else {}

    def fault(self, values: dict[str, float]) -> str | None:
        if values["diversity"] >= self.LEAST or self.largest < self.LEAST:
            return None
        return (
            f"collapse: two draws of the translator differ by {values['diversity']:.2g} of 255 steps, at most "
            f"{self.largest:.1f} before: its noise has died"
        )


class Saturation:
    """Does the discriminator still teach? Not if it never errs, nor if it says the same of every place."""

    section = "discriminator-saturation"
    SURE = 0.999
    LEAST_SPREAD = 0.005

    def measure(self, look: Look) -> dict[str, float]:
        """Of the places of real and fake images: mean realness, its spread, and `told_apart`.

        `told_apart` is how often a real place is found more real than a fake one: 1 is without error, 0.5 is guessing.
        Unlike a loss, it means the same in every adversarial game.
        """
        if look.realness is None:
            return {}
        real, fake = (side.flatten() for side in look.realness)
        ordered = fake.sort().values
        below, not_above = (torch.searchsorted(ordered, real, right=right) for right in (False, True))
        return {
            "realness_real": real.mean().item(),
            "realness_fake": fake.mean().item(),
            "realness_spread": torch.cat([real, fake]).std().item(),
            "told_apart": ((below + not_above) / 2 / len(fake)).mean().item(),
        }

    def fault(self, values: dict[str, float]) -> str | None:
        if values["told_apart"] > self.SURE:
            return (
                f"discriminator saturation: it tells real from translated images without error "
                f"({values['realness_real']:.2f} against {values['realness_fake']:.2f} of 1)"
            )
        if values["realness_spread"] < self.LEAST_SPREAD:
            return f"discriminator saturation: it says {values['realness_real']:.2f} of every place, real or translated"
        return None


class Leak:
    """Does the head read in a translated image what nobody can see, and no real image holds (Chu et al., 2017)?

    Then it has learnt to enlarge the smallest detail, and a change of a step or so spoils what it makes. Either alone
    is innocent: a head that has nothing to restore errs more after any change, and one that removes blur enlarges it.
    """

    section = "leak"
    GAIN, WORSE = 3.0, 1.05

    def measure(self, look: Look) -> dict[str, float]:
        """`leak_gain`: how much the head enlarges an unseen change; `leak_worse`: its error after it over before."""
        if look.restored is None or look.unseen is None:
            return {}
        before, after = look.restored
        change = look.unseen.square().mean().sqrt().clamp(min=1e-6)
        worse = after.square().mean().sqrt() / before.square().mean().sqrt().clamp(min=1e-6)
        return {
            "leak_gain": ((after - before).square().mean().sqrt() / change).item(),
            "leak_worse": worse.item(),
        }

    def fault(self, values: dict[str, float]) -> str | None:
        if values["leak_gain"] <= self.GAIN or values["leak_worse"] <= self.WORSE:
            return None
        return (
            f"leak: a change of translated images that nobody sees makes the head err {values['leak_worse']:.1f} times "
            f"as much, {values['leak_gain']:.1f} times the change: it reads hidden detail, which no real image has"
        )


class Guards:
    """Looks at a run now and then, and keeps count of what looks wrong."""

    def __init__(self, trainer: JointTrainer, shown: UnpairedBatch, seed: int) -> None:
        """Begin without a memory: a resumed run may repeat a warning.

        Args:
            trainer: whose networks are looked at.
            shown: the samples that every look is at, on the trainer's device.
            seed: of the draws.
        """
        self.trainer, self.shown, self.seed = trainer, shown, seed
        self.guards: dict[str, Guard] = {g.section: g for g in (ColourDrift(), Collapse(), Saturation(), Leak())}
        self.wrong = dict.fromkeys(self.guards, 0)
        self.said: set[str] = set()
        self.colours, self.batches = torch.zeros(2, 3, device=shown.clean.device), 0

    def add(self, batch: UnpairedBatch) -> None:
        """Count in the colours of a training batch."""
        self.colours += torch.stack([image.mean((0, 2, 3)) for image in batch[:2]])
        self.batches += 1

    def mean_colours(self) -> Tensor:
        """Of the clean and of the real images that this process has read: (2, 3)."""
        return self.colours / max(1, self.batches)

    def look(self, step: int, mean_colours: Tensor) -> tuple[dict[str, float], list[str]]:
        """What is measured after `step` steps, and what has to be said of it for the first time.

        Args:
            step: steps taken.
            mean_colours: as the method of that name gives them, the mean over all processes.
        """
        phase = self.trainer.schedule.phase(step - 1)
        if phase == "translator_warmup":
            return {}, []  # a young translator may do anything: no head sees it
        look = self.take_look(phase, mean_colours)
        values, news = {}, []
        for section, guard in self.guards.items():
            measured = guard.measure(look)
            fault = guard.fault(measured) if measured else None
            self.wrong[section] = self.wrong[section] + 1 if fault else 0
            if fault and self.wrong[section] >= PATIENCE and section not in self.said:
                self.said.add(section)
                news.append(f"{fault}; see {PAGE}#{section}")
            values.update(measured)
        return values, news

    @torch.no_grad()
    def take_look(self, phase: Phase, mean_colours: Tensor) -> Look:
        """Every number a guard needs, of the networks as they train; a step after it ends as it would without."""
        trainer, (clean, real, _) = self.trainer, self.shown
        translator = trainer.translator_in(phase)
        with _at_rest(translator, trainer.translator, trainer.task):
            source = trainer.task.source(clean)
            given = translator.given(clean, source)
            drawn, again = (translator.degrade(given, self.rng(draw)) for draw in (0, 1))
            restored, unseen = self.restored(source, drawn, translator)
            fake = drawn.clamp(0, 1)
            realness = trainer.translator.realness
            judged = (realness(real), realness(round_to_8_bits(fake))) if self.judge_learns(phase) else None
        differ = mean_colours[1] - mean_colours[0] + (clean.mean((0, 2, 3)) - source.mean((0, 2, 3)))
        return Look(source, fake, again.clamp(0, 1), differ, judged, restored, unseen)

    def rng(self, draw: int) -> Rng:
        """Generators of a draw for each shown sample; the first is the picture sheets'."""
        seed = mix_seed(self.seed, draw) if draw else self.seed
        return sample_rng(seed, self.shown.index.tolist(), self.shown.clean.device)

    def judge_learns(self, phase: Phase) -> bool:
        """Whether there is a discriminator of degraded images, and it is being trained."""
        learns = any(name.startswith("discriminator_") for name in self.trainer.networks)
        has_judge = type(self.trainer.translator).realness is not Translator.realness
        return learns and has_judge and phase in TRANSLATOR_LEARNS

    def restored(
        self, source: Tensor, fake: Tensor, translator: Translator
    ) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None]:
        """How far off the head is on what it is fed, before and after one step of noise, and that noise as rounded."""
        bridge, (clean, real, _) = self.trainer.bridge, self.shown
        if bridge.feed in ("real", "source"):
            return None, None
        fed = bridge(source, fake, real, 0.0, self.rng(2), translator)
        changed = round_to_8_bits((fed + normal(fed.shape, fed, self.rng(3)) / 255).clamp(0, 1))
        off, off_after = (self.trainer.task(image) - clean for image in (fed, changed))
        return (off, off_after), changed - fed


@contextmanager
def _at_rest(*modules: nn.Module) -> Iterator[None]:
    """Modules in evaluation, each of their parts afterwards as it was."""
    training = [part for module in modules for part in module.modules() if part.training]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
