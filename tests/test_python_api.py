"""From Python: a run in ten lines, twice in one process, and images of any kind back as the kind that was given."""

from __future__ import annotations

import logging
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from PIL import Image
from skimage.data import astronaut

import unpairaug
from unpairaug import TranslatorAugment, UserError
from unpairaug.training.trained_run import Run

SMALL = {"train": {"steps": 4, "validate_every": 2, "checkpoint_every": 4}, "train.log_every": 2}


@pytest.fixture(scope="module", autouse=True)
def reset_accelerate() -> None:
    """Start as a new process does: accelerate keeps the precision of the first accelerator in a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, reset_accelerate: None) -> Run:
    log = logging.getLogger("unpairaug")
    before = (
        signal.getsignal(signal.SIGTERM),
        random.getstate(),
        torch.get_rng_state(),
        [*log.handlers],
    )
    folder = tmp_path_factory.mktemp("api") / "run"
    run = unpairaug.train("smoke", SMALL, task={"head": {"depth": 3}}, output_dir=folder)
    assert signal.getsignal(signal.SIGTERM) == before[0] and random.getstate() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2]) and log.handlers == before[3]
    return run


def test_a_run_says_how_it_went_and_another_one_can_follow_in_another_precision(run: Run, tmp_path: Path):
    assert run.metrics["step"] == 4 and run.metrics["psnr_rgb"] > 10 and "psnr_rgb" in repr(run)
    assert run.recipe.task["head"]["depth"] == 3 and run.recipe.train.steps == 4
    assert run.summary["value"] == pytest.approx(run.metrics["psnr_rgb"])
    assert run.best is not None and run.best.score["step"] in (2, 4)
    precise = {"train": {"mixed_precision": "bf16", "steps": 1}, "data": {"val_clean": None, "val_degraded": None}}
    other = unpairaug.train("smoke", precise, output_dir=tmp_path / "other")
    assert other.metrics.keys() <= {"step", "psnr_rgb_translated"} and other.recipe.train.mixed_precision == "bf16"
    scores = unpairaug.evaluate(run.folder, "sample", "sample")
    assert scores["psnr_rgb"] == pytest.approx(run.metrics["psnr_rgb"], abs=0.02)


def test_a_run_folder_that_was_moved_goes_on_where_it_lies(run: Run, tmp_path: Path):
    quick = {"data": {"val_clean": None, "val_degraded": None}, "train": {"select_checkpoint": False}}
    first = unpairaug.train(
        "smoke", quick, train={"steps": 1}, translator={"from": run.folder}, output_dir=tmp_path / "a"
    )
    moved = first.folder.rename(tmp_path / "b")
    second = unpairaug.train(moved / "recipe.yaml", {"train.steps": 2})
    assert second.folder == moved and not first.folder.exists()
    assert second.recipe.translator["from"] == str(moved / "translator_start")
    assert "resumed from" in (moved / "log.txt").read_text(encoding="utf-8")


KINDS = {
    "PIL": Image.fromarray(astronaut()[:24, :30]),
    "PIL grey": Image.fromarray(astronaut()[:24, :30, 0]),
    "uint8": astronaut()[:24, :30],
    "uint8 (H, W, 1)": astronaut()[:24, :30, :1],
    "uint16": astronaut()[:24, :30].astype(np.uint16) * 257,
    "float64": astronaut()[:24, :30] / 255,
    "tensor": torch.from_numpy(astronaut()[:24, :30] / 255).permute(2, 0, 1).float(),
    "batch": torch.from_numpy(astronaut()[:48, :30].reshape(2, 24, 30, 3)).permute(0, 3, 1, 2),
}


def as_floats(image: Any) -> np.ndarray:
    """(H, W, C) or (H, W) in [0, 1]; of a batch the first image."""
    if isinstance(image, torch.Tensor):
        image = (image[0] if image.ndim == 4 else image).permute(1, 2, 0).numpy()
    array = np.asarray(image)
    return array / np.iinfo(array.dtype).max if array.dtype.kind == "u" else array


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_back_is_of_the_kind_that_went_in(kind: str, run: Run):
    image = KINDS[kind]
    restored, degraded = run.restore(image), run.degrade(image, seed=1)
    assert type(restored) is type(degraded) is type(image)
    for found, scale in ((restored, 2), (degraded, 1)):
        assert getattr(found, "dtype", None) == getattr(image, "dtype", None)
        assert not isinstance(image, Image.Image) or found.mode == image.mode
        height, width, *channels = as_floats(image).shape
        assert as_floats(found).shape == (height * scale, width * scale, *channels)
    if "grey" not in kind and "1" not in kind.split()[-1]:
        reference = as_floats(run.restore(KINDS["float64"]))
        assert np.abs(as_floats(restored) - reference).max() < 1 / 255
    assert np.array_equal(as_floats(run.degrade(image, seed=1)), as_floats(degraded))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("photo.png", r"given a str, should be a PIL image, .*; open a file with PIL\.Image\.open"),
        (Image.new("RGBA", (8, 8)), r"PIL image of mode RGBA, should be RGB or L; call image\.convert\('RGB'\)"),
        (
            np.zeros((3, 8, 9), np.uint8),
            r"array of shape \(3, 8, 9\), should be \(H, W, 3\).*image\.transpose\(1, 2, 0\)",
        ),
        (np.zeros((8, 9, 3), np.int64), r"given an array of int64, should be uint8, uint16, or floats in \[0, 1\]"),
        (np.full((8, 9, 3), 255.0), r"given an array of float64 from 255 to 255, should be in \[0, 1\]; divide by 255"),
        (torch.zeros(8, 9, 3), r"tensor of shape \(8, 9, 3\), should be \(3, H, W\).*image\.permute\(2, 0, 1\)"),
        (torch.full((3, 8, 8), float("nan")), r"from nan to nan, should be in \[0, 1\]; scale them, and remove NaN"),
    ],
)
def test_a_wrong_image_is_one_clear_error(image: Any, said: str, run: Run):
    for method in (run.restore, run.degrade):
        with pytest.raises(UserError, match=said):
            method(image)


def test_parts_refuse_floats_up_to_255_too(run: Run):
    from unpairaug import Task
    from unpairaug.albumentations import LearnedDegradation

    images = torch.full((1, 3, 16, 16), 200.0)
    for part in (TranslatorAugment(run.folder), Task.from_pretrained(run.folder)):
        with pytest.raises(UserError, match=r"from 200 to 200, should be in \[0, 1\]; divide by 255"):
            part(images)
        assert part(images / 255).isfinite().all()
    augment = TranslatorAugment(run.folder)
    augment(images / 255)
    with pytest.raises(UserError, match="divide by 255"):  # also after images that were right
        augment(images)
    with pytest.raises(UserError, match="divide by 255"):
        LearnedDegradation(run.folder, p=1.0)(image=np.full((16, 16, 3), 200, np.float32))


def test_a_folder_without_trained_parts_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="holds no trained head/: give the folder of a finished run"):
        Run(tmp_path).restore(KINDS["PIL"])


def test_the_help_of_the_package_fits_on_a_few_screens():
    import pydoc

    assert len(pydoc.plain(pydoc.render_doc(unpairaug)).splitlines()) < 300
