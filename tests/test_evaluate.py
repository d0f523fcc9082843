"""Evaluation: pairs by stem, the conventions of the metrics, one result whatever the number of processes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from accelerate import PartialState, debug_launcher
from skimage.data import astronaut
from torch import Tensor, nn
from typer.testing import CliRunner

from unpairaug.commands.evaluate import evaluate as evaluate_command
from unpairaug.data.images import FolderImages, write_image
from unpairaug.data.pairs import ValidationPairs
from unpairaug.errors import UserError
from unpairaug.evaluate import evaluate, measure_pairs, table, write_json
from unpairaug.metrics import METRICS, measure
from unpairaug.registry import heads, register_head, register_task, tasks
from unpairaug.restore import Bicubic, restore_image
from unpairaug.task import Task

app = typer.Typer()
app.command()(evaluate_command)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    """A folder of three degraded images, every second pixel of their clean twins, and the folder of those."""
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


def test_images_without_a_twin_are_refused(folders: tuple[str, str], tmp_path: Path):
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
    result = CliRunner().invoke(app, ["bicubic", "--degraded", degraded, "--clean", clean, "--json", str(file)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["image", *METRICS]
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
    assert table(evaluate("bicubic", folders[1], folders[1])).splitlines()[-2].split()[:2] == ["mean", "inf"]
