"""Every head: its publication's size, its scales, that it learns, what it saves, and that tiles show no seam."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.data import astronaut
from torch import nn

from unpairaug.errors import UserError
from unpairaug.recipe import Recipe, load_recipe
from unpairaug.registry import HeadSpec, heads, register_task, tasks
from unpairaug.restoring.restore import receptive_margin, restore_image
from unpairaug.sharing.manifest import write_manifest
from unpairaug.task import Task
from unpairaug.training.resume import resume
from unpairaug.training.run_folder import RunFolder


def spandrel(arch: str, **parameters: Any) -> dict[str, Any]:
    return {"type": "spandrel", "arch": arch, **parameters}


SPAN = spandrel("SPAN", num_in_ch=3, num_out_ch=3, feature_channels=8)
NAFNET = spandrel("NAFNet", width=8, middle_blk_num=1, enc_blk_nums=[1], dec_blk_nums=[1])
SWINIR = spandrel("SwinIR", embed_dim=12, depths=[2], num_heads=[2], window_size=8, upsampler="pixelshuffledirect")
HAT = spandrel("HAT", embed_dim=30, depths=[1], num_heads=[1], window_size=8)
RCAN = spandrel("RCAN", n_resgroups=1, n_resblocks=2, n_feats=16, reduction=4)
SMALL: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "vdsr": ({"type": "vdsr", "depth": 4, "width": 8}, (1, 2, 3, 4)),
    "vdsr_cyclesr": ({"type": "vdsr_cyclesr", "n_blocks": 2, "width": 8}, (1, 2, 3, 4)),
    "fsrcnn": ({"type": "fsrcnn", "width": 16, "depth": 2}, (1, 2, 3, 4)),
    "edsr": ({"type": "edsr", "n_blocks": 2, "width": 8, "res_scale": 0.5}, (1, 2, 3, 4)),
    "srresnet": ({"type": "srresnet", "n_blocks": 2, "width": 8}, (1, 2, 3, 4)),
    "dncnn": ({"type": "dncnn", "depth": 4, "width": 8}, (1,)),
    "dct": ({"type": "dct", "window": 8}, (1,)),
    "spandrel RRDBNet": (spandrel("RRDBNet", num_filters=8, num_blocks=2), (1, 2, 4)),
    "spandrel Compact": (spandrel("Compact", num_feat=8, num_conv=2), (1, 2, 3, 4)),
    "spandrel SPAN": (SPAN, (1, 2, 3, 4)),
    "spandrel RealPLKSR": (spandrel("RealPLKSR", dim=16, n_blocks=2), (1, 2, 3, 4)),
    "spandrel RCAN": (RCAN, (2, 3, 4)),
    "spandrel SwinIR": (SWINIR, (2, 3, 4)),
    "spandrel HAT": (HAT, (2, 3, 4)),
    "spandrel NAFNet": (NAFNET, (1,)),
    "spandrel DRUNet": (spandrel("DRUNet", in_nc=4, out_nc=3, nc=[8, 8, 8, 8], nb=2), (1,)),
}
"""A small variant of every head, and the scales that it is defined for."""
each = pytest.mark.parametrize("name", SMALL)
AT_SCALES = [(name, scale) for name, (_, scales) in SMALL.items() for scale in scales]


def image(height: int = 37, width: int = 53, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def task_with(name: str, scale: int | None = None) -> Task:
    """A super-resolution task with the small head at the scale, by default the last that it is defined for."""
    spec, scales = SMALL[name]
    torch.manual_seed(0)
    return tasks.build({"type": "sr", "scale": scale or scales[-1], "head": spec})


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_every_head_is_in_this_list():
    built_in = {name for name in heads.names() if heads.get(name).__module__.startswith("unpairaug.heads.")}
    assert {name.split()[0] for name in SMALL} == built_in


PUBLISHED = [
    ({"type": "edsr"}, 2, 1_369_859),
    ({"type": "edsr"}, 3, 1_554_499),
    ({"type": "edsr"}, 4, 1_517_571),
    ({"type": "edsr", "n_blocks": 32, "width": 256, "res_scale": 0.1}, 2, 40_729_603),
    ({"type": "edsr", "n_blocks": 32, "width": 256, "res_scale": 0.1}, 3, 43_680_003),
    ({"type": "edsr", "n_blocks": 32, "width": 256, "res_scale": 0.1}, 4, 43_089_923),
    ({"type": "srresnet"}, 4, 1_549_462),
    ({"type": "dncnn", "depth": 17, "channels": 1}, 1, 556_097),
    ({"type": "dncnn", "norm": "none"}, 1, 668_227),  # the authors' colour network without norm
    ({"type": "vdsr_cyclesr"}, 4, 1_114_051),
    (spandrel("RRDBNet"), 4, 16_697_987),  # ESRGAN's
]


@pytest.mark.parametrize(("spec", "scale", "published"), PUBLISHED, ids=lambda value: str(value))
def test_a_head_has_its_published_size(spec: dict[str, Any], scale: int, published: int):
    with torch.device("meta"):
        assert count(heads.build(spec, scale=scale)) == published


def test_deblurring_has_by_default_the_network_that_was_published_with_17_11_million_parameters():
    with torch.device("meta"):
        assert round(count(tasks.build("deblur")) / 1e6, 2) == 17.11


def test_weights_without_biases_are_as_many_as_published():
    fsrcnn, vdsr = (heads.build({"type": name, "channels": 1}, scale=3) for name in ("fsrcnn", "vdsr"))
    assert sum(p.numel() for p in fsrcnn.parameters() if p.dim() == 4) == 12_464
    assert sum(p.numel() for p in vdsr.parameters() if p.dim() == 4) == 664_704


@pytest.mark.parametrize(("name", "scale"), AT_SCALES)
def test_a_head_enlarges_images_of_any_size_by_its_scale(name: str, scale: int):
    task = task_with(name, scale).eval()
    with torch.no_grad():
        for height, width in ((37, 53), (5, 9)):
            assert task(image(height, width)).shape == (2, 3, scale * height, scale * width)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "dct"])  # which keeps the brightness
def test_a_head_learns_one_batch(name: str):
    task = task_with(name)
    # Smooth, so that even a head of one window can tell it; a darker one, so that no head starts with it.
    clean = F.interpolate(image(4, 4), size=(16 * task.scale,) * 2, mode="bicubic").clamp(0, 1) * 0.5
    degraded = F.interpolate(2 * clean, size=(16, 16), mode="area")
    optimizer = torch.optim.Adam(task.parameters(), 3e-3)
    first = task.loss(task(degraded), clean)
    for _ in range(200):
        loss = task.loss(task(degraded), clean)
        if loss < first / 5:  # a constant colour reaches a third
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pytest.fail(f"the loss went from {first:.4f} to {loss:.4f} and should have come to a fifth")


@each
def test_a_head_is_finite_in_bfloat16(name: str):
    task = task_with(name)
    with torch.autocast("cpu", torch.bfloat16):
        restored = task(image(16, 24))
    assert restored.isfinite().all()


@each
def test_a_head_leaves_its_input_unchanged(name: str):
    given = image(16, 16)
    task_with(name)(given)
    assert torch.equal(given, image(16, 16))


@each
def test_a_saved_head_loads_and_restores_the_same(name: str, tmp_path: Path):
    task = task_with(name).eval()
    task.save_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.allclose(Task.from_pretrained(tmp_path)(image()), task(image()), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in SMALL if not name.startswith("spandrel")])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_head_restores_the_same_in_tiles_and_at_once(name: str, norm: str):
    spec, scales = SMALL[name]
    if "norm" in heads.options(name).model_fields:
        spec = {**spec, "norm": norm}
    for scale in scales[:2]:
        task = tasks.build({"type": "sr", "scale": scale, "head": spec})
        for parameter in task.parameters():
            if parameter.dim() == 4:
                nn.init.kaiming_normal_(parameter)  # lively enough for a missing margin to show
        photograph = astronaut()[40:115, 180:233]
        assert receptive_margin(task) < 32, "smaller than what is taken where a head says nothing"
        apart = restore_image(task, photograph, 16).astype(int) - restore_image(task, photograph)
        assert np.abs(apart).max() <= 1


def test_dncnn_starts_as_the_image_itself():
    assert torch.equal(task_with("dncnn")(image()), image())


@pytest.mark.parametrize("head", ["dct", "dncnn"])
def test_a_denoiser_is_refused_where_the_task_enlarges(head: str):
    with pytest.raises(UserError, match=r"scale 1.*scale 2"):
        tasks.build({"type": "sr", "scale": 2, "head": head})


def test_dct_removes_noise_before_training_and_returns_the_image_with_thresholds_of_zero():
    clean = torch.from_numpy(astronaut()[40:104, 180:244]).permute(2, 0, 1)[None] / 255
    noisy = clean + 5 / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    head = heads.build("dct").eval()
    with torch.no_grad():
        assert (head(noisy) - clean).square().mean() < 0.6 * (noisy - clean).square().mean()
        for weights in head.parameters():
            weights.fill_(-1.0)  # 20 nats
        assert torch.allclose(head(noisy), noisy, atol=1e-5)


def test_dct_learns_the_colour_of_the_noise():
    draw = torch.Generator().manual_seed(0)
    head = heads.build({"type": "dct", "window": 8})
    optimizer = torch.optim.Adam(head.parameters(), 5e-3)
    for _ in range(20):
        clean = torch.rand(4, 3, 1, 1, generator=draw).expand(4, 3, 24, 24)
        noise = torch.randn(4, 1, 24, 24, generator=draw)  # of grey alone
        loss = F.mse_loss(head(clean + 0.1 * noise), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    grey, colours = head.hard.detach().mean(1)
    assert grey > 0.02 > colours.abs()


MISTAKES = {
    "misspelt architecture": ({"arch": "SwinIRR"}, "did you mean 'SwinIR'"),
    "misspelt parameter": ({"arch": "SwinIR", "embed_dimm": 60}, "embed_dimm.*did you mean 'embed_dim'"),
    "missing parameter": ({"arch": "SPAN", "num_in_ch": 3}, "num_out_ch: SPAN requires it"),
    "neither architecture nor checkpoint": ({}, "either an architecture, or a checkpoint.*spandrel, arch: …}'"),
    "architecture and checkpoint": (
        {"arch": "SPAN", "checkpoint": "x.pth"},
        r"both are given.*write task\.head='{type: spandrel, checkpoint: …}'",
    ),
    "windows that do not fit": (spandrel("SwinIR"), "SwinIR cannot be built.*such as window_size: 8"),
    "windows that do not fit an image": (spandrel("HAT", embed_dim=30, depths=[1], num_heads=[1]), "window_size: 8"),
    "no such file": ({"checkpoint": "nowhere.pth"}, "no file nowhere.pth"),
    "numbers that do not fit": ({**SWINIR, "window_size": 7}, "SwinIR cannot be built"),
    "parameters that weights do not tell": ({**SWINIR, "img_range": 255.0}, r"img_range 255\.0 \(1\.0\)"),
    "another scale": ({**SWINIR, "upscale": 3}, "enlarges by 3, but the task has scale 2"),
    "an architecture of scale 1": (NAFNET, "enlarges by 1, but the task has scale 2"),
    "grey images": (spandrel("Compact", num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=2), "1 colour channels of 1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_spandrel_head_is_refused_with_what_to_do(mistake: str):
    spec, said = MISTAKES[mistake]
    with pytest.raises(UserError, match=re.compile(said, re.DOTALL)):
        tasks.build({"type": "sr", "scale": 2, "head": {"type": "spandrel", **spec}})


@pytest.mark.parametrize("head", [spandrel("RRDBNet"), {"type": "vdsr"}], ids=["open options", "closed options"])
def test_a_scale_of_the_heads_own_is_refused_where_the_task_has_none(head: dict[str, Any]):
    with pytest.raises(UserError, match=r"head\.scale: what holds this head decides it"):
        tasks.build({"type": "deblur", "head": {**head, "scale": 2}})


def test_parameters_that_act_only_in_training_are_kept():
    torch.manual_seed(0)
    task = tasks.build({"type": "sr", "scale": 2, "head": {**SWINIR, "drop_rate": 0.5}})
    assert not torch.equal(task(image(16, 16)), task(image(16, 16))), "dropout draws anew"
    assert torch.equal(task.eval()(image(16, 16)), task(image(16, 16)))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A file as other programs leave it: plain weights of one of spandrel's architectures at ×2."""
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.manual_seed(1)
    network = ESRGAN(num_filters=8, num_blocks=2, scale=2)
    torch.save({"params_ema": network.state_dict()}, tmp_path / "esrgan.pth")
    return tmp_path / "esrgan.pth"


