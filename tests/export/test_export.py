"""Exported heads: what other programs load restores as the trained head does, and nothing else is written."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from program import run_program
from safetensors.torch import load_file
from skimage.data import astronaut
from spandrel import ModelLoader
from torch import Tensor, nn

from unpairaug.errors import RunStopped, UserError
from unpairaug.export import export
from unpairaug.export.enlarge import EnlargeByConvolution
from unpairaug.networks.resize import enlarge
from unpairaug.registry import heads, register_task, tasks
from unpairaug.task import Task

SWINIR = {"type": "spandrel", "arch": "SwinIR", "embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 8}
NAFNET = {"type": "spandrel", "arch": "NAFNet", "width": 8, "enc_blk_nums": [1], "dec_blk_nums": [1]}


def image() -> Tensor:
    return torch.rand(1, 3, 37, 53, generator=torch.Generator().manual_seed(3))


def saved(folder: Path, head: dict[str, Any], scale: int, task_type: str = "sr") -> Task:
    """A saved task whose head has weights and running statistics unlike those it started with."""
    torch.manual_seed(0)
    task = tasks.build({"type": task_type, "scale": scale, "head": head})
    for module in task.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            nn.init.normal_(module.bias, 0, 0.1) if module.bias is not None else None
    for _ in range(3):
        task.train()(torch.rand(2, 3, 16, 16))
    task.save_pretrained(folder)
    return task.eval()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("head", "scale"), [({**SWINIR, "upsampler": "pixelshuffledirect"}, 3), (NAFNET, 1)], ids=["SwinIR", "NAFNet"]
)
def test_a_spandrel_head_loads_in_plain_spandrel(head: dict[str, Any], scale: int, suffix: str, tmp_path: Path):
    task = saved(tmp_path / "head", head, scale)
    exported = export(str(tmp_path), tmp_path / f"new{suffix}", "spandrel")
    model: Any = ModelLoader().load_from_file(exported.path)
    assert (model.scale, exported.enlarge_first) == (scale, 1)
    with torch.no_grad():
        assert torch.allclose(model(image()), task(image()).clamp(0, 1), atol=1e-5)


@pytest.mark.parametrize("depth", [3, 7, 8, 11])
@pytest.mark.parametrize(
    ("head", "scale"),
    [({"type": "vdsr"}, 1), ({"type": "vdsr"}, 3), ({"type": "dncnn"}, 1), ({"type": "dncnn", "norm": "none"}, 1)],
    ids=["vdsr ×1", "vdsr ×3", "dncnn", "dncnn without norm"],
)
def test_a_plain_stack_becomes_spandrels_dncnn(head: dict[str, Any], scale: int, depth: int, tmp_path: Path):
    task = saved(tmp_path / "head", {**head, "depth": depth, "width": 8}, scale)
    exported = export(str(tmp_path), tmp_path / "new.pth", "spandrel")
    model: Any = ModelLoader().load_from_file(exported.path)
    assert (model.architecture.id, model.scale, exported.enlarge_first) == ("DnCNN", 1, scale)
    with torch.no_grad():
        assert torch.allclose(model(enlarge(image(), scale)), task(image()).clamp(0, 1), atol=1e-5)


def photograph() -> Tensor:
    """A real one, (1, 3, 60, 90) in [0, 1]."""
    pixels = torch.from_numpy(astronaut()[100:160, 180:270].copy())
    return pixels.permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_photograph_enlarged_first_becomes_the_same_picture_in_plain_spandrel(suffix: str, tmp_path: Path):
    task = saved(tmp_path / "head", {"type": "vdsr", "depth": 5, "width": 8}, 2)
    exported = export(str(tmp_path), tmp_path / f"new{suffix}", "spandrel")
    model: Any = ModelLoader().load_from_file(exported.path)
    with torch.no_grad():
        theirs = (model(enlarge(photograph(), exported.enlarge_first)) * 255).round()
        ours = (task(photograph()).clamp(0, 1) * 255).round()
    assert torch.equal(theirs, ours)
    assert not torch.equal(ours, (enlarge(photograph(), 2).clamp(0, 1) * 255).round()), "the head does something"


TRAINED = {
    "steps": 7,
    "batch_size": 4,
    "crop": 32,
    "feed": "fake",
    "data": {"clean": {"photos": 1.0}},
    "metrics": {"step": 7, "psnr_rgb": 28.5},
}
COMPACT = {"type": "spandrel", "arch": "Compact", "num_feat": 8, "num_conv": 2}
BUILT_IN = [name for name in heads.names() if heads.get(name).__module__.startswith("unpairaug.heads.")]
AT_SCALES = [(name, scale) for name in BUILT_IN for scale in (1, 2, 4) if name not in ("dct", "dncnn") or scale == 1]


def small(name: str) -> dict[str, Any]:
    sizes = {"depth": 3, "n_blocks": 1, "width": 8}
    options = {key: value for key, value in sizes.items() if key in heads.options(name).model_fields}
    return COMPACT if name == "spandrel" else {"type": name, **options}


@pytest.mark.parametrize(("name", "scale"), AT_SCALES)
def test_any_head_becomes_a_file_that_says_what_it_is(name: str, scale: int, tmp_path: Path):
    task = saved(tmp_path / "head", small(name), scale)
    export(str(tmp_path), tmp_path / "new.safetensors", "safetensors")
    from safetensors import safe_open

    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        again = heads.build(json.loads(file.metadata()["head"]))
    again.load_state_dict(load_file(tmp_path / "new.safetensors"))
    with torch.no_grad():
        assert torch.allclose(again.eval()(image()), task(image()), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "scale"), [(name, scale) for name, scale in AT_SCALES if hasattr(heads.get(name), "spandrel_state")]
)
def test_every_head_that_spandrel_knows_loads_there_at_every_scale(name: str, scale: int, tmp_path: Path):
    task = saved(tmp_path / "head", small(name), scale)
    exported = export(str(tmp_path), tmp_path / "new.pth", "spandrel")
    model: Any = ModelLoader().load_from_file(exported.path)
    assert model.scale * exported.enlarge_first == scale
    with torch.no_grad():
        assert torch.allclose(model(enlarge(image(), exported.enlarge_first)), task(image()).clamp(0, 1), atol=1e-5)


def test_a_head_that_spandrel_does_not_know_is_refused_with_what_works(tmp_path: Path):
    saved(tmp_path / "head", {"type": "edsr", "n_blocks": 1, "width": 8}, 2)
    with pytest.raises(UserError, match=r"'edsr'.*dncnn, spandrel, vdsr.*--format safetensors"):
        export(str(tmp_path), tmp_path / "new.pth", "spandrel")
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_enlargement_by_convolution_is_bicubic_to_the_last_row(scale: int):
    for side in [(1, 1), (2, 9), (13, 4)]:
        small = torch.rand(2, 3, *side, generator=torch.Generator().manual_seed(scale))
        with torch.no_grad():
            assert torch.allclose(EnlargeByConvolution(scale)(small), enlarge(small, scale), atol=2e-6)


def test_the_card_knows_what_the_file_is_and_leaves_the_rest_to_whoever_publishes_it(tmp_path: Path):
    task = saved(tmp_path / "head", {"type": "vdsr", "depth": 5, "width": 8}, 2)
    exported = export(str(tmp_path), tmp_path / "new.pth", "spandrel", license="CC-BY-4.0")
    card = json.loads((tmp_path / "new.pth.json").read_text(encoding="utf-8"))
    (resource,) = card["resources"]
    contents = exported.path.read_bytes()
    assert (resource["size"], resource["sha256"]) == (len(contents), sha256(contents).hexdigest())
    assert (card["architecture"], card["scale"], card["license"]) == ("dncnn", 1, "CC-BY-4.0")
    assert "Enlarge images ×2" in card["description"]
    assert card["author"] is card["date"] is None
    assert not [key for key in card if key.startswith("training")], "no run is known"
    task.trained = TRAINED
    task.save_pretrained(tmp_path / "head")
    export(str(tmp_path), tmp_path / "another.safetensors", "safetensors")
    card = json.loads((tmp_path / "another.safetensors.json").read_text(encoding="utf-8"))
    assert (card["trainingIterations"], card["trainingHRSize"], card["license"]) == (7, 32, None)
    assert "psnr_rgb 28.5000" in card["description"] and "photos" in card["dataset"]


def test_no_file_is_overwritten_and_none_gets_another_suffix(tmp_path: Path):
    saved(tmp_path / "head", NAFNET, 1)
    with pytest.raises(UserError, match="already exists; give another name"):
        export(str(tmp_path), tmp_path / "head" / "model.safetensors", "safetensors")
    with pytest.raises(UserError, match=r"extension \.safetensors"):
        export(str(tmp_path), tmp_path / "new.pth", "safetensors")
    (tmp_path / "new.bin").touch()
    with pytest.raises(UserError, match=r"new\.bin already exists; give another name"):
        export(str(tmp_path), tmp_path / "new.param", "ncnn")
    with pytest.raises(UserError, match=r"did you mean 'onnx'\?"):
        export(str(tmp_path), tmp_path / "new.onnx", "onx")
    with pytest.raises(UserError, match="nowhere"):
        export(str(tmp_path / "nowhere"), tmp_path / "new.pth", "spandrel")


def test_no_folder_is_made_for_a_file(tmp_path: Path):
    saved(tmp_path / "head", NAFNET, 1)
    with pytest.raises(UserError, match=r"no folder .*mistyped; create it"):
        export(str(tmp_path), tmp_path / "mistyped" / "new.pth", "spandrel")
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


@register_task("sr_that_brightens")
class Brightening(Task):
    """A task that does more than call its head."""

    def forward(self, degraded: Tensor) -> Tensor:
        return super().forward(degraded) + 0.01


def test_a_file_that_would_restore_differently_is_not_written(tmp_path: Path):
    saved(tmp_path / "head", NAFNET, 1, "sr_that_brightens")
    with pytest.raises(RunStopped, match=r"differs from that of the task by up to 0\.01"):
        export(str(tmp_path), tmp_path / "new.pth", "spandrel")
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


def unpairaug(*arguments: str, cwd: Path) -> str:
    """What the program prints."""
    result = run_program(*arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_checkpoint_is_fine_tuned_by_a_recipe_and_goes_back_to_plain_spandrel(tmp_path: Path):
    from spandrel.architectures.Compact import Compact

    torch.manual_seed(0)
    start = Compact(num_feat=8, num_conv=2, upscale=2)
    torch.save(start.state_dict(), tmp_path / "start.pth")
    unpairaug("train", "smoke", "task.head={type: spandrel, checkpoint: start.pth}", "output_dir=run", cwd=tmp_path)
    (tmp_path / "start.pth").unlink()
    said = unpairaug("train", "run/recipe.yaml", "train.steps=12", cwd=tmp_path)
    assert "resumed from run/checkpoints/step_10, with train.steps: 10 → 12\n" in said
    said = unpairaug("export", "run", "tuned.safetensors", "--format", "spandrel", cwd=tmp_path)
    assert said.startswith("tuned.safetensors: loaded back")
    model: Any = ModelLoader().load_from_file(tmp_path / "tuned.safetensors")
    with torch.no_grad():
        restored = Task.from_pretrained(tmp_path / "run")(image()).clamp(0, 1)
        assert torch.allclose(model(image()), restored, atol=1e-6)
        assert not torch.allclose(start(image()), restored, atol=1e-3), "it was trained"
