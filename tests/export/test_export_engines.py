"""Heads in onnxruntime and NCNN: they restore as the trained head does at any size, or nothing is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from unpairaug.errors import UserError
from unpairaug.export import export
from unpairaug.networks.resize import enlarge
from unpairaug.registry import register_head, tasks
from unpairaug.task import Task

VDSR = {"type": "vdsr", "depth": 4, "width": 8}
FSRCNN = {"type": "fsrcnn"}
EDSR = {"type": "edsr", "n_blocks": 1, "width": 8}
RRDB = {"type": "spandrel", "arch": "RRDBNet", "num_filters": 8, "num_blocks": 1}
SWINIR = {
    "type": "spandrel",
    "arch": "SwinIR",
    "embed_dim": 12,
    "depths": [2],
    "num_heads": [2],
    "window_size": 8,
    "upsampler": "pixelshuffledirect",
}
SIZES = [(29, 47), (64, 32), (7, 90)]
"""Of images that no export looks at."""


def saved(folder: Path, head: dict[str, Any], scale: int) -> Task:
    """A saved task whose head does more than enlarge."""
    torch.manual_seed(0)
    task = tasks.build({"type": "sr", "scale": scale, "head": head}).eval()
    for module in task.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.any():
            nn.init.normal_(module.weight, 0, 0.05)
    task.save_pretrained(folder)
    return task


def images(batch: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.rand(batch, 3, *size, generator=generator) for size in SIZES]


@pytest.mark.parametrize(("head", "scale"), [(VDSR, 3), (FSRCNN, 2)], ids=["VDSR", "FSRCNN"])
def test_onnxruntime_restores_any_batch_and_size_as_the_task_does(head: dict[str, Any], scale: int, tmp_path: Path):
    task = saved(tmp_path / "head", head, scale)
    exported = export(str(tmp_path), tmp_path / "new.onnx", "onnx")
    assert exported.enlarge_first == 1 and exported.difference < 1e-5
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    assert [(put.name, put.shape[:2]) for put in session.get_inputs()] == [("degraded", ["batch", 3])]
    for image in (*images(1), *images(4)):
        (restored,) = session.run(["restored"], {"degraded": image.numpy()})
        with torch.no_grad():
            assert torch.allclose(torch.from_numpy(restored), task(image), atol=1e-5)
            assert not torch.allclose(enlarge(image, scale), task(image), atol=1e-3), "the head does something"


@pytest.mark.parametrize(
    ("head", "scale"), [(VDSR, 1), (VDSR, 2), (EDSR, 2), (RRDB, 4)], ids=["VDSR ×1", "VDSR ×2", "EDSR", "RRDBNet"]
)
def test_ncnn_restores_any_size_as_the_task_does(head: dict[str, Any], scale: int, tmp_path: Path):
    task = saved(tmp_path / "head", head, scale)
    export(str(tmp_path), tmp_path / "new.param", "ncnn")
    network: Any = ncnn.Net()  # type: ignore[attr-defined]
    network.opt.num_threads = 1
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(network.opt, option, False)
    assert (network.load_param(str(tmp_path / "new.param")), network.load_model(str(tmp_path / "new.bin"))) == (0, 0)
    for image in images(1):
        extractor = network.create_extractor()
        extractor.input("data", ncnn.Mat(image[0].numpy()).clone())  # type: ignore[attr-defined]
        restored = torch.from_numpy(np.array(extractor.extract("output")[1]))
        with torch.no_grad():
            assert torch.allclose(restored, task(image)[0], atol=1e-4)


def test_the_card_of_two_files_names_both(tmp_path: Path):
    saved(tmp_path / "head", VDSR, 2)
    export(str(tmp_path), tmp_path / "new.param", "ncnn")
    card = json.loads((tmp_path / "new.param.json").read_text(encoding="utf-8"))
    assert [resource["type"] for resource in card["resources"]] == ["param", "bin"]
    assert {path.name for path in tmp_path.iterdir()} == {"head", "new.param", "new.bin", "new.param.json"}


def test_a_network_with_operations_that_ncnn_lacks_is_refused_with_their_names(tmp_path: Path):
    saved(tmp_path / "head", SWINIR, 2)
    with pytest.raises(UserError, match=r"SwinIR cannot be converted to NCNN: .*no operation for .*torch\.unbind"):
        export(str(tmp_path), tmp_path / "new.param", "ncnn")
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


@register_head("that_counts_images")
class Counting(nn.Module):
    """Goes through a batch image by image."""

    def __init__(self, scale: int = 1) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 1)

    def forward(self, degraded: Tensor) -> Tensor:
        return torch.stack([self.body(degraded[i]) for i in range(degraded.shape[0])])


def test_a_network_that_needs_the_batch_as_a_number_is_no_onnx_file(tmp_path: Path):
    saved(tmp_path / "head", {"type": "that_counts_images"}, 1)
    with pytest.raises(UserError, match=r"that_counts_images cannot be converted to ONNX .*specialized"):
        export(str(tmp_path), tmp_path / "new.onnx", "onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


@register_head("that_looks_at_the_size")
class Moody(nn.Module):
    """Adds less to images that are 64 pixels high."""

    def __init__(self, scale: int = 1) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 1)

    def forward(self, degraded: Tensor) -> Tensor:
        return self.body(degraded) / 4 + (0.1 if degraded.shape[-2] == 64 else 0.2)


def test_a_network_that_does_other_things_at_other_sizes_is_found_out(tmp_path: Path):
    saved(tmp_path / "head", {"type": "that_looks_at_the_size"}, 1)
    with pytest.raises(UserError, match=r"depends on the image size.*shapes \(1, 3, 64, 48\)"):
        export(str(tmp_path), tmp_path / "new.param", "ncnn")
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


@pytest.mark.parametrize(
    ("format", "out", "package"), [("onnx", "new.onnx", "onnxscript"), ("ncnn", "new.param", "pnnx")]
)
def test_a_missing_extra_is_named(format: str, out: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    saved(tmp_path / "head", VDSR, 2)
    monkeypatch.setitem(sys.modules, package, None)  # what Python itself does with a module that must not be found
    with pytest.raises(UserError, match=rf"{package}: pip install 'unpairaug\[{format}\]'"):
        export(str(tmp_path), tmp_path / out, format)
    assert [path.name for path in tmp_path.iterdir()] == ["head"]