def test_a_checkpoint_restores_as_in_spandrel_and_is_no_longer_needed_once_saved(checkpoint: Path, tmp_path: Path):
    from spandrel import ModelLoader

    expected = ModelLoader().load_from_file(checkpoint)(image(batch=1))
    task = tasks.build({"type": "sr", "scale": 2, "head": {"type": "spandrel", "checkpoint": str(checkpoint)}}).eval()
    task.save_pretrained(tmp_path / "head")
    checkpoint.unlink()
    for each in (task, Task.from_pretrained(tmp_path / "head")):
        with torch.no_grad():
            assert torch.allclose(each(image(batch=1)).clamp(0, 1), expected, atol=1e-6)
    assert all(p.requires_grad for p in task.parameters()), "it can be fine-tuned"


@register_task("toy_restorer")
class Restorer(Task):
    """A task with another name for its head, and another head beside it."""

    def __init__(self, restorer: HeadSpec, judge: HeadSpec = "dncnn") -> None:
        super().__init__(scale=2, head=restorer)


@register_task("toy_one_restorer")
class OneRestorer(Task):
    def __init__(self, restorer: HeadSpec) -> None:
        super().__init__(scale=2, head=restorer)


@pytest.mark.parametrize("task_type", ["toy_restorer", "toy_one_restorer"])
def test_a_task_with_another_name_for_its_head_is_saved_without_its_checkpoint_too(
    task_type: str, checkpoint: Path, tmp_path: Path
):
    task = tasks.build({"type": task_type, "restorer": {"type": "spandrel", "checkpoint": str(checkpoint)}}).eval()
    task.save_pretrained(tmp_path / "head")
    checkpoint.unlink()
    with torch.no_grad():
        assert torch.allclose(Task.from_pretrained(tmp_path / "head")(image()), task(image()), atol=1e-6)


