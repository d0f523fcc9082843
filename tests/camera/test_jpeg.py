"""The quality of a JPEG is found from crops of its pixels, and none where there was no such file."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from unpairaug.camera.jpeg import as_file, quality_of
from unpairaug.data.sample import sample_images
from unpairaug.translator import Translator, build_translator, measure_camera


def crops(quality: int | None, side: int = 32, count: int = 48) -> Tensor:
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
def test_the_quality_of_a_file_is_found_from_its_pixels(quality: int):
    assert quality_of(crops(quality)) == quality
    assert quality_of(crops(quality, side=31).flip(-1)) == quality, "mirrored, and in smaller crops"


def test_without_a_file_there_is_no_quality():
    sharp = crops(None)
    noisy = (sharp + 4 / 255 * torch.randn(sharp.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert quality_of(sharp) is None
    assert quality_of((noisy * 255).round() / 255) is None
    assert quality_of(torch.full((4, 3, 32, 32), 0.5)) is None


def test_a_translator_that_was_measured_on_files_makes_such_files_and_is_loaded_as_saved(tmp_path):
    translator = build_translator({"type": "stochastic_cyclegan", "width": 4, "measure": "all"}).eval()
    assert measure_camera(translator, crops(None), crops(60), scenes=5).values()["jpeg_quality"] == 60
    source = crops(None, side=64, count=8)
    with torch.no_grad():
        fake = translator(source)
    assert quality_of(fake) == 60
    translator.save_pretrained(tmp_path)
    assert quality_of(Translator.from_pretrained(tmp_path)(source).detach()) == 60
    assert "jpeg_quality" not in measure_camera(translator, crops(None), crops(None), scenes=5).values()
    assert quality_of(translator(source).detach()) is None


def test_the_gradient_of_a_file_is_that_of_what_the_file_keeps():
    """What a file rounds to nothing has no gradient: a network would raise it without end, and no image shows it."""
    down, right = torch.meshgrid(torch.arange(18), torch.arange(20), indexing="ij")
    coarse, fine = right / 40 + 0.2, ((down + right) % 2 - 0.5) / 255
    image = (coarse + fine).expand(1, 3, 18, 20).clone().requires_grad_()
    seen = as_file(image, torch.tensor([60.0]))
    for shown, passes in ((coarse - coarse.mean(), True), (fine, False)):
        (gradient,) = torch.autograd.grad((seen[:, :, :16, :16] * shown[:16, :16]).sum(), image, retain_graph=True)
        kept = (gradient.sum(1)[0, :16, :16] * shown[:16, :16]).sum() / shown[:16, :16].square().sum()
        assert kept == pytest.approx(3.0 if passes else 0.0, abs=0.05)


@pytest.mark.parametrize("name", ["stochastic_cyclegan", "one_sided"])
def test_discriminators_see_files_where_the_real_images_come_from_files(name: str):
    translator = build_translator(
        {"type": name, "width": 4, "measure": "all", "discriminator": {"type": "texture", "ndf": 4}}
    )
    assert measure_camera(translator, crops(None), crops(60), scenes=5).jpeg_quality == 60
    shown = []
    translator.discriminators["degraded"].register_forward_pre_hook(lambda _, args: shown.append(args[0].detach()))
    source, real = crops(None, count=8), crops(60, count=8)
    fake = translator.train()(source)
    translator.losses_g(source, real, fake)
    translator.losses_d(source, real, fake.detach())
    assert len(shown) >= 2 and all(quality_of(images) == 60 for images in shown)
    assert quality_of(fake.detach()) is None, "the bridge applies the file last"
