"""Laws of the guards: each fires where it should and keeps silent where all is well, and none changes a run."""

from __future__ import annotations

import pytest
import torch
from test_trainer import CYCLEGAN, STOCHASTIC, make_batch, make_trainer
from torch import Tensor, nn

from unpairaug.data import UnpairedBatch
from unpairaug.guards import PATIENCE, Guards
from unpairaug.rng import Rng
from unpairaug.translators.bicubic import Bicubic

GREY = torch.full((2, 3), 0.5)
"""Mean colours of two domains that do not differ."""


def guards_of(translator: dict = STOCHASTIC, **trainer) -> Guards:
    return Guards(make_trainer(translator, **trainer), make_batch(), seed=0)


def look(guards: Guards, times: int = PATIENCE, colours: Tensor = GREY) -> tuple[dict[str, float], list[str]]:
    """What the last of several looks measured, and all that they said; sections of the page only."""
    values, said = {}, []
    for step in range(1, times + 1):
        values, news = guards.look(step, colours)
        said += [warning.partition("#")[2] for warning in news]
    return values, said


class Tint(Bicubic):
    """Adds a colour."""

    def __init__(self, colour: tuple[float, float, float]) -> None:
        super().__init__()
        self.colour = torch.tensor(colour).view(3, 1, 1)

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        return source + self.colour / 255


class Oracle(nn.Module):
    """A discriminator that says 1 of the images it was told are real, else 0; or the same of all."""

    def __init__(self, real: Tensor | None) -> None:
        super().__init__()
        self.real = real

    def forward(self, image: Tensor) -> Tensor:
        is_real = self.real is not None and torch.equal(image, self.real)
        return torch.full((len(image), 1, 4, 4), float(is_real))


def tinted(colour: tuple[float, float, float]) -> Guards:
    guards = guards_of({"type": "bicubic"})
    guards.trainer.translator = guards.trainer.ema_translator = Tint(colour)
    guards.shown = UnpairedBatch(guards.shown.clean.clamp(0.3, 0.7), *guards.shown[1:])
    return guards


def test_a_translator_that_adds_a_colour_drifts_and_the_numbers_say_by_how_much():
    values, said = look(tinted((12.0, 0.0, -3.0)))
    assert said == ["colour-drift"]
    shift = [values[f"colour_{name}"] for name in ("red", "green", "blue")]
    assert shift == pytest.approx([12, 0, -3], abs=1e-3)
    assert values["colour_drift"] == pytest.approx(12, abs=1e-3)


def test_a_colour_that_the_real_images_have_is_no_drift_and_its_opposite_is():
    warm = GREY + torch.tensor([[0.0], [15 / 255]])
    assert look(tinted((12.0, 12.0, 12.0)), colours=warm)[1] == []
    assert look(tinted((-12.0, -12.0, -12.0)), colours=warm)[1] == ["colour-drift"]
    assert look(tinted((30.0, 30.0, 30.0)), colours=warm)[1] == ["colour-drift"]


def test_the_colours_of_the_domains_are_those_of_all_batches_read():
    guards, batches = guards_of(), [make_batch(first) for first in (0, 4)]
    for batch in batches:
        guards.add(batch)
    clean, real = (torch.cat([batch[side] for batch in batches]).mean((0, 2, 3)) for side in (0, 1))
    assert torch.allclose(guards.mean_colours(), torch.stack([clean, real]))


def test_noise_that_dies_is_a_collapse():
    guards = guards_of()
    alive, said = look(guards)
    assert alive["diversity"] > 1 and "collapse" not in said
    nn.init.constant_(guards.trainer.translator.generators["degrade"].noise.strength[2].bias, -20.0)
    dead, said = look(guards)
    assert dead["diversity"] < 0.01 and said == ["collapse"]


def test_a_deterministic_translator_has_no_diversity_to_lose():
    values, said = look(guards_of(CYCLEGAN))
    assert "diversity" not in values and "collapse" not in said


@pytest.mark.parametrize("sees", ["everything", "nothing"])
def test_a_discriminator_that_never_errs_or_says_the_same_of_all_is_saturated(sees):
    guards = guards_of()
    real = guards.shown.degraded if sees == "everything" else None
    guards.trainer.translator.discriminators["degraded"] = Oracle(real)
    values, said = look(guards)
    assert said == ["discriminator-saturation"]
    assert values["told_apart"] == (1.0 if sees == "everything" else 0.5)


def test_told_apart_is_how_often_a_real_place_is_found_more_real():
    real, fake = torch.rand(7, 1, 3, 3), torch.rand(7, 1, 3, 3).round(decimals=1)
    guards = guards_of()
    guards.trainer.translator.realness = lambda image: real if torch.equal(image, guards.shown.degraded) else fake
    a, b = real.flatten()[:, None], fake.flatten()
    expected = ((a > b).float() + (a == b).float() / 2).mean().item()
    assert look(guards)[0]["told_apart"] == pytest.approx(expected, abs=1e-6)


def test_a_discriminator_that_is_not_trained_is_not_judged():
    from unpairaug.schedule import Schedule

    for schedule in (Schedule(steps=100, head_warmup=50), Schedule(steps=100, head_finish=100)):
        assert "told_apart" not in look(guards_of(schedule=schedule))[0]


def test_a_translator_that_changes_nothing_makes_no_guard_speak():
    values, said = look(guards_of({"type": "bicubic"}))
    assert said == []
    assert values["colour_drift"] == 0


def test_a_head_that_is_fed_no_fakes_cannot_leak():
    assert "leak_gain" not in look(guards_of(bridge={"feed": "source"}))[0]


def test_nothing_is_said_of_a_young_translator_nor_twice_of_an_old_one():
    guards = tinted((40.0, 40.0, 40.0))
    assert look(guards, PATIENCE - 1)[1] == []
    assert look(guards, 2 * PATIENCE)[1] == ["colour-drift"]
    from unpairaug.schedule import Schedule

    warming = guards_of(schedule=Schedule(steps=100, translator_warmup=50))
    assert look(warming) == ({}, [])


@pytest.mark.parametrize("translator", [CYCLEGAN, STOCHASTIC, {"type": "bicubic"}], ids=lambda spec: spec["type"])
def test_a_run_that_is_looked_at_ends_bit_for_bit_where_it_would(translator):
    norm = {"gan": {"discriminator": {"type": "srgan", "ndf": 4}}}  # batch norm, whose means a look must not move
    watched, alone = (make_trainer(translator, loss=norm) for _ in "ab")
    guards = Guards(watched, make_batch(), seed=0)
    for step in range(3):
        for trainer in (watched, alone):
            torch.manual_seed(step)
            trainer.train_step([make_batch(4 * step)], step)
        guards.look(step + 1, GREY)
    expected, found = (trainer.state()[0] for trainer in (alone, watched))
    for file in expected:
        assert all(torch.equal(expected[file][key], found[file][key]) for key in expected[file]), file
    assert [m.training for m in watched.translator.modules()] == [m.training for m in alone.translator.modules()]
