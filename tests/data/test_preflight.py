"""The look at every image before training: everything wrong in one message, everything odd as a warning."""

from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
from PIL import Image

from unpairaug.data import FolderImages, open_images, scan, write_image
from unpairaug.data.photograph import insert_chunks
from unpairaug.data.preflight import DataReport, preflight
from unpairaug.errors import UserError


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def data(tmp_path) -> Path:
    """Three clean images, two degraded ones with their twins, one validation pair; scale 2."""
    for i in range(3):
        write_image(tmp_path / "clean" / f"c{i}.png", noise(32 + i, 40, i))
    for i in range(2):
        write_image(tmp_path / "degraded" / f"d{i}.png", noise(20, 20 + i, 10 + i))
        write_image(tmp_path / "ceiling_clean" / f"d{i}.png", noise(40, 40 + 2 * i, 20 + i))
    write_image(tmp_path / "val_clean" / "v.png", noise(24, 28, 30))
    write_image(tmp_path / "val_degraded" / "v.png", noise(12, 14, 31))
    return tmp_path


def look(data: Path, crop: int = 32, scale: int = 2) -> DataReport:
    sets = {folder.name: FolderImages(folder) for folder in data.iterdir()}
    return preflight(sets.pop("clean"), sets.pop("degraded"), scale=scale, crop=crop, **sets)


def test_the_report_counts_and_measures_what_is_there(data):
    report = look(data)
    assert {part: found.count for part, found in report.sets.items()} == {
        "clean": 3,
        "degraded": 2,
        "val_clean": 1,
        "val_degraded": 1,
        "ceiling_clean": 2,
    }
    assert report.sets["clean"].smallest == (40, 32) and report.sets["clean"].largest == (40, 34)
    assert report.warnings == []
    assert "3 images of 40×32 to 40×34 px" in str(report)
    assert [report.steps_per_epoch(samples) for samples in (1, 2, 3, 8)] == [3, 2, 1, 1]


def test_clean_images_smaller_than_the_degraded_ones_are_noticed(data):
    (data / "clean").rename(data / "kept")
    (data / "degraded").rename(data / "clean")
    (data / "kept").rename(data / "degraded")
    for name in ("ceiling_clean", "val_clean", "val_degraded"):
        rmtree(data / name)
    (warning,) = look(data, crop=16).warnings
    assert "(21×20 at most) than the degraded ones (40×34)" in warning and "swapped" in warning


def test_the_sample_passes_without_a_warning():
    parts = ("val_clean", "val_degraded", "ceiling_clean")
    others = {part: open_images("sample", part, 2) for part in parts}
    clean, degraded = (open_images("sample", part, 2) for part in ("clean", "degraded"))
    assert preflight(clean, degraded, scale=2, crop=96, **others).warnings == []


