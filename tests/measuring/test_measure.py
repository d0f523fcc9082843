"""The measured camera: its figures and their errors, what is saved of it, the command, and what cannot be measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from unpairaug import Translator, UserError
from unpairaug.camera import MeasuredCamera
from unpairaug.camera.jpeg import quality_of
from unpairaug.commands import _add_commands, app
from unpairaug.data.sample import sample_images
from unpairaug.measuring.crops import crop_to_measure
from unpairaug.measuring.measurement import Measurement, describe, measure
from unpairaug.measuring.picture import write_picture
from unpairaug.run import train
from unpairaug.training.measure_camera import NOTHING_FOUND, format_camera


@pytest.fixture(scope="module")
def found() -> Measurement:
    """The camera of the sample: a blur that halves the size, and noise of about 6 steps."""
    return measure("sample", "sample", scale=2)


def test_the_optics_and_the_noise_of_the_sample_are_found_with_their_errors(found: Measurement):
    values = found.values()
    gains = [values[name] for name in sorted(values) if name.startswith("gain_") and not name.endswith("_error")]
    assert gains[0] == pytest.approx(1, abs=0.1) and gains[-1] < 0.5 and gains == sorted(gains, reverse=True)
    assert 4 < values["noise"] < 9
    assert all(values[f"{name}_error"] >= 0 for name in values if f"{name}_error" in values)
    assert values["noise_error"] > 0, "five images a side are never sure"
    assert values["images_clean"] == values["images_degraded"] == 5


def test_the_figures_are_told_with_units_and_drawn(found: Measurement, tmp_path: Path):
    text = describe(found)
    assert "cycles per pixel" in text and "8-bit steps" in text and "JPEG: no sign of compression" in text
    write_picture(found, tmp_path / "camera.png")
    pixels = np.asarray(Image.open(tmp_path / "camera.png"))
    assert pixels.shape == (320, 920, 3) and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 4


def test_a_saved_camera_degrades_as_the_measured_one(found: Measurement, tmp_path: Path):
    found.save(tmp_path / "camera")
    loaded = Translator.from_pretrained(tmp_path / "camera")
    source = torch.from_numpy(next(iter(sample_images("clean", 2).values()))[:64, :64]).permute(2, 0, 1)[None] / 255
    expected = found.translator(source, torch.Generator().manual_seed(0))
    assert torch.equal(loaded(source, torch.Generator().manual_seed(0)), expected)
    noise = expected - found.translator.camera.apply_optics(source)  # type: ignore[union-attr]
    assert noise.std() * 255 == pytest.approx(found.values()["noise"], rel=0.35)


def test_the_command_writes_a_folder_that_a_recipe_starts_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for side, part in (("clean", "clean"), ("seen", "degraded")):
        (tmp_path / side).mkdir()
        for name, image in list(sample_images(part, 1).items())[:2]:  # type: ignore[arg-type]
            Image.fromarray(image[:96, :96]).save(tmp_path / side / f"{side}_{name}.png")
    if not app.registered_commands:
        _add_commands()
    done = CliRunner().invoke(app, ["measure", "clean", "seen", "--output", "camera", "--json", "figures.json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(Path("figures.json").read_text())
    assert figures == json.loads(Path("camera/camera.json").read_text()) and figures["images_clean"] == 2
    assert Image.open("camera/camera.png").width == 920
    data = ["data.clean=clean", "data.degraded=seen", "data.val_clean=null", "data.val_degraded=null"]
    more = ["task.scale=1", "task.head.depth=3", "schedule.translator_warmup=0", "train.steps=2", "output_dir=run"]
    train("smoke", ["translator={from: camera, train: false}", *data, *more])
    config = json.loads(Path("run/translator/config.json").read_text())["translator"]
    assert config == {"type": "measured", "measure": "all"}


@pytest.mark.parametrize(
    ("crop", "scale", "clean", "degraded", "expected"),
    [(64, 2, 400, 200, 64), (32, 2, 400, 200, 64), (40, 1, 400, 400, 40), (16, 1, 400, 20, 20), (32, 2, 50, 100, 50)],
)
def test_small_training_crops_are_widened_as_far_as_images_allow(
    crop: int, scale: int, clean: int, degraded: int, expected: int
):
    assert crop_to_measure(crop, scale, clean, degraded) == expected


def test_black_photographs_are_refused_in_one_message():
    source = torch.rand(300, 3, 32, 32)
    with pytest.raises(UserError, match=r"all black.*translator\.measure=none"):
        MeasuredCamera().measure(source, torch.zeros_like(source), 5)


def _draw_leaves(rng: np.random.Generator, side: int) -> torch.Tensor:
    """A crop (3, side, side) of overlapping discs, slightly blurred and noisy, in 8 bits: never a JPEG."""
    rows, columns = np.mgrid[:side, :side]
    image = np.full((side, side, 3), 128.0)
    for _ in range(12):
        radius, (row, column) = rng.uniform(3, side), rng.uniform(0, side, 2)
        image[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = rng.uniform(0, 255, 3)
    noisy = (image + rng.normal(0, 3, image.shape)).clip(0, 255).round()
    return torch.from_numpy(noisy).permute(2, 0, 1) / 255


@pytest.mark.parametrize("side", [16, 20, 24, 31, 40])
def test_no_jpeg_is_found_in_crops_that_never_were_files(side: int):
    rng = np.random.default_rng(side)
    assert quality_of(torch.stack([_draw_leaves(rng, side) for _ in range(128)]).float()) is None


def test_a_log_asks_whether_folders_are_swapped_where_nothing_is_found():
    asked = {noise: NOTHING_FOUND in format_camera({"noise": noise}) for noise in (0.1, 3.0)}
    assert asked == {0.1: True, 3.0: False}
    for gain in (0.6, 1.1):  # above 1 the camera sharpens, or the folders are swapped
        assert (NOTHING_FOUND in format_camera({"noise": 0.0, "gain_0.1": 1.0, "gain_0.5": gain})) == (gain > 1)
