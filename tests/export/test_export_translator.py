"""Translators as ONNX: given the same noise, onnxruntime degrades as the translator does, at any size."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor

from unpairaug.errors import UserError
from unpairaug.export import export
from unpairaug.export.translator_file import leave_file_out
from unpairaug.rng import GivenNumbers
from unpairaug.translator import Translator, build_translator


def saved_camera(folder: Path) -> Translator:
    """A measured camera with blur, grained noise that grows with the light, and JPEG files."""
    translator = build_translator("measured").eval()
    assert translator.camera is not None
    row = torch.tensor([1.0, 2, 3, 5, 8, 13, 20, 30, 20, 13, 8, 5, 3, 2, 1])
    translator.camera.optics.kernel.copy_(torch.outer(row, row) / row.sum() ** 2)
    translator.camera.noise.ends.copy_(torch.tensor([0.01, 0.05]))
    translator.camera.jpeg.set(80)
    translator.save_pretrained(folder)
    return translator


def run_file(path: Path, image: Tensor, *numbers: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = zip(session.get_inputs(), (image, *numbers), strict=True)
    return torch.from_numpy(session.run(["degraded"], {put.name: each.numpy() for put, each in inputs})[0])


def test_a_measured_camera_runs_in_onnxruntime_with_its_noise_as_an_input(tmp_path: Path):
    translator = saved_camera(tmp_path / "camera")
    exported = export(str(tmp_path / "camera"), tmp_path / "camera.onnx", "onnx")
    assert exported.part == "translator" and exported.difference < 1e-5
    assert "a JPEG of quality 80," in exported.left_out
    without_file = leave_file_out(translator).translator
    for shape in ((1, 3, 1, 1), (2, 3, 9, 30), (1, 3, 131, 140)):  # the last one is filtered by FFT outside the file
        image, noise = torch.rand(shape), torch.randn(shape)
        with torch.no_grad():
            expected = without_file(image, GivenNumbers([noise]))
        assert torch.allclose(run_file(exported.path, image, noise), expected, atol=1e-5)
        assert not torch.allclose(expected, image, atol=1e-3), "the camera does something"
    assert translator.camera is not None and translator.camera.jpeg.quality == 80, "the translator keeps its file"
    description = json.loads(exported.card.read_text(encoding="utf-8"))["description"]
    assert "Input noise: standard normal numbers" in description and "JPEG of quality 80" in description


def test_a_translator_that_shrinks_clean_images_is_written_for_single_images(tmp_path: Path):
    translator = build_translator({"type": "kernel_noise", "scale": 2, "kernel": 5, "jpeg": [50, 90]})
    translator.save_pretrained(tmp_path / "translator")
    exported = export(str(tmp_path / "translator"), tmp_path / "kernel.onnx", "onnx")
    assert "a quality drawn between 50 and 90" in exported.left_out and exported.difference < 1e-5
    numbers = torch.randn(1, 8), torch.randn(1, 3, 11, 20), torch.randn(1, 3, 11, 20)
    with torch.no_grad():
        expected = leave_file_out(translator).translator(image := torch.rand(1, 3, 22, 40), GivenNumbers(numbers))
    assert torch.allclose(run_file(exported.path, image, *numbers), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [("classic", "onnx", "'classic' cannot be converted to ONNX.*leaves torch"), ("bicubic", "ncnn", "given ncnn")],
)
def test_what_cannot_be_exported_is_refused_with_the_reason(name: str, format: str, message: str, tmp_path: Path):
    build_translator(name).save_pretrained(tmp_path / "translator")
    with pytest.raises(UserError, match=message):
        export(str(tmp_path / "translator"), tmp_path / ("new.onnx" if format == "onnx" else "new.param"), format)
    assert [path.name for path in tmp_path.iterdir()] == ["translator"]
