"""The noise of a measured camera: its level, its growth with light, its grain, its correlation between channels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unpairaug.camera.noise import CameraNoise, MeasuredNoise, channel_mix
from unpairaug.camera.spectra import BANDS, windows_of
from unpairaug.rng import sample_rng

WHITE = torch.ones(BANDS + 1)
SIDE = 256
"""Of a flat image: its 196 608 values show a standard deviation to half a per cent."""
BORDER = 3
"""Pixels at the border where the filter of the grain reaches outside the image."""


def camera_noise(
    level: float = 6.0, growth: float = 0.0, energy: Tensor = WHITE, shared: float = 0.0, light: float = 0.5
) -> CameraNoise:
    noise = CameraNoise()
    noise.become(MeasuredNoise(level, growth, light, energy, shared))
    return noise


def draw(noise: CameraNoise, light: float = 0.5, side: int = SIDE, seed: int = 0) -> Tensor:
    """Noise of a flat image in 8-bit steps, without the border: (3, side, side)."""
    drawn = 255 * noise(torch.full((1, 3, side, side), light), sample_rng(seed, [0]))[0]
    return drawn[:, BORDER:-BORDER, BORDER:-BORDER]


def test_there_is_no_noise_before_a_measurement():
    assert torch.equal(CameraNoise()(torch.rand(2, 3, 9, 8)), torch.zeros(2, 3, 9, 8))


@pytest.mark.parametrize("level", [0.3, 2.0, 20.0])
def test_noise_has_the_measured_level_and_mean_0(level: float):
    drawn = draw(camera_noise(level))
    assert drawn.std().item() == pytest.approx(level, rel=0.01)
    assert abs(drawn.mean().item()) < 0.01 * level


@pytest.mark.parametrize("growth", [0.0, 0.4, 1.0])
def test_the_variance_grows_linearly_with_the_light_by_the_measured_share(growth: float):
    noise = camera_noise(level=8.0, growth=growth, light=0.4)
    for light in (0.0, 0.1, 0.4, 1.0):
        expected = math.sqrt(64 * (1 + growth * (light / 0.4 - 1)))
        assert draw(noise, light).std().item() == pytest.approx(expected, rel=0.01, abs=1e-4)


def test_each_pixel_and_channel_has_the_noise_of_its_own_light():
    noise, image = camera_noise(level=8.0, growth=1.0), torch.full((1, 3, SIDE, SIDE), 0.1)
    image[:, 1, :, SIDE // 2 :] = 0.9
    drawn = 255 * noise(image, sample_rng(0, [0]))[0]
    dark, bright = 8 * math.sqrt(0.1 / 0.5), 8 * math.sqrt(0.9 / 0.5)
    for channel, right in enumerate((dark, bright, dark)):
        halves = [half.std().item() for half in drawn[channel].chunk(2, dim=-1)]
        assert halves == pytest.approx([dark, right], rel=0.03)


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.9, 1.0])
def test_channels_have_the_measured_correlation(shared: float):
    drawn = draw(camera_noise(shared=shared)).flatten(1)
    found = torch.corrcoef(drawn)
    assert torch.allclose(found, shared + (1 - shared) * torch.eye(3), atol=0.02)
    assert drawn.std(1).tolist() == pytest.approx([6.0] * 3, rel=0.02)


def test_the_grain_has_the_measured_energy_in_each_ring_at_the_same_level():
    energy = torch.linspace(2.0, 0.3, BANDS + 1)
    drawn = torch.cat([draw(camera_noise(energy=energy), seed=seed)[None] for seed in range(4)])
    white = torch.cat([draw(camera_noise(), seed=seed)[None] for seed in range(4)])
    found, flat = (windows_of(0.5 + noise / 255).energy.mean(0) for noise in (drawn, white))
    ratio = found / flat
    assert drawn.std().item() == pytest.approx(6.0, rel=0.02)
    assert torch.allclose(ratio / ratio.mean(), energy / energy.mean(), rtol=0.2)


def test_a_batch_has_the_noise_of_its_images_alone_and_another_seed_has_another():
    noise, image = camera_noise(growth=0.5, shared=0.4), torch.rand(3, 3, 20, 24)
    together = noise(image, sample_rng(1, [4, 5, 6]))
    alone = torch.cat([noise(image[i : i + 1], sample_rng(1, [4 + i])) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert not torch.allclose(together, noise(image, sample_rng(2, [4, 5, 6])), atol=1e-3)


def test_noise_is_loaded_as_it_was_saved():
    noise, image = camera_noise(4.0, 0.5, torch.linspace(1.5, 0.5, BANDS + 1), 0.6), torch.rand(1, 3, 16, 16)
    twin = CameraNoise()
    twin.load_state_dict(noise.state_dict())
    assert torch.equal(twin(image, sample_rng(0, [0])), noise(image, sample_rng(0, [0])))


def test_a_measurement_that_finds_no_noise_in_black_gives_none_there():
    noise = camera_noise(level=5.0, growth=1.0)
    assert not noise(torch.zeros(1, 3, 16, 16), sample_rng(0, [0])).any()


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_the_mix_of_channels_is_a_root_of_their_correlations(shared: float):
    mix = channel_mix(shared, 3)
    assert torch.allclose(mix @ mix.T, shared + (1 - shared) * torch.eye(3), atol=1e-6)
