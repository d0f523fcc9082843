"""What the demo does with a photograph is what the commands do, and a wrong file has a message of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from degrade_model import photograph, save_run, save_translator
from PIL import Image

from unpairaug.camera.measured_camera import CameraReport
from unpairaug.camera.noise import MeasuredNoise
from unpairaug.camera.spectra import BANDS
from unpairaug.degrading.degrade import Degradation, Degrader
from unpairaug.demo.model import LARGEST_SIDE, DemoModel
from unpairaug.errors import UserError
from unpairaug.measuring.measurement import Measurement
from unpairaug.restoring.restore import load_model, restore_image
from unpairaug.translator import build_translator


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("runs") / "toy")


@pytest.fixture(scope="module")
def model(run: Path) -> DemoModel:
    return DemoModel(str(run))


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_it_restores_as_restore_does_beside_the_enlarged_input(model: DemoModel, run: Path, tmp_path: Path):
    pixels = photograph(20, 31)
    found = model.restore(save(tmp_path / "a.png", pixels))
    assert np.array_equal(found.after, restore_image(load_model(str(run)), pixels))
    assert found.before.shape == found.after.shape and "31×20 px, the whole" in found.note


def test_of_a_large_photograph_it_takes_the_middle(model: DemoModel, tmp_path: Path):
    pixels = photograph(16, LARGEST_SIDE // 2 + 40)
    found = model.restore(save(tmp_path / "a.png", pixels))
    assert found.after.shape == (32, LARGEST_SIDE, 3)
    assert "middle 512×16 px of 552×16" in found.note
    assert np.array_equal(found.before, model.restore(save(tmp_path / "b.png", pixels[:, 20:-20])).before)


def test_its_draws_are_those_of_degrade_and_follow_the_seed(model: DemoModel, run: Path, tmp_path: Path):
    pixels = photograph(41, 52)
    path = save(tmp_path / "a.png", pixels)
    pictures = [picture for picture, _ in model.degrade(path, draws=2, seed=5).pictures]
    degrader = Degrader(Degradation(str(run), seed=5))
    expected = [degrader(degrader.crop(pixels), "a.png", draw) for draw in (0, 1)]
    assert [picture.shape for picture in pictures] == [(20, 26, 3)] * 3
    assert all(np.array_equal(one, other) for one, other in zip(pictures[1:], expected, strict=True))
    assert not np.array_equal(pictures[1], pictures[2])
    assert not np.array_equal(pictures[1], model.degrade(path, draws=1, seed=6).pictures[1][0])


def test_it_measures_the_halves_of_one_photograph(model: DemoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: dict[str, Any] = {}

    def measure(clean: str, folder: str, scale: int, what: str) -> Measurement:
        seen["halves"] = [np.asarray(Image.open(path)) for path in sorted(Path(folder).iterdir())]
        seen["arguments"] = clean, scale, what
        reports = [make_report(level) for level in (6.0, 5.0, 7.0)]
        return Measurement(build_translator({"type": "measured"}), reports[0], (reports[1], reports[2]), (5, 2))

    monkeypatch.setattr("unpairaug.demo.model.measure", measure)
    monkeypatch.setattr(model, "measured", {"noise": 2.0})
    pixels = photograph(80, 151)
    found = model.measure(save(tmp_path / "a.png", pixels))
    assert seen["arguments"] == ("sample", 2, "all") and np.array_equal(np.hstack(seen["halves"]), pixels)
    assert len(found.rows) == BANDS + 1 + 3 and found.rows[0] == ("gain at 0.031 cycles/px", "0.50 ± 0.00", "")
    assert found.rows[-3:] == [
        ("noise at mean light, 8-bit steps", "6.0 ± 1.0", "2.0"),
        ("its share that grows with the light", "25% ± 0%", ""),
        ("JPEG quality", "80 ± 0", ""),
    ]
    assert "5 clean photographs of the sample" in found.note


def make_report(level: float) -> CameraReport:
    noise = MeasuredNoise(level, growth=0.25, light=0.4, energy=torch.ones(BANDS + 1), shared=0.1)
    return CameraReport(torch.full((BANDS + 1,), 0.5), noise, 80, 0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [("notes.txt", b"no image", "notes.txt"), ("cut.png", b"\x89PNG\r\n\x1a\n", "cut.png"), ("void.png", b"", "empty")],
)
def test_a_file_that_is_no_image_is_named_without_its_folder(model: DemoModel, tmp_path: Path, name, data, words):
    (tmp_path / name).write_bytes(data)
    for act in (model.restore, model.measure, lambda path: model.degrade(path, 1, 0)):
        with pytest.raises(UserError, match=words) as raised:
            act(tmp_path / name)
        assert str(tmp_path) not in str(raised.value)


def test_a_photograph_that_cannot_be_measured_is_refused(model: DemoModel, tmp_path: Path):
    with pytest.raises(UserError, match="at least 64×32 px"):
        model.measure(save(tmp_path / "small.png", photograph(31, 80)))
    with pytest.raises(UserError, match="all black"):
        model.measure(save(tmp_path / "black.png", np.zeros((80, 80, 3), np.uint8)))


def test_a_model_of_one_part_does_what_that_part_can(tmp_path: Path):
    alone = DemoModel(str(save_translator(tmp_path / "camera", type="stochastic_cyclegan", width=4, depth=2)))
    assert alone.head is None and "not a task" in alone.missing["task"]
    assert alone.degrade(save(tmp_path / "a.png", photograph(20, 20)), 1, 0).pictures[1][0].shape == (20, 20, 3)
    with pytest.raises(UserError, match="holds a translator"):
        alone.restore(tmp_path / "a.png")
    with pytest.raises(UserError, match="neither a run folder"):
        DemoModel(str(tmp_path))