def test_all_unusable_images_are_named_in_one_message(data):
    (data / "clean" / "c0.png").write_bytes(b"")
    whole = (data / "degraded" / "d1.png").read_bytes()
    (data / "degraded" / "d1.png").write_bytes(whole[: len(whole) // 2])
    write_image(data / "clean" / "tiny.png", noise(1, 1, 0))
    with pytest.raises(UserError) as caught:
        look(data)
    message = str(caught.value)
    assert message.startswith("3 images cannot be used; repair or remove the files, or change data.crop or task.scale:")
    for expected in ("c0.png: the file is empty", "tiny.png: 1×1 px is smaller than the crop of 32×32 px", "d1.png: "):
        assert expected in message


def test_a_long_list_is_counted_rather_than_printed(data):
    for i in range(25):
        (data / "clean" / f"bad{i:02}.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"25 images cannot be used(.|\n)*bad00(.|\n)*and \d+ more$") as caught:
        look(data)
    _, *listed, rest = str(caught.value).split("\n")
    assert 1 <= len(listed) <= 10 and rest == f"  and {25 - len(listed)} more" and len(str(caught.value)) <= 2000


def test_the_degraded_side_needs_only_a_crop_divided_by_the_scale(data):
    assert look(data, crop=32).sets["degraded"].smallest == (20, 20)
    with pytest.raises(UserError, match=r"d0\.png: 20×20 px is smaller than the crop of 21×21 px"):
        look(data, crop=42)


@pytest.mark.parametrize("part,name", [("val_degraded", "v"), ("degraded", "d1")])
def test_a_pair_that_contradicts_the_scale_is_named(data, part, name):
    write_image(data / part / f"{name}.png", noise(40, 60, 0))
    with pytest.raises(
        UserError, match=rf"{name}\.png: .* degraded image .*{name}\.png: 60×40 px, imply a scale of 0\."
    ):
        look(data)


def test_a_pair_without_a_partner_is_named(data):
    write_image(data / "val_clean" / "w.png", noise(24, 28, 0))
    with pytest.raises(UserError, match=r"1 of 3 images .*no partner: .*val_clean/w\.png"):
        look(data)


def test_a_paired_set_used_as_unpaired_is_noticed_by_name_and_by_content(data):
    write_image(data / "clean" / "d0.png", noise(40, 40, 50))
    assert any("1 names are in both" in w and "d0" in w for w in look(data).warnings)
    write_image(data / "degraded" / "other.png", noise(40, 40, 50))
    write_image(data / "ceiling_clean" / "other.png", noise(80, 80, 51))
    assert any("d0.png is a clean image and also a degraded image: " in w for w in look(data).warnings)


def test_a_validation_image_that_is_also_trained_on_is_noticed(data):
    write_image(data / "clean" / "holiday.bmp", noise(48, 48, 60))
    write_image(data / "val_clean" / "v.png", noise(48, 48, 60))
    write_image(data / "val_degraded" / "v.png", noise(24, 24, 61))
    (warning,) = look(data).warnings
    assert "v.png of val_clean is also a training image" in warning and "holiday.bmp" in warning


def test_a_large_set_is_decoded_once_and_remembered_until_a_file_changes(data, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(scan, "MIN_CACHED", 3)
    decoded, seen = [], scan._decode_facts
    monkeypatch.setattr(scan, "_decode_facts", lambda images, i: decoded.append(images.names[i]) or seen(images, i))
    clean = FolderImages(data / "clean")
    first = scan.scan_images(clean, whole=False)
    assert len(decoded) == 3 and scan.scan_images(clean, whole=False) == first and len(decoded) == 3
    write_image(data / "clean" / "c1.png", noise(35, 40, 9))
    assert scan.scan_images(clean, whole=False)[1].facts.height == 35 and decoded[3:] == ["c1.png"]
    (kept,) = scan.cache_folder("scans").iterdir()
    kept.write_text('{"broken": ')
    assert scan.scan_images(clean, whole=False)[0] == first[0] and len(decoded) == 7


def test_the_report_tells_the_kinds_of_images(data):
    Image.fromarray(noise(34, 40, 1)[..., 0]).save(data / "clean" / "grey.png")
    Image.fromarray(noise(34, 40, 1)[..., 0].astype(np.uint16) * 257).save(data / "clean" / "deep.png")
    assert look(data).sets["clean"].kinds == {"RGB, 8 bits": 3, "grey, 8 bits": 1, "grey, 16 bits": 1}


def test_mixed_colour_spaces_are_reported_with_their_counts(data):
    assert not any("colour space" in warning for warning in look(data).warnings)
    for i, folder in enumerate(("degraded", "ceiling_clean")):
        path = data / folder / "d0.png"
        path.write_bytes(insert_chunks(path.read_bytes(), [(b"cICP", bytes([12, 13, 0, 1]))]))
        (warning,) = (warning for warning in look(data).warnings if "colour space" in warning)
        assert "clean 3 sRGB; " in warning and "val_clean 1 sRGB; " in warning
        assert warning.count("1 Display P3") == i + 1


def test_images_of_one_colour_are_reported_and_a_side_of_them_is_refused(data):
    write_image(data / "degraded" / "d0.png", np.zeros((20, 20, 3), np.uint8))
    (warning,) = (warning for warning in look(data).warnings if "single colour" in warning)
    assert warning.startswith("1 of 2 images of degraded have a single colour (") and "d0.png" in warning
    write_image(data / "degraded" / "d1.png", np.full((20, 21, 3), (7, 8, 9), np.uint8))
    with pytest.raises(UserError, match=r"data\.degraded: .*degraded: every image has a single colour"):
        look(data)


def test_files_that_are_no_images_are_said(data):
    (data / "clean" / "IMG_1.HEIC").write_bytes(b"")
    (warning,) = look(data).warnings
    assert "clean: skipped 1 .heic" in warning
