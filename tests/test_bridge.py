"""Laws of the door between translator and head."""

from types import SimpleNamespace

import pytest
import torch

from unpairaug.bridge import Bridge, round_to_8_bits
from unpairaug.rng import sample_rng


def images(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(4, 3, 8, 8, generator=g), torch.rand(4, 3, 8, 8, generator=g)


def measured(doubt=0.0, trust=1.0, filed=lambda seen: seen) -> SimpleNamespace:
    """What the bridge asks of a translator."""
    return SimpleNamespace(doubt=doubt, trust=trust, filed=filed)


def test_an_identity_translator_changes_nothing():
    source, _ = images()
    source = round_to_8_bits(source)
    assert torch.allclose(Bridge(strength=(0, 1))(source, source, source), source, atol=1e-6)


@pytest.mark.parametrize(("strength", "expected"), [(0.0, 0), (1.0, 1)])
def test_strength_0_feeds_the_source_and_1_the_fake(strength, expected):
    pair = images()
    assert torch.allclose(Bridge(strength=strength, round=False)(*pair, pair[0]), pair[expected], atol=1e-6)


def test_every_sample_draws_its_own_strength_and_one_seed_draws_it_again():
    source, fake = torch.zeros(4, 3, 2, 2), torch.ones(4, 3, 2, 2)
    bridge = Bridge(strength=(0.2, 0.9), round=False)
    first, again = (bridge(source, fake, fake, rng=sample_rng(7, range(4)))[:, 0, 0, 0] for _ in range(2))
    assert torch.equal(first, again)
    assert len(first.unique()) == 4
    assert first.min() >= 0.2
    assert first.max() <= 0.9


def test_what_is_fed_fits_an_8_bit_file():
    fed = Bridge(strength=(0, 1), perturbation=4.0)(*images(), images()[0]) * 255
    assert torch.allclose(fed, fed.round(), atol=1e-4)
    assert fed.min() >= 0
    assert fed.max() <= 255


def test_measured_perturbation_is_up_to_the_translators_doubt_and_none_where_there_is_none():
    source, fake, real = 0.5 * torch.ones(3, 64, 3, 16, 16)
    bridge = Bridge(perturbation="measured", round=False)
    assert torch.equal(bridge(source, fake, real), fake)
    added = [
        (bridge(source, fake, real, camera=measured(doubt=d)) - fake).std((1, 2, 3)) * 255
        for d in (3.0, torch.tensor(12.0))
    ]
    assert added[0].max() < 3.5 and added[0].min() < 1
    assert 10 < added[1].max() < 13.5


def test_measured_strength_lies_between_the_translators_trust_and_1():
    source, fake = torch.zeros(64, 3, 2, 2), torch.ones(64, 3, 2, 2)
    bridge = Bridge(strength="measured", round=False)
    assert torch.equal(bridge(source, fake, fake), fake)
    shares = bridge(source, fake, fake, camera=measured(trust=torch.tensor(0.7)))[:, 0, 0, 0]
    assert shares.min() >= 0.7 and shares.max() <= 1 and shares.max() - shares.min() > 0.2


def test_what_is_fed_went_through_the_cameras_file_after_the_noise_of_the_bridge():
    source, fake, real = 0.5 * torch.ones(3, 2, 3, 16, 16)
    coarse = measured(filed=lambda seen: (seen * 8).round() / 8)
    fed = Bridge(perturbation=20.0)(source, fake, real, camera=coarse)
    assert len((fed * 255).round().unique()) <= 5 and fed.std() > 0
    assert torch.equal(Bridge(round=False)(source, fake, real, camera=coarse), fake), "no file, no rounding"


def test_rounding_lets_the_gradient_straight_through():
    x = torch.rand(2, 3, 4, 4, requires_grad=True)
    round_to_8_bits(x).mul(torch.arange(4.0)).sum().backward()
    assert torch.equal(x.grad, torch.arange(4.0).expand_as(x))


@pytest.mark.parametrize("feedback", [0.0, 0.25, 1.0, 3.0])
def test_feedback_scales_the_gradient_and_not_the_image(feedback):
    source, fake = images()
    fake = (0.1 + 0.8 * fake).requires_grad_()  # away from the clamp
    fed, plain = Bridge()(source, fake, source, feedback), Bridge()(source, fake, source, 1.0)
    assert torch.equal(fed, plain)
    (gradient,) = torch.autograd.grad(plain.square().sum(), fake)
    if feedback == 0:
        assert not fed.requires_grad
    else:
        assert torch.allclose(torch.autograd.grad(fed.square().sum(), fake)[0], feedback * gradient)


def test_feed_real_passes_the_real_image_on():
    source, fake = images()
    real = torch.rand_like(source)
    assert Bridge(feed="real")(source, fake, real) is real
