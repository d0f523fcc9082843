"""Generators, and the filters and noise that they are made of."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from unpairaug.networks.filters import haar, low_pass
from unpairaug.networks.generators import NoisyGenerator, ResidualGenerator, ResnetGenerator
from unpairaug.networks.noise import SignalDependentNoise
from unpairaug.rng import sample_rng


def image(height: int = 20, width: int = 20, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("up_mode", ["transpose", "resize", "pixelshuffle"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("size", [(32, 32), (30, 33), (9, 41)])
def test_a_resnet_generator_keeps_any_size_and_the_value_range(up_mode, norm, size):
    out = ResnetGenerator(4, 1, norm, up_mode)(image(*size))
    assert out.shape[-2:] == size
    assert out.min() >= 0
    assert out.max() <= 1


@pytest.mark.parametrize(
    ("norm", "kind", "count"),
    [("batch", nn.BatchNorm2d, 23), ("instance", nn.InstanceNorm2d, 23), ("none", nn.Identity, 23)],
)
def test_a_resnet_generator_has_the_norm_it_was_asked_for(norm, kind, count):
    assert sum(type(m) is kind for m in ResnetGenerator(4, 9, norm).modules()) == count


def test_cyclegans_published_generator_has_its_published_size():
    assert sum(p.numel() for p in ResnetGenerator().parameters()) == 11_378_179


def test_a_residual_generator_starts_as_the_identity():
    x = image()
    assert torch.equal(ResidualGenerator(8, 3)(x), x)


@pytest.mark.parametrize("grain", [1, 3, 7])
def test_noise_starts_with_its_stated_strength_and_a_mean_of_nothing(grain):
    x = image(64, 64)
    noise = NoisyGenerator(8, 3, grain)(x, sample_rng(0, range(2))) - x
    assert noise.std().item() == pytest.approx(SignalDependentNoise.START, rel=0.05)
    assert abs(noise.mean().item()) < 0.1 * SignalDependentNoise.START


def test_noise_correlates_pixels_within_the_reach_of_its_grain_and_no_further():
    noise = SignalDependentNoise(grain=5)
    torch.nn.init.ones_(noise.grain.weight)
    drawn = noise(torch.full((1, 3, 128, 128), 0.5), sample_rng(0, [0]))[..., 4:-4, 4:-4]  # away from the borders
    near, far = ((drawn[..., shift:] * drawn[..., :-shift]).mean() / drawn.var() for shift in (4, 8))
    assert near > 0.1 and abs(far) < 0.05


def test_one_seed_makes_one_image_and_two_seeds_make_two():
    generator, x = NoisyGenerator(8, 3), image()
    first, again, other = (generator(x, sample_rng(seed, range(2))) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_a_batch_is_degraded_as_its_images_are_alone():
    generator, x = NoisyGenerator(8, 3), image()
    together = generator(x, sample_rng(3, [0, 1]))
    alone = torch.cat([generator(x[i : i + 1], sample_rng(3, [i])) for i in (0, 1)])
    assert torch.allclose(together, alone, atol=1e-6)


def test_low_pass_keeps_a_constant_and_removes_a_checkerboard():
    assert torch.allclose(low_pass(torch.full((1, 3, 16, 16), 0.3), 2.0), torch.tensor(0.3))
    checkers = (torch.arange(16)[:, None] + torch.arange(16)) % 2
    assert (low_pass(checkers.float().expand(1, 3, 16, 16), 2.0) - 0.5).abs().max() < 0.02


def test_the_haar_transform_keeps_energy_and_puts_a_constant_into_its_first_band():
    x = image(16, 24)
    assert haar(x).square().sum().item() == pytest.approx(x.square().sum().item(), rel=1e-5)
    assert haar(torch.ones(1, 3, 5, 7))[:, 3:].abs().max() == 0


def test_the_deviation_of_noise_is_a_softplus_of_what_is_learnt_that_starts_as_asked():
    noise, x = SignalDependentNoise(), image()
    noise.start_at(0.0, 0.1)
    start = (0.01 * x).sqrt()
    torch.testing.assert_close(noise.deviation(x), start.clamp(min=noise.FAINTEST), rtol=0, atol=1e-6)
    nn.init.normal_(noise.strength[-1].weight)  # type: ignore[arg-type]
    learnt = F.softplus(noise.strength(x - 0.5) + start.clamp(min=noise.FAINTEST).expm1().log())
    torch.testing.assert_close(noise.deviation(x), learnt, rtol=0, atol=1e-6)