AVERAGED, PLAIN = ("generator_ema", "net_g_ema", "ema"), ("generator", "net_g", "model")


@pytest.mark.parametrize("is_nested", [False, True], ids=["prefixes", "nested"])
@pytest.mark.parametrize("names", [(AVERAGED[i], PLAIN[i]) for i in range(3)], ids=lambda names: names[0])
def test_averaged_weights_are_taken_first_from_the_state_of_a_training_program(
    names: tuple[str, str], is_nested: bool, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    averaged = torch.load(checkpoint)["params_ema"]
    plain = {key: torch.zeros_like(value) for key, value in averaged.items()}
    parts = {names[1]: plain, names[0]: averaged, "discriminator": {"conv.weight": torch.zeros(1, 3, 3, 3)}}
    flat = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}
    torch.save({"state_dict": parts if is_nested else flat, "optimizer": {}}, tmp_path / "training.pth")
    spec = {"type": "spandrel", "checkpoint": str(tmp_path / "training.pth")}
    with caplog.at_level("INFO", "unpairaug"), torch.no_grad():
        expected = heads.build({**spec, "checkpoint": str(checkpoint)}, scale=2).eval()(image(batch=1))
        assert torch.equal(heads.build(spec, scale=2).eval()(image(batch=1)), expected)
    assert f"training.pth: loaded the weights under {names[0]!r}" in caplog.text


