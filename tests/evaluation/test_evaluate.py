"""Evaluation: pairs by stem, the conventions of the metrics, one result whatever the number of processes."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from accelerate import PartialState, debug_launcher
from PIL import Image
from skimage.data import astronaut
from torch import Tensor, nn
from typer.testing import CliRunner

from unpairaug.commands.evaluate import evaluate as evaluate_command
from unpairaug.data.images import FolderImages, write_image
from unpairaug.data.pairs import ValidationPairs
from unpairaug.errors import UserError
from unpairaug.evaluation.comparison_sheet import REACH, difference_map
from unpairaug.evaluation.evaluate import evaluate, measure_pairs
from unpairaug.evaluation.metrics import METRICS, measure
from unpairaug.evaluation.results import format_table, write_json, write_markdown
from unpairaug.registry import heads, register_head, register_task, tasks
from unpairaug.restoring.restore import Bicubic, restore_image
from unpairaug.task import Task

app = typer.Typer()
app.command()(evaluate_command)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    """A folder of three degraded images, every second pixel of their ground truth, and the folder of that."""
    for name, top in (("eye", 80), ("flag", 10), ("suit", 300)):
        clean = astronaut()[top : top + 48, 200:256]
        write_image(tmp_path / "clean" / f"{name}.png", clean)
        write_image(tmp_path / "degraded" / f"{name}.png", clean[::2, ::2].copy())
    return str(tmp_path / "degraded"), str(tmp_path / "clean")


def pairs_of(folders: tuple[str, str], scale: int = 2) -> ValidationPairs:
    degraded, clean = folders
    return ValidationPairs(FolderImages(clean), FolderImages(degraded), scale)


def measure_on_a_rank(folders: tuple[str, str], out: str) -> None:
    """Write what this process got, results or refusal, into a file of its own."""
    PartialState._reset_state()  # the fork has inherited what earlier tests found: a single process
    try:
        got = json.dumps(measure_pairs(Bicubic(2), pairs_of(folders)))
    except UserError as error:
        got = str(error)
    Path(out, f"rank_{PartialState().process_index}").write_text(got)


def on_two_processes(folders: tuple[str, str], out: Path) -> list[str]:
    debug_launcher(measure_on_a_rank, (folders, str(out)), num_processes=2)
    return [(out / f"rank_{rank}").read_text() for rank in range(2)]


def test_bicubic_finds_its_scale_and_measures_what_one_would_by_hand(folders: tuple[str, str]):
    results = evaluate("bicubic", *folders)
    by_hand = {
        pair.name: measure(restore_image(Bicubic(2), pair.degraded), pair.clean, border=2) for pair in pairs_of(folders)
    }
    assert results["images"] == by_hand
    assert list(by_hand) == ["eye", "flag", "suit"]
    for metric in METRICS:
        assert results[metric] == pytest.approx(np.mean([image[metric] for image in by_hand.values()]))
    facts = {key: results[key] for key in ("model", "scale", "border", "count")}
    assert facts == {"model": "bicubic", "scale": 2, "border": 2, "count": 3}


def test_at_scale_one_bicubic_is_the_degraded_image_and_no_border_is_left_out(folders: tuple[str, str]):
    _, clean = folders
    results = evaluate("bicubic", clean, clean)
    assert (results["scale"], results["border"]) == (1, 0)
    assert results["psnr_rgb"] == results["psnr_rgb_shift10"] == np.inf
    assert results["ssim_y"] == pytest.approx(1)


def test_border_and_tile_can_be_chosen(folders: tuple[str, str]):
    whole, bordered, tiled = (evaluate("bicubic", *folders, **how) for how in ({}, {"border": 0}, {"tile": 16}))
    assert bordered["border"] == 0
    assert bordered["psnr_rgb"] != whole["psnr_rgb"]
    assert tiled["psnr_rgb"] == pytest.approx(whole["psnr_rgb"], abs=0.05)


def test_the_sample_is_measured_without_any_folder():
    results = evaluate("bicubic", "sample", "sample")
    assert results["scale"] == 2
    assert 15 < results["psnr_rgb"] < 45


def test_a_trained_model_is_measured_from_its_run_folder(folders: tuple[str, str], tmp_path: Path):
    register_head("enlarging_toy")(Enlarge)
    register_task("enlarging_toy_task")(ToyTask)
    try:
        tasks.build({"type": "enlarging_toy_task"}).save_pretrained(tmp_path / "run" / "head")
        results = [evaluate(str(tmp_path / "run" / part), *folders) for part in ("", "head")]
        with pytest.raises(UserError, match="trained for scale 2"):
            evaluate(str(tmp_path / "run"), *folders, scale=3)
    finally:
        tasks._classes.pop("enlarging_toy_task"), heads._classes.pop("enlarging_toy")
    assert results[0]["images"] == results[1]["images"]
    # The toy enlarges by repeating pixels, and the degraded images hold every second pixel of the clean ones.
    assert 10 < results[0]["psnr_rgb"] < 50


class Enlarge(nn.Module):
    """Each pixel repeated, times a weight."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.enlarge = nn.Upsample(scale_factor=scale, mode="nearest")
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, degraded: Tensor) -> Tensor:
        return self.gain * self.enlarge(degraded)


