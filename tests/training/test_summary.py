"""The summary at the end of a run: the verdict follows from what was measured, and names the likeliest reasons."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_checkpoint_selection import make_selection
from test_run import CYCLEGAN, run

from unpairaug.recipe import load_recipe
from unpairaug.registry import tasks
from unpairaug.task import Task
from unpairaug.training.gain import measure_unpaired_gain, paired_gain
from unpairaug.training.summary import Summary, summarize
from unpairaug.training.summary_reasons import format_few_images
from unpairaug.training.summary_text import format_summary, format_warning

IMAGES = {"clean": 40, "degraded": 40}


def make_summary(folder: Path, *lines: tuple[int, str, dict], kept: int | None = None, **options) -> Summary:
    """Of a run of 1000 steps that has logged these lines (step, split, values)."""
    texts = [json.dumps({"step": step, "split": split, **values}) for step, split, values in lines]
    (folder / "metrics.jsonl").write_text("\n".join(texts))
    if kept is not None:
        (folder / "best").mkdir()
        (folder / "best" / "selection.json").write_text(json.dumps({"step": kept}))
    overrides = ["train.steps=1000", *(f"{key}={value}" for key, value in options.items())]
    return summarize(folder, load_recipe("smoke", overrides).resolve(1), IMAGES)


def paired(value: float, error: float = 0.05, step: int = 1000) -> list[tuple[int, str, dict]]:
    """Lines of a validation whose baseline has 25 dB."""
    gain = {"psnr_rgb": value - 25, "standard_error": error}
    return [(0, "val_bicubic", {"psnr_rgb": 25.0}), (step, "val", {"psnr_rgb": value}), (step, "gain", gain)]


@pytest.mark.parametrize(("value", "status"), [(25.2, "above"), (24.8, "below"), (25.09, "within_noise")])
def test_a_difference_counts_beyond_two_standard_errors(tmp_path, value: float, status: str):
    found = make_summary(tmp_path, *paired(value))
    assert found.status == status and found.values()["difference"] == pytest.approx(value - 25)
    warning = format_warning(found)
    assert (warning is None) == (status == "above")
    assert ("dB below bicubic interpolation" in (warning or "")) == (status == "below")
    assert f"{value:.2f} dB at step 1000" in format_summary(found, tmp_path)


def test_the_kept_step_is_taken_where_it_validated_better_than_the_last(tmp_path):
    found = make_summary(tmp_path, *paired(26.0, step=500), *paired(25.5), kept=500)
    assert (found.weights, found.weights_step, found.best_step) == ("best", 500, 500)
    assert found.values()["value"] == 26.0
    (tmp_path / "best" / "selection.json").write_text('{"step": 250}')
    found = summarize(tmp_path, load_recipe("smoke", ["train.steps=1000"]).resolve(1), IMAGES)
    assert (found.weights, found.weights_step) == ("last", 1000), "step 250 was not validated"


def test_few_pairs_and_another_step_in_best_are_said(tmp_path):
    lines = [(0, "val_bicubic", {"psnr_rgb": 25.0, "images": 2}), *paired(25.9, step=500), *paired(25.5)]
    text = format_summary(make_summary(tmp_path, *lines, kept=1000), tmp_path)
    assert "best score    step 500, 25.90 dB; not kept, restore" in text
    (tmp_path / "best" / "selection.json").write_text('{"step": 250}')
    found = replace(summarize(tmp_path, load_recipe("smoke", ["train.steps=1000"]).resolve(1), IMAGES), images=2)
    text = format_summary(found, tmp_path)
    assert "not kept, best/ is step 250 (score without pairs), restore" in text
    assert "2 validation pairs, too few for a sure verdict" in text


def test_a_run_folder_is_taken_as_its_best_step_where_that_is_better(tmp_path, caplog):
    heads = {"head": 4, "best/head": 8}
    for name, number in heads.items():
        task = tasks.build({"type": "sr", "scale": 2, "head": {"type": "vdsr", "depth": 3, "width": number}})
        task.save_pretrained(tmp_path / name)
    caplog.set_level("INFO", logger="unpairaug")

    def width(model: Path) -> int:
        return Task.from_pretrained(model).config["head"]["width"]

    assert width(tmp_path) == 4, "a run in progress"
    for weights, expected in (("last", 4), ("best", 8)):
        (tmp_path / "summary.json").write_text(json.dumps({"weights": weights, "weights_step": 50}))
        assert width(tmp_path) == expected and width(tmp_path / "head") == 4 and width(tmp_path / "best") == 8
    assert "taking step 50 from best/" in caplog.text
    modes = {path.stat().st_mode for path in tmp_path.rglob("*") if path.is_file()}
    assert len(modes) == 1, "all files are saved with the umask"


def test_without_pairs_the_worse_of_head_and_translator_decides(tmp_path):
    head = {"head": 30.0, "head_baseline": 28.0, "head_gain": 2.0, "head_gain_error": 0.2}
    good = {"translator": 1.0, "translator_baseline": 3.0, "translator_gain": 2.0, "translator_gain_error": 0.5}
    bad = {**good, "translator_gain": -2.0}
    found = make_summary(tmp_path, (1000, "unpaired", {**head, **good}), (1000, "selection", {"score": 1.0}))
    assert found.status == "above" and found.metric == "psnr_rgb_translated" and found.values()["value"] == 30.0
    assert found.message.startswith("on real photographs the result is not measured")
    assert "real images   NOT MEASURED: look at samples/" in format_summary(found, tmp_path)
    found = make_summary(tmp_path, (1000, "unpaired", {**head, **bad}))
    assert found.status == "below" and "do not use this translator" in (format_warning(found) or "")
    found = make_summary(tmp_path)
    assert found.status == "not_measured" and "no validation pairs" in (format_warning(found) or "")


def test_at_scale_1_the_baseline_is_the_input(tmp_path):
    lines = (0, "val_input", {"psnr_rgb": 30.0}), (1000, "val", {"psnr_rgb": 27.45})
    found = make_summary(tmp_path, *lines, **{"task": "{type: denoise}"})
    text = format_summary(found, tmp_path) + (format_warning(found) or "")
    assert found.baseline_name == "input" and "2.55 dB below its input" in text and "bicubic" not in text


def test_the_reasons_are_facts_of_the_run(tmp_path):
    (tmp_path / "log.txt").write_text("2026-01-01 00:00:00 warning: colour drift: the translator shifts colours\n")
    last = {"psnr_rgb": 24.0, "psnr_rgb_shift10": 26.0}
    found = make_summary(tmp_path, *paired(25.5, step=500), *paired(24.0), (1000, "val", last))
    reasons = " ".join(found.reasons)
    for words in ("“colour drift”", "best at step 500 (25.50 dB) and fell to 24.00", "not on one pixel grid"):
        assert words in reasons
    assert "The run has" not in reasons and "images" not in reasons.replace("the images are", "")


def test_below_ten_images_on_a_side_check_warns():
    found = [*format_few_images({"clean": 3, "degraded": 12, "val_clean": 30})]
    assert [line.partition(":")[0] for line in found] == ["warning", "note"] and "data.clean has only 3" in found[0]


def test_the_gain_is_that_of_each_image_over_its_own_baseline():
    assert paired_gain([31.0, 22.0], [30.0, 20.0]) == {"psnr_rgb": 1.5, "standard_error": 0.5}
    assert paired_gain([31.0], [30.0]) == {"psnr_rgb": 1.0}
    assert paired_gain([float("inf")], [30.0]) == {}


def test_the_unpaired_gain_tells_a_translator_that_adds_the_right_grain_from_one_that_adds_none():
    right, none = (measure_unpaired_gain(make_selection(grain)) for grain in (10.0, 0.0))
    assert right["translator_gain"] > 10 * right["translator_gain_error"] > 0
    assert abs(none["translator_gain"]) <= 2 * none["translator_gain_error"] + 0.1
    assert right["head_gain"] == pytest.approx(0, abs=1e-3), "the head is plain enlargement"
    assert measure_unpaired_gain(make_selection(10.0, tint=8.0))["head_gain"] < 0


def test_a_run_below_its_baseline_says_so_at_its_end_and_when_it_is_started_again(tmp_path):
    options = ["smoke", CYCLEGAN, "train.steps=4", "schedule={}", "optimizer.head.lr=0.1", "train.ema=0"]
    for start in ("completed 4 of 4 steps\n", "completed 4 of 4 steps already"):
        rate = "optimizer.head.lr=0.05" if "already" in start else "output_dir=run"
        done = run(*options, "output_dir=run", rate, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert start in done.stdout and "below bicubic interpolation: do not use this model" in done.stdout
        assert "The run has 4 steps" in done.stdout and "unpairaug docs below-baseline" in done.stdout
        values = json.loads((tmp_path / "run" / "summary.json").read_text())
        assert values["status"] == "below" and values["difference"] < 0 and values["images"] == 2
        assert "warning: the result is" in (tmp_path / "run" / "log.txt").read_text()
        (tmp_path / "run" / "summary.json").unlink()
    assert "not applied, as no step is left: optimizer.head.lr: 0.1 → 0.05" in done.stdout + done.stderr
    assert torch.isfinite(torch.tensor(values["standard_error"]))
