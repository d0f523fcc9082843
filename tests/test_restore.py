"""Restoring: tiles equal the whole image, any size works, the model and the user's files are left as they were."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from skimage.data import astronaut
from torch import Tensor, nn
from typer.testing import CliRunner

from unpairaug.commands.restore import restore
from unpairaug.data.images import read_image, write_image
from unpairaug.errors import UserError
from unpairaug.restore import Bicubic, load_model, outputs_of, receptive_margin, restore_files, restore_image

app = typer.Typer()
app.command()(restore)


class Toy(nn.Module):
    """A stack of 3x3 convolutions with a batch norm, then a pixel shuffle: sees `depth` pixels each way."""

    def __init__(self, scale: int = 2, depth: int = 6) -> None:
        super().__init__()
        self.scale = scale
        layers = [layer for _ in range(depth - 1) for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))]
        self.body = nn.Sequential(*layers, nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        self.seen: list[tuple[int, ...]] = []

    def forward(self, degraded: Tensor) -> Tensor:
        self.seen.append(tuple(degraded.shape[-2:]))
        return self.body(degraded) + 0.5


@pytest.fixture
def toy() -> Toy:
    torch.manual_seed(0)
    toy = Toy()
    for layer in toy.body:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0, 0.5)  # lively enough for a missing margin to show
    return toy.eval()


@pytest.fixture
def photograph() -> np.ndarray:
    return astronaut()[40:115, 180:233].copy()


def steps_apart(first: np.ndarray, second: np.ndarray) -> int:
    """The largest difference in 8-bit steps."""
    return int(np.abs(first.astype(int) - second.astype(int)).max())


@pytest.mark.parametrize("tile", [7, 16, 52, 53, 1000])
def test_tiled_equals_whole_where_the_margin_covers_what_the_head_sees(toy: Toy, photograph: np.ndarray, tile: int):
    toy.receptive_margin = 6
    assert steps_apart(restore_image(toy, photograph, tile), restore_image(toy, photograph)) <= 1


def test_without_a_margin_the_seams_would_show(toy: Toy, photograph: np.ndarray):
    toy.receptive_margin = 0
    assert steps_apart(restore_image(toy, photograph, 16), restore_image(toy, photograph)) > 1


def test_the_head_is_never_given_more_than_a_tile_and_its_margin(toy: Toy, photograph: np.ndarray):
    toy.receptive_margin = 6
    restore_image(toy, photograph, 16)
    assert max(max(shape) for shape in toy.seen) == 16 + 2 * 6


def test_the_margin_is_the_heads_own_or_one_that_covers_twenty_layers(toy: Toy):
    assert receptive_margin(toy) >= 22
    toy.head = nn.Conv2d(3, 3, 1)
    toy.head.receptive_margin = 0
    assert receptive_margin(toy) == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 7)])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_any_size_comes_out_at_the_scale(size: tuple[int, int], scale: int):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    for task in (Toy(scale), Bicubic(scale)):
        restored = restore_image(task, image)
        assert restored.shape == (scale * size[0], scale * size[1], 3)
        assert restored.dtype == np.uint8


def test_values_are_rounded_and_held_within_eight_bits(photograph: np.ndarray):
    class Glaring(nn.Module):
        scale = 1

        def forward(self, degraded: Tensor) -> Tensor:
            return degraded * 3 - 1

    expected = np.clip(photograph.astype(int) * 3 - 255, 0, 255)
    assert steps_apart(restore_image(Glaring(), photograph), expected) == 0


def test_a_model_in_training_is_judged_in_evaluation_mode_and_goes_on_as_it_was(toy: Toy, photograph: np.ndarray):
    expected = restore_image(toy, photograph)
    toy.train()
    toy.body[1].eval()  # a frozen norm within a network in training
    modes, means = [module.training for module in toy.modules()], toy.body[3].running_mean.clone()
    assert steps_apart(restore_image(toy, photograph), expected) == 0
    assert [module.training for module in toy.modules()] == modes
    assert torch.equal(toy.body[3].running_mean, means)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_that_of_pillow(photograph: np.ndarray, scale: int):
    height, width = photograph.shape[:2]
    channels = [
        Image.fromarray(photograph[..., i].astype(np.float32)) for i in range(3)
    ]  # floats: rounded once, at the end
    enlarged = np.stack(
        [channel.resize((scale * width, scale * height), Image.Resampling.BICUBIC) for channel in channels], 2
    )
    assert steps_apart(restore_image(Bicubic(scale), photograph), np.clip(np.rint(enlarged), 0, 255)) <= 1


def test_bicubic_at_scale_one_is_the_image_itself(photograph: np.ndarray):
    assert steps_apart(restore_image(Bicubic(1), photograph), photograph) == 0


def test_bicubic_in_tiles_equals_bicubic(photograph: np.ndarray):
    assert steps_apart(restore_image(Bicubic(3), photograph, 10), restore_image(Bicubic(3), photograph)) <= 1


def test_bicubic_without_a_scale_and_a_model_that_is_not_there_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="--scale 2"):
        load_model("bicubic")
    with pytest.raises(UserError, match="scale 0"):
        load_model("bicubic", 0)
    with pytest.raises(UserError, match="nowhere"):
        load_model(str(tmp_path / "nowhere"))


def test_a_tile_that_is_no_size_is_refused(photograph: np.ndarray):
    with pytest.raises(UserError, match="tile 0 is not a size"):
        restore_image(Bicubic(2), photograph, 0)


def test_a_head_that_normalises_over_the_whole_image_is_not_cut_in_tiles(photograph: np.ndarray):
    toy = Toy()
    toy.body.append(nn.InstanceNorm2d(3))
    restore_image(toy, photograph, 75)  # one tile holds it all
    with pytest.raises(UserError, match="instance norm"):
        restore_image(toy, photograph, 74)


def test_a_head_that_makes_no_numbers_is_refused(toy: Toy, photograph: np.ndarray):
    nn.init.constant_(toy.body[0].weight, torch.nan)
    with pytest.raises(UserError, match="no numbers"):
        restore_image(toy, photograph)


@pytest.fixture
def album(tmp_path: Path, photograph: np.ndarray) -> Path:
    """A folder with one image in it and one in a folder below."""
    write_image(tmp_path / "album" / "a.png", photograph)
    (tmp_path / "album" / "trip").mkdir()
    Image.fromarray(photograph[:20]).save(tmp_path / "album" / "trip" / "b.jpg")
    return tmp_path / "album"


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_keeps_its_tree_and_becomes_png(album: Path, tmp_path: Path):
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["bicubic", str(album), str(out), "--scale", "2", "--tile", "16"])
    assert result.exit_code == 0, result.output
    assert tree(out) == ["a.png", "trip/b.png"]
    assert read_image(out / "a.png").shape == (150, 106, 3)
    assert "2/2 images" in result.stderr
    assert "images/s" in result.stderr


def test_a_single_image_goes_to_a_file_or_into_a_folder(album: Path, tmp_path: Path):
    image = album / "trip" / "b.jpg"
    assert outputs_of(image, tmp_path / "new.png") == {image: tmp_path / "new.png"}
    assert outputs_of(image, tmp_path / "new") == {image: tmp_path / "new" / "b.png"}
    (tmp_path / "version.2").mkdir()
    assert outputs_of(image, tmp_path / "version.2") == {image: tmp_path / "version.2" / "b.png"}


def test_an_input_image_is_never_overwritten(album: Path):
    for source, target in [
        (album, album),
        (album / "a.png", album),
        (album / "a.png", album / "trip" / ".." / "a.png"),
    ]:
        with pytest.raises(UserError, match="give another"):
            outputs_of(source, target)


def test_results_within_the_input_folder_are_not_restored_again(album: Path):
    once = outputs_of(album, album / "restored")
    for _ in restore_files(Bicubic(2), once):
        pass
    assert outputs_of(album, album / "restored") == once
    assert len(once) == 2
    shutil.rmtree(album / "trip")
    (album / "a.png").unlink()
    with pytest.raises(UserError, match="none to restore"):
        outputs_of(album, album / "restored")


def test_two_images_that_would_become_one_file_are_refused(album: Path, tmp_path: Path):
    Image.new("RGB", (8, 8)).save(album / "a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg.*a\.png.*both become"):
        outputs_of(album, tmp_path / "out")


def test_what_is_not_there_or_would_not_be_png_is_refused(album: Path, tmp_path: Path):
    with pytest.raises(UserError, match="no file or folder"):
        outputs_of(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(UserError, match=r"give .*new\.png"):
        outputs_of(album / "a.png", tmp_path / "new.jpg")
    with pytest.raises(UserError, match="give a folder"):
        outputs_of(album, album / "a.png")


def test_bad_files_are_all_named_in_one_message_and_the_others_restored(album: Path, tmp_path: Path):
    (album / "bad.png").write_bytes((album / "a.png").read_bytes()[:300])
    (album / "worse.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"(?s)2 of 4 images.*bad\.png.*worse\.jpg"):
        for _ in restore_files(Bicubic(2), outputs_of(album, tmp_path / "out")):
            pass
    assert tree(tmp_path / "out") == ["a.png", "trip/b.png"]