class ToyTask(Task):
    def __init__(self, scale: int = 2) -> None:
        super().__init__(scale, {"type": "enlarging_toy"})


def test_sizes_that_contradict_the_scale_are_refused_with_the_file(folders: tuple[str, str]):
    degraded, clean = folders
    write_image(Path(clean) / "suit.png", np.zeros((72, 84, 3), np.uint8))
    with pytest.raises(UserError, match=r"suit\.png.*scale of 3") as refused:
        evaluate("bicubic", degraded, clean)
    assert "flag" not in str(refused.value)


def test_every_image_that_cannot_be_measured_is_named_at_once(folders: tuple[str, str]):
    degraded, clean = folders
    (Path(degraded) / "eye.png").write_bytes(b"no image")
    for folder, side in ((degraded, 8), (clean, 16)):
        write_image(Path(folder) / "tiny.png", np.zeros((side, side, 3), np.uint8))
    with pytest.raises(UserError, match=r"(?s)eye\.png.*tiny: .*too small to measure"):
        measure_pairs(Bicubic(2), pairs_of(folders))


def test_the_names_of_div2k_are_understood(folders: tuple[str, str]):
    named = {pair.name: pair.degraded for pair in pairs_of(folders)}
    for name, degraded in named.items():
        Path(folders[0], f"{name}.png").unlink()
        write_image(Path(folders[0]) / f"{name}x2.png", degraded)
    assert list(evaluate("bicubic", *folders)["images"]) == list(named)


def test_images_without_a_partner_are_refused(folders: tuple[str, str], tmp_path: Path):
    write_image(tmp_path / "others" / "moon.png", np.zeros((24, 28, 3), np.uint8))
    with pytest.raises(UserError, match="no partner"):
        evaluate("bicubic", str(tmp_path / "others"), folders[1])


def test_two_processes_share_the_images_and_both_get_what_one_gets(folders: tuple[str, str], tmp_path: Path):
    alone = json.dumps(measure_pairs(Bicubic(2), pairs_of(folders)))
    assert on_two_processes(folders, tmp_path) == [alone, alone]


def test_a_bad_image_stops_every_process_and_leaves_none_waiting(folders: tuple[str, str], tmp_path: Path):
    (Path(folders[0]) / "flag.png").write_bytes(b"no image")
    assert all("flag.png: this image cannot be read" in got for got in on_two_processes(folders, tmp_path))


