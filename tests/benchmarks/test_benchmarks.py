"""Published data sets by stand-ins of their layout: no scene on both sides, true pairs, a recipe that trains."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import typer
from PIL import Image
from scipy.io import savemat
from typer.testing import CliRunner

from unpairaug.benchmarks.arrange import BENCHMARKS, FOLDERS
from unpairaug.commands.arrange import arrange
from unpairaug.commands.check import check
from unpairaug.commands.prepare import prepare
from unpairaug.data.images import FolderImages
from unpairaug.data.pairs import match_pairs, read_pair
from unpairaug.errors import UserError
from unpairaug.recipe import load_recipe

STEP = 8
"""Grey levels from one scene to the next, in the corner by which a stand-in tells its scene."""


def photograph(scene: int, side: int) -> np.ndarray:
    """(side, side, 3) pixels of noise that tell their scene by the brightness of the upper left quarter."""
    image = np.random.default_rng(scene).integers(0, 256, (side, side, 3), np.uint8)
    image[: side // 4, : side // 4] = STEP * scene
    return image


def scene_of(image: np.ndarray) -> int:
    """The scene, also after JPEG."""
    return round(float(image[: len(image) // 8, : len(image) // 8].mean()) / STEP)


def put(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=95)


def div2k(root: Path, degraded: str, suffix: str) -> None:
    parts = {"train": {"0001": 1, "0002": 2, "0400": 3, "0401": 4, "0800": 5}, "valid": {"0801": 6, "0802": 7}}
    for part, names in parts.items():
        for name, scene in names.items():
            put(root / f"DIV2K_{part}_HR/{name}.png", photograph(scene, 96))
            put(root / f"DIV2K_{part}_{degraded}/{name}{suffix}.png", photograph(scene, 24))


def realsr(root: Path, scale: int = 4) -> None:
    for part, scenes in (("Train", (9, 10, 11, 12, 13)), ("Test", (1, 2))):
        for scene in scenes:
            folder = root / part / str(scale)
            put(folder / f"Canon_{scene:03}_HR.png", photograph(scene, 96))
            put(folder / f"Canon_{scene:03}_LR{scale}.png", photograph(scene, 96 // scale))


def dped(root: Path) -> None:
    for part, numbers in (("training_data", (2, 9, 10, 11)), ("test_data/patches", (0, 1))):  # 9 comes before 10
        for number in numbers:
            for camera in ("canon", "iphone"):
                put(root / part / camera / f"{number}.jpg", photograph(number, 100))


def sidd(root: Path) -> None:
    for shot, scene in ((1, 3), (2, 1), (3, 2), (4, 1), (5, 4)):
        for number in ("010", "011"):
            folder = root / "Data" / f"{shot:04}_{scene:03}_S6_00100_00060_3200_L"
            before = f"{shot:04}_" if shot < 5 else ""  # editions differ
            put(folder / f"{before}GT_SRGB_{number}.PNG", photograph(scene, 64))
            put(folder / f"{before}NOISY_SRGB_{number}.PNG", photograph(scene, 64))
    for name in ("ValidationGtBlocksSrgb", "ValidationNoisyBlocksSrgb"):
        blocks = [[photograph(scene, 32) for scene in row] for row in ((5, 6, 7), (8, 9, 10))]
        savemat(root / f"{name}.mat", {name: np.array(blocks)})


class StandIn(NamedTuple):
    """A benchmark at toy size."""

    build: Callable[[Path], None]
    clean: set[int]
    """Scenes of its two sides."""
    degraded: set[int]
    expected: str
    """A file that the message about another layout names."""
    overrides: list[str]
    """Of the recipe, so that two steps take no time."""


SMALL = ["translator.width=4", "translator.depth=2", "data.batch_size=1", "data.num_workers=0", "train.steps=2"]
TEXTURE = ["translator.discriminator.ndf=4", "data.crop=64"]
EDSR = ["task.head.n_blocks=1", "task.head.width=4"]
NAFNET = "task.head={type: spandrel, arch: NAFNet, width: 4, enc_blk_nums: [1], middle_blk_num: 1, dec_blk_nums: [1]}"
STAND_INS = {
    "ntire2017_track2": StandIn(
        lambda root: div2k(root, "LR_unknown/X4", "x4"),
        {1, 2, 3},
        {4, 5},
        "DIV2K_train_LR_unknown/X4/0001x4.png",
        [*SMALL, *TEXTURE, *EDSR],
    ),
    "ntire2018_track2": StandIn(
        lambda root: div2k(root, "LR_mild", "x4m"),
        {4, 5},
        {1, 2, 3},
        "DIV2K_train_LR_mild/0001x4m.png",
        [*SMALL, *TEXTURE, *EDSR],
    ),
    "realsr": StandIn(
        realsr, {9, 10}, {11, 12, 13}, "Train/4/Canon_001_HR.png, Canon_001_LR4.png", [*SMALL, *TEXTURE, *EDSR]
    ),
    "dped": StandIn(
        dped, {2, 9}, {10, 11}, "training_data/canon/0.jpg", [*SMALL, "translator.discriminator.ndf=4", NAFNET]
    ),
    "sidd": StandIn(
        sidd,
        {1, 2},
        {3, 4},
        "ValidationGtBlocksSrgb.mat",
        [*SMALL, *TEXTURE, "task.head.depth=3", "task.head.width=4"],
    ),
}
every = pytest.mark.parametrize("name", STAND_INS)


app = typer.Typer()
for command in (arrange, prepare, check):
    app.command(command.__name__)(command)


def unpairaug(*words: object) -> tuple[int, str]:
    """The program: words in; exit code, and what it printed or the message of the mistake, out."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(result.exception, UserError):
        return 2, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def source(name: str, tmp_path: Path) -> Path:
    """A stand-in of the data set, as its authors distribute it."""
    folder = tmp_path / "downloaded"
    STAND_INS[name].build(folder)
    return folder


