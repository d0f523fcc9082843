"""What `one_sided` and `kernel_noise` do beyond the contract of `unpairaug.testing`."""

import io
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from unpairaug.camera.jpeg import as_file
from unpairaug.data.sample import sample_images
from unpairaug.errors import UserError
from unpairaug.losses import zero_mean_loss
from unpairaug.networks.filters import low_pass
from unpairaug.networks.noise import SensorNoise
from unpairaug.networks.resize import shrink
from unpairaug.registry import translators
from unpairaug.rng import sample_rng
from unpairaug.testing import check_translator
from unpairaug.translator import Translator, degrade_input, own_scale

TEXTURE = {"type": "texture", "ndf": 4}


def kernel_noise(scale: int, **options: Any) -> Translator:
    torch.manual_seed(0)
    spec = {"type": "kernel_noise", "scale": scale, "kernel": 9, "latent": 2, "discriminator": TEXTURE}
    return translators.build({**spec, **options})


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def silent(translator: Translator) -> Translator:
    """The translator with noise too faint to see."""
    for p in translator.generators["noise"].parameters():
        nn.init.zeros_(p)
    return translator


def step(translator: Translator, clean: Tensor, real: Tensor) -> dict[str, Tensor]:
    translator.train().rng = sample_rng(0, range(len(clean)))
    source = shrink(clean, own_scale(translator))
    fake = translator(degrade_input(translator, clean, source))
    return {**translator.losses_g(source, real, fake), **translator.losses_d(source, real, fake.detach())}


@pytest.mark.parametrize("option", [{"jpeg": [50, 90]}, {"round": False}, {"r1": 0.1}, {"game": "relativistic"}])
def test_kernel_noise_keeps_the_contract_with_other_options(option: dict[str, Any]):
    check_translator({**kernel_noise(1).config, **option}, stochastic=True)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_kernel_noise_takes_the_clean_image_and_shrinks_it(scale: int):
    translator = kernel_noise(scale).eval()
    clean = images(2, 3, 12 * scale, 13 * scale)
    source = shrink(clean, scale)
    assert own_scale(translator) == scale and degrade_input(translator, clean, source) is clean
    with torch.no_grad():
        fake = translator.degrade(clean, sample_rng(0, [0, 1]))
        alone = [translator.degrade(clean[i : i + 1], sample_rng(0, [i])) for i in (0, 1)]
        again, other = (translator.degrade(clean, sample_rng(seed, [0, 1])) for seed in (0, 1))
    assert fake.shape == (2, 3, 12, 13)
    assert torch.allclose(fake, torch.cat(alone), atol=1 / 255 + 1e-6)
    assert (fake - torch.cat(alone)).ne(0).float().mean() < 0.01  # where rounding falls the other way
    assert torch.equal(fake, again)
    assert not torch.equal(fake, other)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_kernel_noise_before_training_is_close_to_the_source_but_for_its_noise(scale: int):
    clean = torch.tensor(sample_images("clean", 1)["astronaut.png"][:240, :240]).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        fake = silent(kernel_noise(scale, kernel=13)).degrade(clean)
    assert (fake - shrink(clean, scale)).abs().mean() < 2 / 255


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_both_generators_and_the_discriminator_of_kernel_noise_learn_at_every_scale(scale: int):
    translator = kernel_noise(scale)
    losses = step(translator, images(2, 3, 16 * scale, 16 * scale), images(2, 3, 16, 16, seed=1))
    assert set(losses) == {"gan_degrade", "low_degrade", "zero_mean", "d_degraded"}
    torch.stack([*losses.values()]).sum().backward()
    for network in (*translator.generators.values(), *translator.discriminators.values()):
        assert any(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("jpeg", [None, [40, 60]])
def test_what_kernel_noise_makes_fits_an_8_bit_file(jpeg: list[int] | None):
    with torch.no_grad():
        fake = kernel_noise(2, jpeg=jpeg).degrade(images(2, 3, 32, 32).round(), sample_rng(0, [0, 1])) * 255
    assert torch.allclose(fake, fake.round(), atol=1e-3)
    assert fake.min() >= -1e-3
    assert fake.max() <= 255 + 1e-3


def test_a_jpeg_of_lower_quality_keeps_less_of_a_smooth_image_and_passes_the_gradient_of_its_brightness():
    image = low_pass(images(1, 3, 32, 32), 1.5).requires_grad_()
    lost = [(as_file(image, torch.tensor([float(q)])) - image).square().mean() for q in (30, 70, 95)]
    assert lost[0] > lost[1] > lost[2] > 0
    as_file(image, torch.tensor([50.0])).sum().backward()
    assert torch.allclose(image.grad.sum(1), torch.tensor(3.0), atol=1e-4)


def test_a_jpeg_has_the_colours_of_one_that_pillow_reads():
    image = low_pass(images(1, 3, 32, 32), 2.0)
    image[:, 0] += 0.3
    buffer = io.BytesIO()
    pixels = (image[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    read = torch.tensor(list(Image.open(buffer).convert("RGB").tobytes())).view(32, 32, 3).permute(2, 0, 1) / 255
    assert (as_file(image, torch.tensor([90.0]))[0] - read).abs().mean() < 1 / 255


def test_one_branch_of_the_noise_follows_the_light_and_the_other_does_not():
    torch.manual_seed(0)
    noise, light = SensorNoise(), torch.tensor([0.1, 0.9]).repeat_interleave(64).expand(1, 3, 128, 128)
    with torch.no_grad():
        noise.dependent.strength[0].weight.fill_(1.0)
        noise.dependent.strength[2].weight.fill_(0.5)
        nn.init.normal_(noise.independent[2].weight)
        both = noise(
            images(1, 3, 1, 1).round() * 0 + torch.tensor([0.1, 0.9]).repeat_interleave(64).expand(1, 3, 128, 128)
        )
        dark, bright = both[..., 1:63].std(), both[..., 65:127].std()
        nn.init.zeros_(noise.dependent.grain.weight)
        other = noise(light)
    assert bright > 1.05 * dark
    assert abs(other[..., 1:63].std() / other[..., 65:127].std() - 1) < 0.05


def test_a_kernel_narrower_than_two_cells_is_refused():
    with pytest.raises(UserError, match="kernel 5 does not reach the next cell at scale 4; give 8"):
        kernel_noise(4, kernel=5)


def test_the_mean_of_noise_is_judged_image_by_image():
    noise = torch.stack([torch.full((3, 8, 8), 0.5), torch.full((3, 8, 8), -0.5)])
    assert zero_mean_loss(noise) == 0.5
    assert zero_mean_loss(noise - noise.mean((2, 3), keepdim=True)) == 0


def test_one_sided_ties_the_content_and_not_the_noise():
    torch.manual_seed(0)
    translator = translators.build({"type": "one_sided", "width": 4, "depth": 3, "discriminator": TEXTURE})
    losses = step(translator, images(2, 3, 16, 16), images(2, 3, 16, 16, seed=1))
    assert set(losses) == {"gan_degrade", "zero_mean", "low_degrade", "d_degraded"}
    assert losses["low_degrade"] == 0  # before training the content is the source
    assert losses["zero_mean"] > 0
