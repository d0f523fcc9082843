"""Blurs that are drawn for each image keep brightness and places, whatever is learnt."""

import pytest
import torch
from torch import Tensor, nn

from unpairaug.data.sample import sample_images
from unpairaug.networks.blur import RandomBlur, offsets, shrink_by
from unpairaug.networks.resize import shrink
from unpairaug.rng import sample_rng

scales = pytest.mark.parametrize("scale", [1, 2, 3, 4])


def random_blur(scale: int, kernel: int = 13, spread: float = 3.0) -> RandomBlur:
    """A blur whose weights are anything but a camera's."""
    torch.manual_seed(scale)
    blur = RandomBlur(scale, kernel)
    for p in blur.parameters():
        nn.init.normal_(p, std=spread / 8)
    return blur


def drawn(blur: RandomBlur, count: int = 64) -> Tensor:
    with torch.no_grad():
        return blur.kernels(torch.randn(count, blur.latent, generator=torch.Generator().manual_seed(0)))


def centroids(kernels: Tensor) -> Tensor:
    """Row and column of the centroids (B, 2), in pixels from the middle of the kernels (B, K, K)."""
    places = offsets(kernels.shape[-1])
    return torch.stack([kernels.sum(2) @ places, kernels.sum(1) @ places], dim=1)


@scales
@pytest.mark.parametrize("kernel", [5, 12, 13])
@pytest.mark.parametrize("spread", [1.0, 3.0, 10.0])
def test_kernels_of_any_weights_are_positive_sum_to_1_and_are_centred(scale: int, kernel: int, spread: float):
    kernels = drawn(random_blur(scale, kernel, spread))
    assert kernels.min() >= 0
    assert torch.allclose(kernels.sum((1, 2)), torch.ones(len(kernels)), atol=1e-5)
    assert centroids(kernels).abs().max() < 0.05


def test_every_latent_has_a_kernel_of_its_own():
    kernels = drawn(random_blur(2, spread=1.0))
    assert len(kernels.unique(dim=0)) == len(kernels)


@scales
def test_no_frequency_is_shifted_by_any_kernel(scale: int):
    kernels = drawn(random_blur(scale)).double()
    places, frequencies = offsets(kernels.shape[-1]).double(), torch.linspace(-torch.pi, torch.pi, 9).double()
    waves = torch.exp(-1j * frequencies[:, None] * places)
    transfer = torch.einsum("fi,bij,gj->bfg", waves, kernels.to(waves), waves)
    assert transfer.imag.abs().max() < 1e-6


@scales
def test_a_ramp_stays_where_it_is_under_any_kernel(scale: int):
    # The brightness of a ramp says where each cell's centre is seen.
    ramp = (torch.arange(60.0) / 60).expand(4, 1, 60, 60)
    with torch.no_grad():
        seen = random_blur(scale)(torch.cat([ramp, ramp.mT], dim=1), sample_rng(0, range(4)))
    expected = ramp.unfold(3, scale, scale).mean(4)[..., ::scale, :]
    inner = slice(14, -14) if scale == 1 else slice(14 // scale + 1, -(14 // scale) - 1)
    assert seen.shape[-2:] == (60 // scale, 60 // scale)
    for channel, truth in enumerate((expected[:, 0], expected[:, 0].mT)):
        assert (seen[:, channel] - truth)[:, inner, inner].abs().max() < 0.05 / 60


@scales
def test_before_training_it_is_close_to_antialiased_bicubic(scale: int):
    for image in sample_images("clean", 1).values():
        clean = torch.tensor(image[:240, :240]).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            made = RandomBlur(scale)(clean)
        assert (made - shrink(clean, scale).clamp(0, 1)).square().mean() < 10**-3.4


def test_sides_that_are_no_multiples_of_the_scale_are_cut():
    image = torch.rand(2, 3, 31, 22, generator=torch.Generator().manual_seed(0))
    kernels = drawn(random_blur(4), 2)
    assert shrink_by(kernels, image, 4).shape == (2, 3, 7, 5)


def test_half_precision_does_not_move_a_kernel():
    blur, image = random_blur(2), torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    whole = blur(image, sample_rng(0, range(2)))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(blur(image, sample_rng(0, range(2))), whole)
