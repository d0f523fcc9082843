"""Folders of trained parts: damage is found, and nothing that is not finite is written or read."""

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unpairaug.errors import UserError
from unpairaug.sharing import pretrained
from unpairaug.sharing.pretrained import Pretrained, load_part, save_part
from unpairaug.sharing.tensor_file import NonFiniteError

CONFIG = {"type": "denoise"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pretrained._warn_once.cache_clear()
    save_part(tmp_path / "head", "task", Pretrained(CONFIG, {"w": torch.arange(64.0)}, {}), "A card")
    return tmp_path / "head"


def warnings_of(folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    """What is warned of when the part is loaded twice."""
    with caplog.at_level(logging.WARNING, "unpairaug"):
        for _ in range(2):
            assert torch.equal(load_part(folder, "task").weights["w"], torch.arange(64.0))
    return caplog.text


def test_a_whole_folder_is_loaded_without_a_word(folder, caplog):
    (folder / "README.md").write_text("An edited card")
    (folder / "picture.png").write_bytes(b"")
    assert warnings_of(folder, caplog) == ""
    assert {path.name for path in folder.iterdir()} >= {"manifest.json", "model.safetensors", "config.json"}


def test_a_folder_of_an_earlier_version_is_loaded_and_warned_of_once(folder, caplog):
    (folder / "manifest.json").unlink()
    assert warnings_of(folder, caplog).count("has no manifest.json") == 1


def test_a_configuration_edited_by_hand_is_loaded_and_warned_of_once(folder, caplog):
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"trained": {}', '"trained": {"steps": 7}'))
    assert warnings_of(folder, caplog).count("config.json of") == 1
    assert load_part(folder, "task").trained == {"steps": 7}


@pytest.mark.parametrize("damage", ["bit", "truncated", "other weights", "manifest", "missing"])
def test_a_damaged_folder_is_refused(folder, damage):
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    if damage == "bit":
        content[-2] ^= 1
        weights.write_bytes(content)
    elif damage == "truncated":
        weights.write_bytes(content[:-4])
    elif damage == "other weights":
        save_file({"w": torch.zeros(64)}, weights)
    elif damage == "manifest":
        (folder / "manifest.json").write_text("{")
    else:
        weights.unlink()
    with pytest.raises(UserError, match=rf"{folder} is damaged: '(model.safetensors|manifest.json)' "):
        load_part(folder, "task")


@pytest.mark.parametrize("part", [{}, [[]], None, 3, "translator"])
def test_a_folder_of_something_else_is_refused(part, folder):
    (folder / "config.json").write_text(json.dumps({"part": part}))
    with pytest.raises(UserError, match=r"holds a (model of another program|translator), not a task"):
        load_part(folder, "task")


def test_weights_that_are_not_finite_are_not_saved_and_the_folder_stays_as_it_was(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(NonFiniteError, match="not finite: w"):
        save_part(folder, "task", Pretrained(CONFIG, {"w": torch.tensor([1.0, torch.nan])}, {}), "")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_weights_that_are_not_finite_are_not_loaded(folder):
    weights = load_file(folder / "model.safetensors")
    weights["w"][3] = torch.inf
    save_file(weights, folder / "model.safetensors")
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="not finite, such as 'w'"):
        load_part(folder, "task")
