"""Checkpoints: complete or absent, the newest are kept, loaded equals saved, damage is found."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from unpairaug.errors import UserError
from unpairaug.sharing.manifest import write_manifest
from unpairaug.sharing.tensor_file import NonFiniteError
from unpairaug.training.checkpoint import (
    find_checkpoint_damage,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    take_newest_whole_checkpoint,
)


def save(folder: Path, step: int, keep: int = 2, value: float | None = None) -> Path:
    weights = {"w": torch.full((64,), float(step) if value is None else value)}
    return save_checkpoint(folder, step, {"net": weights, "image_pool": weights}, {"note": "x"}, keep)


def test_loaded_equals_saved(tmp_path):
    files, state = load_checkpoint(save(tmp_path, 3))
    assert torch.equal(files["net"]["w"], torch.full((64,), 3.0))
    assert state == {"step": 3, "note": "x"}


def test_the_newest_are_kept_by_number(tmp_path):
    for step in (9, 10, 100):
        save(tmp_path, step)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_10", "step_100"]
    assert len(list(tmp_path.iterdir())) == 2


def test_an_incomplete_folder_is_no_checkpoint_and_is_removed(tmp_path):
    save(tmp_path, 1)
    shutil.copytree(tmp_path / "step_1", tmp_path / "step_2.partial")
    shutil.copytree(tmp_path / "step_1", tmp_path / "old_step_0.partial")
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_1"]
    save(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_1", "step_3"]


def test_a_step_can_be_saved_again(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 1, value=7.0)
    assert [path.name for path in tmp_path.iterdir()] == ["step_1"]
    assert load_checkpoint(tmp_path / "step_1")[0]["net"]["w"][0] == 7.0


def test_a_full_disk_leaves_the_earlier_checkpoint_complete_and_frees_its_room(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, 2, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step_1"]
    assert load_checkpoint(tmp_path / "step_1")[1]["step"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_checkpoint_with_a_value_that_is_not_finite_is_not_written(tmp_path, value):
    save(tmp_path, 1)
    with pytest.raises(NonFiniteError, match=r"not finite: net: w, image_pool: w; .*step_2 was not written"):
        save(tmp_path, 2, value=value)
    assert [path.name for path in tmp_path.iterdir()] == ["step_1"]


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def set_step(path: Path) -> None:
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "step": 10**9}, indent=2))


DAMAGE = {
    "missing state": lambda p: (p / "state.json").unlink(),
    "missing weights": lambda p: (p / "net.safetensors").unlink(),
    "truncated": lambda p: (p / "net.safetensors").write_bytes((p / "net.safetensors").read_bytes()[:-4]),
    "a bit of a weight": lambda p: flip(p / "net.safetensors", -2),
    "a bit of a header": lambda p: flip(p / "net.safetensors", 12),
    "a bit of a space in the manifest": lambda p: flip(p / "manifest.json", 2),
    "a bit of a digest": lambda p: flip(p / "manifest.json", -20),
    "not JSON": lambda p: (p / "state.json").write_text("{"),
    "step 1e9": set_step,
    "extra file": lambda p: (p / "best.safetensors").write_bytes(b""),
    "no manifest": lambda p: (p / "manifest.json").unlink(),
    "deep manifest": lambda p: (p / "manifest.json").write_text("[" * 100000),
    "manifest of another kind": lambda p: (p / "manifest.json").write_text('{"files": []}\n'),
    "a file of another checkpoint": lambda p: shutil.copy(p.with_name("step_1") / "image_pool.safetensors", p),
    "a folder as a file": lambda p: ((p / "net.safetensors").unlink(), (p / "net.safetensors").mkdir()),
    "an empty folder": lambda p: (shutil.rmtree(p), p.mkdir()),
    "another checkpoint's folder": lambda p: (shutil.rmtree(p), shutil.copytree(p.with_name("step_1"), p)),
    "a manifest that fits no step": lambda p: ((p / "state.json").write_text("{}"), write_manifest(p)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_set_aside_and_the_newest_whole_one_taken(tmp_path, damage, caplog):
    for step in (1, 2, 3):
        save(tmp_path, step, keep=3)
    path = tmp_path / "step_3"
    DAMAGE[damage](path)
    with pytest.raises(UserError, match=r"step_3 is not a complete checkpoint.*train\.resume"):
        load_checkpoint(path)
    assert take_newest_whole_checkpoint(tmp_path, rename=False) == tmp_path / "step_2" and path.exists()
    with caplog.at_level(logging.WARNING, "unpairaug"):
        assert take_newest_whole_checkpoint(tmp_path, rename=True) == tmp_path / "step_2"
    assert f"{path} is damaged: " in caplog.text and "renamed to damaged_step_3" in caplog.text
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step_1", "step_2"]
    assert (tmp_path / "damaged_step_3").is_dir()


def test_damaged_checkpoints_of_one_step_get_different_names(tmp_path):
    for _ in range(2):
        save(tmp_path, 1)
        set_step(save(tmp_path, 2))
        take_newest_whole_checkpoint(tmp_path, rename=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged_step_2", "damaged_step_2_1", "step_1"]


def test_where_no_checkpoint_is_whole_all_are_named_and_keep_their_names(tmp_path):
    for step in (1, 2):
        set_step(save(tmp_path, step))
    with pytest.raises(UserError, match=r"no checkpoint in .* is whole \(step_2: .*; step_1: .*another output_dir"):
        take_newest_whole_checkpoint(tmp_path, rename=True)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_1", "step_2"]
    assert take_newest_whole_checkpoint(tmp_path / "none", rename=True) is None


def test_a_checkpoint_of_an_earlier_version_is_said_to_have_no_manifest(tmp_path):
    (save(tmp_path, 1) / "manifest.json").unlink()
    assert find_checkpoint_damage(tmp_path / "step_1") == (
        "it has no manifest.json: it is incomplete, or of an earlier version of unpairaug"
    )
    assert find_checkpoint_damage(tmp_path / "step_2") == "there is no such folder"


def test_checkpoints_after_a_step_are_listed(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step, keep=9)
    assert [path.name for path in list_checkpoints(tmp_path, after=1)] == ["step_2", "step_3"]
