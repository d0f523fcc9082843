"""The file for darktable: its configuration, and an ONNX file with the tensors that darktable looks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from test_export import saved

from unpairaug.errors import UserError
from unpairaug.export import export

VDSR = {"type": "vdsr", "depth": 3, "width": 8}


@pytest.mark.parametrize(("scale", "task_type", "name"), [(1, "denoise", "model.onnx"), (2, "sr", "model_x2.onnx")])
def test_darktable_gets_its_tensors_at_every_size(scale: int, task_type: str, name: str, tmp_path: Path):
    import onnxruntime

    head: dict[str, Any] = VDSR if scale > 1 else {"type": "dncnn", "depth": 3, "width": 8}
    task = saved(tmp_path / "head", head, scale, task_type) if scale > 1 else _denoiser(tmp_path / "head", head)
    exported = export(str(tmp_path), tmp_path / "My camera.dtmodel", "darktable")
    with ZipFile(exported.path) as archive:
        assert sorted(archive.namelist()) == ["my-camera/config.json", f"my-camera/{name}"]
        config = json.loads(archive.read("my-camera/config.json"))
        session = onnxruntime.InferenceSession(archive.read(f"my-camera/{name}"))
    assert config.items() >= {"id": "my-camera", "name": "My camera", "backend": "onnx"}.items()
    assert config["task"] == ("denoise" if scale == 1 else "upscale") and {"license", "provenance"} <= config.keys()
    assert config["colour_drift"] >= 0 and "shift by at most" in config["description"]
    for side in ((1, 1), (7, 5), (33, 18)):
        image = torch.rand(1, 3, *side, generator=torch.Generator().manual_seed(1))
        (found,) = session.run(["output"], {"input": image.numpy()})
        with torch.no_grad():
            assert np.abs(found - task(image).clamp(0, 1).numpy()).max() < 1e-4


def _denoiser(folder: Path, head: dict[str, Any]) -> Any:
    from unpairaug.registry import tasks

    torch.manual_seed(0)
    task = tasks.build({"type": "denoise", "head": head})
    task.save_pretrained(folder)
    return task.eval()


def test_a_scale_that_darktable_has_no_place_for_is_refused(tmp_path: Path):
    saved(tmp_path / "head", VDSR, 3)
    with pytest.raises(UserError, match="enlarges by 2 or 4; this head has scale 3"):
        export(str(tmp_path), tmp_path / "x3.dtmodel", "darktable")
