"""The quality of a JPEG is read off cuts of its pixels, and none where there was no such file."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from unpairaug.camera.jpeg import as_file, quality_of
from unpairaug.data.sample import sample_images
from unpairaug.registry import translators
from unpairaug.translator import Translator


def cuts(quality: int | None, side: int = 32, count: int = 48) -> Tensor:
    """Squares from anywhere in the clean sample photographs, halved, as JPEG files give them back."""
    random, found = np.random.default_rng(0), []
    for image in sample_images("clean", 2).values():
        small = Image.fromarray(image).resize((image.shape[1] // 2, image.shape[0] // 2), Image.Resampling.BICUBIC)
        if quality is not None:
            small.save(file := BytesIO(), format="JPEG", quality=quality)
            small = Image.open(file)
        pixels = np.asarray(small)
        for _ in range(count):
            top, left = (int(random.integers(length - side)) for length in pixels.shape[:2])
            found.append(pixels[top : top + side, left : left + side])
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize("quality", [40, 75, 94])
def test_the_quality_of_a_file_is_read_off_its_pixels(quality: int):
    assert quality_of(cuts(quality)) == quality
    assert quality_of(cuts(quality, side=24).flip(-1)) == quality, "turned over, and in smaller cuts"


def test_without_a_file_there_is_no_quality():
    sharp = cuts(None)
    noisy = (sharp + 4 / 255 * torch.randn(sharp.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert quality_of(sharp) is None
    assert quality_of((noisy * 255).round() / 255) is None
    assert quality_of(torch.full((4, 3, 32, 32), 0.5)) is None


def test_a_translator_that_has_seen_files_makes_such_files_and_is_loaded_as_saved(tmp_path):
    translator: Translator = translators.build({"type": "stochastic_cyclegan", "width": 4, "lens": "measured"}).eval()
    assert translator.measure(cuts(None), cuts(60), scenes=5)["jpeg"] == 60
    source = cuts(None, side=64, count=8)
    with torch.no_grad():
        fake = translator.degrade(source)
    assert quality_of(fake) == 60
    translator.save_pretrained(tmp_path)
    assert quality_of(Translator.from_pretrained(tmp_path).eval().degrade(source).detach()) == 60
    assert "jpeg" not in translator.measure(cuts(None), cuts(None), scenes=5)
    assert quality_of(translator.degrade(source).detach()) is None


def test_a_files_gradient_is_that_of_what_the_file_keeps():
    """What is rounded to nothing has none: it would be raised without end, and nobody would see it."""
    down, right = torch.meshgrid(torch.arange(18), torch.arange(20), indexing="ij")
    coarse, fine = right / 40 + 0.2, ((down + right) % 2 - 0.5) / 255
    image = (coarse + fine).expand(1, 3, 18, 20).clone().requires_grad_()
    seen = as_file(image, torch.tensor([60.0]))
    for shown, passes in ((coarse - coarse.mean(), True), (fine, False)):
        (gradient,) = torch.autograd.grad((seen[:, :, :16, :16] * shown[:16, :16]).sum(), image, retain_graph=True)
        kept = (gradient.sum(1)[0, :16, :16] * shown[:16, :16]).sum() / shown[:16, :16].square().sum()
        assert kept == pytest.approx(3.0 if passes else 0.0, abs=0.05)


def test_discriminators_see_files_where_the_real_images_come_from_files():
    translator: Translator = translators.build(
        {"type": "stochastic_cyclegan", "width": 4, "lens": "measured", "discriminator": {"type": "texture", "ndf": 4}}
    )
    assert translator.measure(cuts(None), cuts(60), scenes=5)["jpeg"] == 60
    shown = []
    translator.discriminators["degraded"].register_forward_pre_hook(lambda _, args: shown.append(args[0].detach()))
    source, real = cuts(None, count=8), cuts(60, count=8)
    fake = translator.train().degrade(source)
    translator.losses_g(source, real, fake)
    translator.losses_d(source, real, fake.detach())
    assert len(shown) >= 2 and all(quality_of(images) == 60 for images in shown)
    assert quality_of(fake.detach()) is None, "the bridge writes the file, after all that it does"