def test_the_command_prints_a_line_for_each_image_and_writes_the_same_as_json(folders: tuple[str, str], tmp_path: Path):
    degraded, clean = folders
    file = tmp_path / "results" / "bicubic.json"
    arguments = ["bicubic", "--degraded", degraded, "--clean", clean, "--json", str(file)]
    result = CliRunner().invoke(app, [*arguments, "--shift"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["image", *METRICS]
    without = CliRunner().invoke(app, arguments).stdout.splitlines()
    assert without[0].split() == ["image", *(metric for metric in METRICS if metric != "psnr_rgb_shift10")]
    assert [line.split()[0] for line in lines[1:5]] == ["eye", "flag", "suit", "mean"]
    assert lines[5] == "bicubic: scale 2, border 2 px, 3 images"
    written = json.loads(file.read_text())
    assert f"{written['psnr_rgb']:.2f}" in lines[4]
    assert list(written) == [*METRICS, "model", "scale", "border", "count", "images"]
    assert [path.name for path in file.parent.iterdir()] == ["bicubic.json"]


def test_infinite_values_are_numbers_that_every_json_reader_takes(tmp_path: Path):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    results = {
        "psnr_rgb": np.inf,
        "images": {'odd ": Infinity': {"psnr_rgb": np.inf, "ssim_y": 1.0}},
        "model": "Infinity",
    }
    write_json(results, tmp_path / "equal.json")
    assert json.loads((tmp_path / "equal.json").read_text(), parse_constant=refuse) == results


def test_the_table_holds_infinite_values(folders: tuple[str, str]):
    assert format_table(evaluate("bicubic", folders[1], folders[1])).splitlines()[-2].split()[:2] == ["mean", "inf"]


@pytest.fixture
def restored(folders: tuple[str, str], tmp_path: Path) -> Path:
    """A folder of images that were restored beforehand, by bicubic enlargement."""
    for pair in pairs_of(folders):
        write_image(tmp_path / "restored" / f"{pair.name}.png", restore_image(Bicubic(2), pair.degraded))
    return tmp_path / "restored"


def test_images_that_are_restored_already_are_measured_as_what_a_model_makes(folders: tuple[str, str], restored: Path):
    found, by_model = evaluate(str(restored), *folders), evaluate("bicubic", *folders)
    assert found == {**by_model, "model": str(restored)}
    (restored / "eye.png").rename(restored / "eyex2.png")
    assert evaluate(str(restored), *folders)["images"] == by_model["images"]


def test_restored_images_without_a_partner_are_named_on_both_sides_and_counted(
    folders: tuple[str, str], restored: Path
):
    (restored / "eye.png").rename(restored / "moon.png")
    with pytest.raises(
        UserError, match=r"holds 3 restored images.* 3 pairs: .* for eye; no ground truth for .*moon\.png"
    ):
        evaluate(str(restored), *folders)
    (restored / "moon.png").unlink()
    with pytest.raises(UserError, match=r"holds 2 restored images for 3 pairs: .* for eye;"):
        evaluate(str(restored), *folders)


def test_a_restored_image_of_another_size_is_named(folders: tuple[str, str], restored: Path):
    write_image(restored / "flag.png", np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(UserError, match="flag: the restored image is 40 x 40"):
        evaluate(str(restored), *folders)


def test_the_pictures_of_a_run_that_has_no_head_yet_are_not_taken_for_results(folders: tuple[str, str], tmp_path: Path):
    write_image(tmp_path / "run" / "samples" / "step_000010.png", np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "run" / "recipe.yaml").touch()
    with pytest.raises(UserError, match="neither a run folder with a finished head"):
        evaluate(str(tmp_path / "run"), *folders)


def test_sheets_hold_the_enlarged_the_restored_and_the_clean_image_and_where_they_differ(
    folders: tuple[str, str], restored: Path, tmp_path: Path
):
    clean = {pair.name: pair.clean for pair in pairs_of(folders)}
    write_image(restored / "eye.png", clean["eye"])
    results = evaluate(str(restored), *folders, sheets=tmp_path / "sheets")
    assert sorted(path.stem for path in (tmp_path / "sheets").iterdir()) == sorted(results["images"])
    height, width = clean["eye"].shape[:2]
    columns = [panels_of(tmp_path / "sheets" / f"{name}.png", height, width) for name in ("eye", "flag")]
    for (before, after, ground_truth, difference), name in zip(columns, ("eye", "flag"), strict=True):
        assert np.array_equal(ground_truth, clean[name])
        assert np.array_equal(after, FolderImages(restored)[["eye", "flag"].index(name)])
        assert np.array_equal(before, restore_image(Bicubic(2), clean[name][::2, ::2].copy()))
        assert (difference.max() < 10) == (name == "eye")  # equal images leave the map dark


def panels_of(sheet: Path, height: int, width: int) -> list[np.ndarray]:
    """The four panels of a sheet, found below their lines by the white that parts them."""
    body = np.asarray(Image.open(sheet).convert("RGB"))[-height:]
    drawn = np.flatnonzero((body != 255).any((0, 2)))
    starts = [drawn[0], *(right for left, right in pairwise(drawn) if right - left > 4)]
    assert len(starts) == 4
    return [body[:, start : start + width] for start in starts]


def test_the_difference_is_told_by_brightness_up_to_its_reach():
    clean = np.full((4, 3, 3), 100, np.uint8)
    steps = np.array([0, 8, 16, REACH, 100])
    maps = [difference_map(clean + np.uint8(step), clean).astype(int).sum() for step in steps]
    assert maps[0] < maps[1] < maps[2] < maps[3] == maps[4]


def test_the_table_in_markdown_holds_what_the_printed_one_does(folders: tuple[str, str], tmp_path: Path):
    results = evaluate("bicubic", *folders)
    results["images"]["a|b"] = results["images"].pop("eye")
    write_markdown(results, tmp_path / "new" / "table.md")
    written = (tmp_path / "new" / "table.md").read_text().splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in written[:-2]]
    printed = [line.split() for line in format_table(results).splitlines()[:-1]]
    assert [row for row in cells if set(row[0]) != {"-"}] == [[p.replace("|", r"\|") for p in row] for row in printed]
    assert written[-1] == format_table(results).splitlines()[-1]


def test_the_command_leaves_the_table_and_the_sheets_where_it_is_told(folders: tuple[str, str], tmp_path: Path):
    wanted = ["--markdown", str(tmp_path / "table.md"), "--sheets", str(tmp_path / "sheets")]
    result = CliRunner().invoke(app, ["bicubic", "--degraded", folders[0], "--clean", folders[1], *wanted])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "table.md").read_text().startswith("| image |")
    assert len(list((tmp_path / "sheets").iterdir())) == 3
