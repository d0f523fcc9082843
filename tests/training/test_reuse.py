"""The programs of docs/guides/reuse.md run as they stand, in a folder like the reader's."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from program import run_program

from unpairaug.augment import TranslatorAugment
from unpairaug.data.images import read_image
from unpairaug.registry import translators

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guides" / "reuse.md"
COMMAND = r"^```bash\nunpairaug (degrade .*)\n```"
PROGRAMS = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.M))


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the page asks for: a run with its translator, and photographs."""
    torch.manual_seed(0)
    camera = translators.build({"type": "stochastic_cyclegan", "width": 4, "depth": 2})
    camera.save_pretrained(tmp_path / "runs" / "cyclesr_sr" / "translator")
    (tmp_path / "photographs" / "clean").mkdir(parents=True)
    for i in range(4):
        grey = np.full((72, 64, 3), 128, np.uint8)
        Image.fromarray(grey).save(tmp_path / "photographs" / "clean" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(name: str, folder: Path) -> dict[str, Any]:
    """The names that a program of the page leaves."""
    (folder / name).write_text(PROGRAMS[name], encoding="utf-8")
    return runpy.run_path(str(folder / name), run_name="__main__")


def test_the_page_shows_each_program_with_its_three_lines():
    assert PROGRAMS.keys() == {"plain_loop.py", "albumentations_loader.py", "classifier.py"}
    for program in PROGRAMS.values():
        assert re.findall(r"  # (\d)\b", program) == ["1", "2", "3"]


def test_the_plain_loop_trains_on_degraded_images(reader: Path):
    left = run("plain_loop.py", reader)
    assert torch.isfinite(left["loss"])
    assert not torch.equal(left["degraded"], left["clean"])
    assert len(left["optimizer"].param_groups[0]["params"]) == 2, "the network's weight and bias"


def test_the_loaders_workers_degrade_each_its_own_way(reader: Path, capsys: pytest.CaptureFixture[str]):
    left = run("albumentations_loader.py", reader)
    assert capsys.readouterr().out.count("(2, 3, 48, 48) 0.0") == 2
    batches = [degraded for degraded, _ in left["loader"]]
    noises = {tuple(image.flatten().tolist()) for image in torch.cat(batches) if image.std() > 0}
    assert len(noises) == sum(bool(image.std() > 0) for image in torch.cat(batches)) > 1


def test_the_classifier_sees_degraded_images_before_they_are_normalised(reader: Path):
    left = run("classifier.py", reader)
    assert torch.isfinite(left["loss"])
    kinds = [type(part).__name__ for part in left["last"].transforms]
    assert isinstance(left["last"].transforms[1], TranslatorAugment)
    assert kinds.index("Normalize") > 1 and "ToTensor" in kinds[0]


def test_the_command_makes_pairs_of_the_same_names_that_differ(reader: Path):
    (command,) = re.findall(COMMAND, PAGE.read_text(encoding="utf-8"), re.M)
    assert run_program(*shlex.split(command)).returncode == 0
    folders = {side: reader / "pairs" / side for side in ("gt", "lq")}
    sides = {side: {path.name: read_image(path) for path in folder.iterdir()} for side, folder in folders.items()}
    assert sides["gt"].keys() == sides["lq"].keys() == {f"{i}.png" for i in range(4)}
    for name, clean in sides["gt"].items():
        degraded = sides["lq"][name]
        assert degraded.shape == clean.shape and (degraded != clean).any()
