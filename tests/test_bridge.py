"""The contract of the bridge between translator and head."""

import pytest
import torch

from unpairaug.bridge import Bridge, round_to_8_bits
from unpairaug.camera.measured_camera import MeasuredCamera
from unpairaug.rng import sample_rng


def images(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(4, 3, 8, 8, generator=g), torch.rand(4, 3, 8, 8, generator=g)


def measured_camera(max_perturbation: float = 0.0, min_strength: float = 1.0) -> MeasuredCamera:
    camera = MeasuredCamera()
    camera.max_perturbation.fill_(max_perturbation)
    camera.min_strength.fill_(min_strength)
    return camera


class CoarseFiles(MeasuredCamera):
    """A camera whose files have nine levels."""

    def apply_jpeg(self, image: torch.Tensor) -> torch.Tensor:
        return (image * 8).round() / 8


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


def test_measured_perturbation_lies_between_0_and_the_cameras_maximum_and_is_absent_without_a_camera():
    source, fake, real = 0.5 * torch.ones(3, 64, 3, 16, 16)
    bridge = Bridge(perturbation="measured", round=False)
    assert torch.equal(bridge(source, fake, real), fake)
    added = [
        (bridge(source, fake, real, camera=measured_camera(max_perturbation=most)) - fake).std((1, 2, 3)) * 255
        for most in (3.0, 12.0)
    ]
    assert added[0].max() < 3.5 and added[0].min() < 1
    assert 10 < added[1].max() < 13.5


def test_measured_strength_lies_between_the_cameras_minimum_and_1():
    source, fake = torch.zeros(64, 3, 2, 2), torch.ones(64, 3, 2, 2)
    bridge = Bridge(strength="measured", round=False)
    assert torch.equal(bridge(source, fake, fake), fake)
    shares = bridge(source, fake, fake, camera=measured_camera(min_strength=0.7))[:, 0, 0, 0]
    assert shares.min() >= 0.7 and shares.max() <= 1 and shares.max() - shares.min() > 0.2


def test_the_cameras_file_comes_after_the_perturbation():
    source, fake, real = 0.5 * torch.ones(3, 2, 3, 16, 16)
    coarse = CoarseFiles()
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


def test_feed_restore_fake_passes_on_what_the_way_back_makes_of_the_fake_without_its_gradient():
    source, fake = images()
    fake = fake.requires_grad_()
    fed = Bridge(feed="restore(fake)")(source, fake, source, restore=lambda image: 1.5 - image)
    assert torch.equal(fed, (1.5 - round_to_8_bits(fake.detach())).clamp(0, 1))
    assert not fed.requires_grad
