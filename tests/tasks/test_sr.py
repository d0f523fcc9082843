"""Super-resolution: what is degraded, and the two heads called VDSR."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from unpairaug.errors import UserError
from unpairaug.registry import heads, tasks
from unpairaug.task import Task


def image(side: int = 24) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


HEADS = [{"type": "vdsr", "depth": 4, "width": 8}] + [
    {"type": "vdsr_cyclesr", "n_blocks": 2, "width": 8, "norm": norm} for norm in ("batch", "instance", "none")
]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: f"{head['type']}-{head.get('norm')}")
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_a_head_enlarges_by_its_scale(head, scale):
    task = tasks.build({"type": "sr", "scale": scale, "head": head})
    source = task.source(image())
    assert source.shape[-1] == 24 // scale
    assert task(source).shape == image().shape


@pytest.mark.parametrize("head", HEADS, ids=lambda head: f"{head['type']}-{head.get('norm')}")
def test_a_head_learns_one_batch(head):
    torch.manual_seed(0)
    task = tasks.build({"type": "sr", "scale": 2, "head": head})
    smooth = F.interpolate(image(6), scale_factor=4, mode="bicubic").clamp(0, 1)
    # The negative is far from what any head starts with, and easy to learn.
    source, clean, optimizer = task.source(smooth), 1 - smooth, torch.optim.Adam(task.parameters(), 3e-3)
    first = None
    for _ in range(60):
        loss = task.loss(task(source), clean)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.6 * first


def test_both_heads_have_their_published_size():
    assert count(heads.build({"type": "vdsr", "channels": 1}, scale=2)) == 664_704 + 64 * 19 + 1
    assert count(heads.build("vdsr_cyclesr", scale=4)) == 1_114_051


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_vdsr_starts_as_bicubic_enlargement():
    task = tasks.build({"type": "sr", "scale": 2, "head": "vdsr"})
    source = task.source(image())
    assert torch.equal(task(source), F.interpolate(source, scale_factor=2, mode="bicubic", antialias=True))


def test_the_source_stays_on_the_grid_of_cell_centres():
    ramp = ((torch.arange(48.0) + 0.5) / 48).expand(1, 3, 48, 48)
    for scale in (2, 3, 4):
        small = tasks.build({"type": "sr", "scale": scale, "head": HEADS[0]}).source(ramp)[0, 0, 0]
        cells = (torch.arange(48.0 // scale) + 0.5) / (48 // scale)
        assert (small - cells)[2:-2].abs().max() <= 0.5 / 255 + 1e-6


def test_saved_equals_loaded(tmp_path):
    task = tasks.build({"type": "sr", "scale": 3, "head": HEADS[1]}).eval()
    task.save_pretrained(tmp_path / "head")
    for place in (tmp_path, tmp_path / "head"):
        loaded = Task.from_pretrained(place)
        assert loaded.scale == 3
        assert torch.equal(loaded(image()), task(image()))
    files = {"README.md", "config.json", "manifest.json", "model.safetensors"}
    assert {path.name for path in (tmp_path / "head").iterdir()} == files


def test_loading_the_wrong_thing_says_what_was_expected(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json"):
        Task.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="hub"):
        Task.from_pretrained("no/such/folder/anywhere")
