"""The quality of a JPEG is read off cuts of its pixels, and none where there was no such file."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from unpairaug.data.sample import sample_images
from unpairaug.jpeg import quality_of
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