def scenes(folder: Path) -> set[int]:
    images = FolderImages(str(folder))
    return {scene_of(images[i]) for i in range(len(images))}


def tree(folder: Path) -> dict[str, tuple[bool, bytes]]:
    """Every file: whether it is a link, and its bytes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): (path.is_symlink(), path.read_bytes()) for path in files}


def same_scenes(clean: Path, degraded: Path, scale: int) -> int:
    """See that two folders hold true pairs; how many."""
    sides = FolderImages(str(clean)), FolderImages(str(degraded))
    pairs = [read_pair(*sides, at, scale) for at in match_pairs(*sides, scale)]
    assert all(scene_of(pair.clean) == scene_of(pair.degraded) for pair in pairs)
    return len(pairs)


def test_every_benchmark_has_a_stand_in_and_a_recipe_of_its_name():
    assert STAND_INS.keys() == BENCHMARKS.keys()
    for name, benchmark in BENCHMARKS.items():
        assert load_recipe(name).task.get("scale", 1) == benchmark.scales[0]


@every
def test_no_scene_is_on_both_sides_and_all_that_should_be_pairs_are(name: str, source: Path, tmp_path: Path):
    code, said = unpairaug("arrange", name, source, tmp_path / "out")
    assert code == 0, said
    clean, degraded, val_clean, val_degraded, ceiling = (tmp_path / "out" / folder for folder in FOLDERS)
    assert (scenes(clean), scenes(degraded)) == (STAND_INS[name].clean, STAND_INS[name].degraded)
    scale = BENCHMARKS[name].scales[0]
    assert same_scenes(ceiling, degraded, scale) == len(list(degraded.iterdir()))
    assert same_scenes(val_clean, val_degraded, scale) == (6 if name == "sidd" else 2)
    assert not scenes(val_clean) & (scenes(clean) | scenes(degraded))


@every
def test_what_it_prints_cuts_and_trains(name: str, source: Path, tmp_path: Path):
    code, said = unpairaug("arrange", name, source, tmp_path / "out")
    *cutting, training = [line for line in said.splitlines() if line.startswith(("unpairaug", "accelerate"))]
    for line in cutting:
        code, said = unpairaug(*shlex.split(line)[1:], "--workers", "1")
        assert code == 0, said
    recipe, *overrides = training.removeprefix("accelerate launch -m unpairaug.run ").split()
    code, said = unpairaug("check", recipe, *overrides, *STAND_INS[name].overrides)
    assert code == 0, said
    assert "losses finite" in said
    assert "are in both the clean and the degraded images" not in said
    data = load_recipe(recipe, overrides).data
    assert same_scenes(Path(data.ceiling_clean), Path(data.degraded), BENCHMARKS[name].scales[0]) > 1


@every
def test_given_again_it_changes_nothing_and_what_was_stopped_goes_on(name, source: Path, tmp_path: Path):
    out = tmp_path / "out"
    unpairaug("arrange", name, source, out)
    whole = tree(out)
    code, said = unpairaug("arrange", name, source, out)
    assert code == 0 and "nothing to do" in said
    assert tree(out) == whole
    next((out / "degraded").iterdir()).unlink()
    shutil.rmtree(out / "val_clean")
    assert unpairaug("arrange", name, source, out)[0] == 0
    assert tree(out) == whole


@every
def test_another_layout_is_told_with_the_one_that_was_expected(name: str, tmp_path: Path):
    (tmp_path / "downloaded" / "photographs").mkdir(parents=True)
    code, said = unpairaug("arrange", name, tmp_path / "downloaded", tmp_path / "out")
    assert code == 2
    assert STAND_INS[name].expected in said
    assert not (tmp_path / "out").exists()


@every
def test_a_half_that_was_not_downloaded_is_named(name: str, source: Path, tmp_path: Path):
    gone = next(path for path in sorted(source.rglob("*")) if path.is_file() and path.suffix != ".mat")
    gone.unlink()
    code, said = unpairaug("arrange", name, source, tmp_path / "out")
    assert code == 2
    assert "no partner" in said or "no file" in said


@every
def test_a_folder_that_holds_something_else_is_refused_and_left_alone(name, source: Path, tmp_path: Path):
    out = tmp_path / "out"
    unpairaug("arrange", name, source, out)
    (out / "clean" / "mine.png").write_bytes(b"")
    before = tree(out)
    code, said = unpairaug("arrange", name, source, out)
    assert code == 2 and "mine.png" in said
    assert tree(out) == before


@pytest.mark.parametrize("name", ["realsr"])
def test_versions_of_realsr_with_enlarged_images_are_refused(name: str, source: Path, tmp_path: Path):
    for path in source.rglob("*_LR4.png"):
        put(path, photograph(1, 96))
    code, said = unpairaug("arrange", name, source, tmp_path / "out")
    assert code == 2 and "imply a scale of 1" in said


@pytest.mark.parametrize("name", ["realsr"])
def test_another_scale_of_a_benchmark_is_in_what_it_prints(name: str, source: Path, tmp_path: Path):
    realsr(source, scale=2)
    code, said = unpairaug("arrange", name, source, tmp_path / "out", "--scale", 2)
    assert code == 0 and "task.scale=2" in said and "--scale 2" in said
    assert same_scenes(tmp_path / "out/ceiling_clean", tmp_path / "out/degraded", 2) == 3
    code, said = unpairaug("arrange", name, source, tmp_path / "out", "--scale", 8)
    assert code == 2 and "2 or 3 or 4" in said


def test_a_benchmark_that_is_not_there_is_answered_with_the_nearest(tmp_path: Path):
    code, said = unpairaug("arrange", "ntire2018", tmp_path, tmp_path / "out")
    assert code == 2 and "'ntire2018_track2'" in said


@pytest.mark.parametrize("name", ["sidd"])
def test_validation_blocks_of_another_kind_are_refused(name: str, source: Path, tmp_path: Path):
    path = source / "ValidationNoisyBlocksSrgb.mat"
    savemat(path, {"BenchmarkNoisyBlocksSrgb": np.zeros((2, 3, 32, 32, 3), np.uint8)})
    code, said = unpairaug("arrange", name, source, tmp_path / "out")
    assert code == 2 and "nothing called ValidationNoisyBlocksSrgb" in said
    path.write_bytes(b"no MATLAB file, but long enough to be taken for the head of one " * 4)
    code, said = unpairaug("arrange", name, source, tmp_path / "out")
    assert code == 2 and path.name in said
