"""Checkpoints: complete or absent, the newest are kept, loaded equals saved."""

import shutil

import pytest
import torch

from unpairaug.errors import UserError
from unpairaug.training.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint


def save(folder, step: int, keep: int = 2):
    return save_checkpoint(folder, step, {"net": {"w": torch.full((2,), float(step))}}, {"note": "x"}, keep)


def test_loaded_equals_saved(tmp_path):
    files, state = load_checkpoint(save(tmp_path, 3))
    assert torch.equal(files["net"]["w"], torch.full((2,), 3.0))
    assert state == {"step": 3, "note": "x"}


def test_the_newest_are_kept_by_number(tmp_path):
    for step in (9, 10, 100):
        save(tmp_path, step)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_10", "step_100"]


def test_an_incomplete_folder_is_no_checkpoint_and_is_removed(tmp_path):
    save(tmp_path, 1)
    shutil.copytree(tmp_path / "step_1", tmp_path / "step_2.partial")
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_1"]
    save(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_1", "step_3"]


def test_a_full_disk_leaves_the_earlier_checkpoint_complete(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, 2, keep=1)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_1"]
    assert load_checkpoint(tmp_path / "step_1")[1]["step"] == 1


@pytest.mark.parametrize("damage", ["missing", "truncated", "not json"])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    path = save(tmp_path, 5)
    if damage == "missing":
        (path / "state.json").unlink()
    elif damage == "truncated":
        weights = path / "net.safetensors"
        weights.write_bytes(weights.read_bytes()[:-4])
    else:
        (path / "state.json").write_text("{")
    with pytest.raises(UserError, match=r"step_5 is not a whole checkpoint.*train\.resume"):
        load_checkpoint(path)


def test_checkpoints_after_a_step_are_listed(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step, keep=9)
    assert [path.name for path in list_checkpoints(tmp_path, after=1)] == ["step_2", "step_3"]
