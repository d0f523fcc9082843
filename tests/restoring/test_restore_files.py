"""Restoring files: whatever kind they are, results keep what they had, and the user's files are left as they were."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import typer
from PIL import Image
from PIL.ExifTags import Base
from skimage.data import astronaut
from torch import Tensor, nn
from typer.testing import CliRunner

from unpairaug.commands.restore import restore
from unpairaug.data.images import read_image, write_image
from unpairaug.data.photograph import Photograph, insert_chunks, read_photograph, write_photograph
from unpairaug.errors import UserError
from unpairaug.restoring.files import FileRestorer, collect_results, plan_outputs, restore_files
from unpairaug.restoring.restore import PIXELS_AT_ONCE, Bicubic, restore_image

app = typer.Typer()
app.command()(restore)


@pytest.fixture
def photograph() -> np.ndarray:
    return astronaut()[40:115, 180:233].copy()


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


def test_files_that_are_no_images_are_said_once(album: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (album / "IMG_1.HEIC").write_bytes(b"")
    plan_outputs(album, tmp_path / "out")
    assert [record.message for record in caplog.records if "skipped 1 .heic" in record.message] == caplog.messages[:1]
    assert len(caplog.messages) == 1


def test_a_single_image_goes_to_a_file_or_into_a_folder(album: Path, tmp_path: Path):
    image = album / "trip" / "b.jpg"
    assert plan_outputs(image, tmp_path / "new.png") == {image: tmp_path / "new.png"}
    assert plan_outputs(image, tmp_path / "new") == {image: tmp_path / "new" / "b.png"}
    (tmp_path / "version.2").mkdir()
    assert plan_outputs(image, tmp_path / "version.2") == {image: tmp_path / "version.2" / "b.png"}


def test_an_input_image_is_never_overwritten(album: Path):
    for source, target in [
        (album, album),
        (album / "a.png", album),
        (album / "a.png", album / "trip" / ".." / "a.png"),
    ]:
        with pytest.raises(UserError, match="give another"):
            plan_outputs(source, target)


def test_results_within_the_input_folder_are_not_restored_again(album: Path):
    once = plan_outputs(album, album / "restored")
    for _ in restore_files(Bicubic(2), once):
        pass
    assert plan_outputs(album, album / "restored") == once
    assert len(once) == 2
    shutil.rmtree(album / "trip")
    (album / "a.png").unlink()
    with pytest.raises(UserError, match="nothing to restore"):
        plan_outputs(album, album / "restored")


def test_two_images_that_would_become_one_file_are_refused(album: Path, tmp_path: Path):
    Image.new("RGB", (8, 8)).save(album / "a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg.*a\.png.*both become"):
        plan_outputs(album, tmp_path / "out")


def test_what_is_not_there_or_would_not_be_png_is_refused(album: Path, tmp_path: Path):
    with pytest.raises(UserError, match="no file or folder"):
        plan_outputs(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(UserError, match=r"give .*new\.png"):
        plan_outputs(album / "a.png", tmp_path / "new.jpg")
    with pytest.raises(UserError, match="give a folder"):
        plan_outputs(album, album / "a.png")


def test_bad_files_are_all_named_in_one_message_and_the_others_restored(album: Path, tmp_path: Path):
    (album / "bad.png").write_bytes((album / "a.png").read_bytes()[:300])
    (album / "worse.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"(?s)2 of 4 images.*bad\.png.*worse\.jpg"):
        for _ in restore_files(Bicubic(2), plan_outputs(album, tmp_path / "out")):
            pass
    assert tree(tmp_path / "out") == ["a.png", "trip/b.png"]


def run(*words: str | Path) -> None:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_16_bits_of_a_file_come_out_as_more_than_256_levels(photograph: np.ndarray, tmp_path: Path, kind: str):
    deep = photograph.astype(np.uint16) * 257
    if kind == "png":
        write_photograph(tmp_path / "deep.png", Photograph(deep))
    else:
        tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    run("bicubic", tmp_path / f"deep.{kind}", tmp_path / "out.png", "--scale", "2")
    restored = read_photograph(tmp_path / "out.png").pixels
    assert np.array_equal(restored, restore_image(Bicubic(2), deep))
    assert len(np.unique(restored)) > 10 * 256


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_alpha_is_enlarged_and_the_colours_below_it_restored_as_they_are(
    photograph: np.ndarray, tmp_path: Path, depth: type
):
    pixels = photograph.astype(depth) * depth(np.iinfo(depth).max // 255)
    alpha = pixels[..., 1]
    write_photograph(tmp_path / "in.png", Photograph(pixels, alpha))
    run("bicubic", tmp_path / "in.png", tmp_path / "out.png", "--scale", "2", "--tile", "16")
    found = read_photograph(tmp_path / "out.png")
    assert np.array_equal(found.pixels, restore_image(Bicubic(2), pixels, 16))
    assert found.alpha is not None and np.array_equal(found.alpha, restore_image(Bicubic(2), alpha))


def test_at_scale_one_alpha_and_grey_stay_to_the_bit(photograph: np.ndarray, tmp_path: Path):
    write_photograph(tmp_path / "in.png", Photograph(photograph[..., 0], photograph[..., 2]))
    run("bicubic", tmp_path / "in.png", tmp_path / "out.png", "--scale", "1")
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "LA"
        assert np.array_equal(image, photograph[..., [0, 2]])


def test_a_turned_photograph_comes_out_upright_with_its_exif_and_profile(photograph: np.ndarray, tmp_path: Path):
    exif = Image.Exif()
    exif[Base.Orientation], exif[Base.Model] = 6, "Toy"
    profile = bytes(16) + b"RGB " + bytes(108)
    Image.fromarray(photograph).save(tmp_path / "in.jpg", exif=exif, icc_profile=profile, dpi=(300, 300))
    run("bicubic", tmp_path / "in.jpg", tmp_path / "out", "--scale", "2")
    with Image.open(tmp_path / "out" / "in.png") as image:
        assert image.size == (2 * 75, 2 * 53)
        assert image.getexif()[Base.Orientation] == 1 and image.getexif()[Base.Model] == "Toy"
        assert image.info["icc_profile"] == profile
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.02)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "chunks",
    [
        [(b"cICP", bytes([12, 13, 0, 1]))],
        [(b"gAMA", (50000).to_bytes(4, "big"))],
        [
            (
                b"cHRM",
                b"".join(value.to_bytes(4, "big") for value in (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)),
            )
        ],
        [(b"sRGB", b"\0")],
    ],
    ids=lambda chunks: chunks[0][0].decode(),
)
def test_what_a_png_says_of_its_colours_is_kept(photograph: np.ndarray, tmp_path: Path, chunks: list, depth: type):
    pixels = photograph.astype(depth) * depth(np.iinfo(depth).max // 255)
    write_photograph(tmp_path / "in.png", Photograph(pixels))
    (tmp_path / "in.png").write_bytes(insert_chunks((tmp_path / "in.png").read_bytes(), chunks))
    run("bicubic", tmp_path / "in.png", tmp_path / "out.png", "--scale", "2")
    written = (tmp_path / "out.png").read_bytes()
    ((name, content),) = chunks
    assert written.count(name) == 1 and name + content in written
    assert written.index(name) < written.index(b"IDAT"), "where the specification wants it"
    assert np.array_equal(read_photograph(tmp_path / "out.png").pixels, restore_image(Bicubic(2), pixels))


def test_frames_of_a_video_keep_their_names_and_order(tmp_path: Path):
    for i in (10, 2, 1):
        write_image(tmp_path / "frames" / f"{i:06}.png", np.full((8, 8, 3), i, np.uint8))
    outputs = plan_outputs(tmp_path / "frames", tmp_path / "out")
    done = list(restore_files(Bicubic(1), outputs))
    assert [path.name for path in done] == ["000001.png", "000002.png", "000010.png"]
    assert [int(read_image(path)[0, 0, 0]) for path in done] == [1, 2, 10]


def test_self_ensemble_is_an_option_of_the_command(album: Path, tmp_path: Path):
    run("bicubic", album / "a.png", tmp_path / "out.png", "--scale", "2", "--self-ensemble")
    plain = restore_image(Bicubic(2), read_image(album / "a.png"))
    assert np.abs(read_image(tmp_path / "out.png").astype(int) - plain).max() <= 1


class Shift(nn.Module):
    """Adds a number and takes it away again, each in a convolution."""

    scale = 1

    def __init__(self, by: float) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(nn.Conv2d(3, 3, 1, groups=3) for _ in range(2)))
        for conv, sign in zip(self.convs, (1, -1), strict=True):
            nn.init.constant_(conv.weight, 1)  # type: ignore[arg-type]
            nn.init.constant_(conv.bias, sign * by)  # type: ignore[arg-type]

    def forward(self, degraded: Tensor) -> Tensor:
        return self.convs(degraded)


@pytest.mark.parametrize(("by", "warns"), [(0.1, False), (4.0, True)])
def test_bf16_warns_where_the_head_is_less_than_48_db_from_full_precision(album, tmp_path, caplog, by, warns):
    image, result = album / "a.png", tmp_path / "out.png"
    FileRestorer(Shift(by), mixed_precision="bf16")((image, result))
    difference = np.abs(read_image(image).astype(int) - read_image(result))
    assert 0 < difference.max() <= (8 if warns else 1)
    assert ["dB from full precision" in text for text in caplog.messages] == [True] * warns


class Recording(nn.Module):
    """Leaves images as they are, has memory for so many pixels, and remembers how many it was given each time."""

    scale = 1
    receptive_margin = 0

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels, self.seen = pixels, []

    def forward(self, degraded: Tensor) -> Tensor:
        self.seen.append(degraded.shape[-1] * degraded.shape[-2])
        if self.seen[-1] > self.pixels:
            raise torch.OutOfMemoryError
        return degraded


def test_a_large_image_is_cut_into_tiles_without_being_asked(tmp_path: Path):
    large = np.random.default_rng(0).integers(0, 256, (1200, 2000), np.uint8)
    write_photograph(tmp_path / "large.png", Photograph(large))
    head = Recording(PIXELS_AT_ONCE)
    list(restore_files(head, plan_outputs(tmp_path / "large.png", tmp_path / "out.png")))
    assert len(head.seen) == 2
    assert np.array_equal(read_photograph(tmp_path / "out.png").pixels, large)


def test_what_did_not_fit_once_is_not_tried_again_with_the_next_image(tmp_path: Path):
    for name in "abc":
        write_image(tmp_path / "in" / f"{name}.png", np.zeros((100, 100, 3), np.uint8))
    head = Recording(60**2)
    list(restore_files(head, plan_outputs(tmp_path / "in", tmp_path / "out")))
    assert head.seen == [100**2] + 3 * 4 * [50**2]


def test_an_interrupted_folder_goes_on_where_it_was_and_other_settings_start_again(album, tmp_path):
    from unpairaug.restoring.restart import CompleteFiles

    outputs = plan_outputs(album, tmp_path / "out")
    complete = CompleteFiles(tmp_path / "out", {"tile": None})
    (tmp_path / "out").mkdir()
    restored = map(FileRestorer(Bicubic(2)), complete.find_remaining(outputs).items())
    results = collect_results(restored, len(outputs), complete)
    first = next(results)
    next(results)  # the first one is recorded
    again = CompleteFiles(tmp_path / "out", {"tile": None})
    (tmp_path / "out" / ".restore.jsonl").open("ab").write(b'{"torn')
    assert first not in again.find_remaining(outputs).values() and len(again.find_remaining(outputs)) < len(outputs)
    assert len(CompleteFiles(tmp_path / "out", {"tile": 32}).find_remaining(outputs)) == len(outputs)