def test_a_checkpoint_of_something_else_or_another_scale_is_refused(checkpoint: Path, tmp_path: Path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    spec = {"type": "spandrel", "num_filters": 8}
    for file, said in (("other.pth", "recognises no architecture"), ("broken.safetensors", "cannot be loaded")):
        with pytest.raises(UserError, match=said):
            heads.build({"type": "spandrel", "checkpoint": str(tmp_path / file)}, scale=2)
    with pytest.raises(UserError, match=r"esrgan\.pth enlarges by 2, but the task has scale 4"):
        heads.build({"type": "spandrel", "checkpoint": str(checkpoint)}, scale=4)
    with pytest.raises(UserError, match="knows its own parameters"):
        heads.build({**spec, "checkpoint": str(checkpoint)}, scale=2)


def start_run(checkpoint: Path, output_dir: Path) -> RunFolder:
    """A run that fine-tunes the checkpoint, with a checkpoint of its own."""
    recipe = fine_tuning(checkpoint, output_dir)
    run = RunFolder(recipe, {})
    run.lock_folder()
    run.open("cpu", 1, 0)
    saves_nothing: Any = SimpleNamespace(save_pretrained=lambda folder: None, scale=2)
    run.save(4, {}, {}, saves_nothing, saves_nothing)
    run.close()
    return run


def fine_tuning(checkpoint: Path, output_dir: Path) -> Recipe:
    head = f"task.head={{type: spandrel, checkpoint: {checkpoint}}}"
    return load_recipe("smoke", [head, f"output_dir={output_dir}"])


def resumes(recipe: Recipe) -> bool:
    takes_anything: Any = SimpleNamespace(
        load_state=lambda files, state: None, accelerator=SimpleNamespace(num_processes=1)
    )
    return resume(recipe, takes_anything, RunFolder(recipe, {})).step == 4


def test_a_run_keeps_what_its_head_starts_from(checkpoint: Path, tmp_path: Path):
    run = start_run(checkpoint, tmp_path / "run")
    assert resumes(fine_tuning(checkpoint, tmp_path / "run")), "the command that started it"
    moved = checkpoint.rename(tmp_path / "moved.pth")
    assert resumes(load_recipe(str(run.path / "recipe.yaml"))), "the checkpoint that it started with is gone"
    assert resumes(fine_tuning(moved, tmp_path / "run")), "the same weights under another name"
    run.path.rename(tmp_path / "elsewhere")
    assert resumes(fine_tuning(moved, tmp_path / "elsewhere")), "the copy that it names is gone"


def test_a_run_does_not_resume_from_other_weights_or_keys(checkpoint: Path, tmp_path: Path):
    run = start_run(checkpoint, tmp_path / "run")
    state_file = run.path / "checkpoints" / "step_4" / "state.json"
    weights = torch.load(checkpoint)["params_ema"]
    torch.save({key: value + 1 for key, value in weights.items()}, checkpoint)
    with pytest.raises(UserError, match=r"of another run.*task\.head\.checkpoint"):
        resumes(fine_tuning(checkpoint, run.path))
    state_file.write_text(state_file.read_text().replace('"round"', '"rounded"'))
    write_manifest(state_file.parent)  # as an older version would have saved it
    with pytest.raises(UserError, match=r"another version of unpairaug .* whose recipes have other keys"):
        resumes(load_recipe(str(run.path / "recipe.yaml")))
