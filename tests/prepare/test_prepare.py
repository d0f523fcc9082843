"""`unpairaug prepare`: what comes out is exact, complete, readable, and the same however often it was killed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageCms
from program import run_program

from unpairaug.batch.executor import IN_PROCESS, Executor
from unpairaug.data.decode import MAX_PIXELS
from unpairaug.data.images import read_image, write_image
from unpairaug.data.photograph import insert_chunks, read_colour
from unpairaug.errors import UserError
from unpairaug.prepare.cut import Cut, measure_detail
from unpairaug.prepare.keys import make_keys
from unpairaug.prepare.run import Preparation

WHOLE = Cut()
PROGRAM = "from unpairaug.commands import main; main()"


def command(*arguments: object) -> tuple[list[str], dict[str, str]]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return [sys.executable, "-c", PROGRAM, "prepare", *map(str, arguments)], environment


def unpairaug_prepare(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_program("prepare", *arguments)


def prepare(source: Path, target: Path, cut: Cut = WHOLE, on_bad="raise", force=False, workers=1, **options):
    """What the command does, in this process."""
    preparation = Preparation(source, target, cut, **options)
    with preparation.lock_target(force):
        for _ in preparation.cut_photographs(Executor(workers)):
            pass
        return preparation.finish(on_bad)


def tree(folder: Path) -> dict[str, str]:
    """The digest of every file, but for the lock."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def manifest(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Nine photographs of noise, one of them smaller than the sub-images, in a folder with sub-folders."""
    folder, draw = tmp_path / "photographs", np.random.default_rng(0)
    for i in range(9):
        size = (40, 20) if i == 4 else (50 + 3 * i, 60)
        image = draw.integers(0, 256, (*size, 3), dtype=np.uint8)
        write_image(folder / "abc"[i % 3] / f"photo {i}.png", image)
    return folder


@pytest.mark.parametrize("size", [None, 32])
def test_what_the_numbers_mean_goes_with_every_part(photographs, tmp_path, size):
    (path, other) = sorted(photographs.rglob("*.png"))[:2]
    path.write_bytes(insert_chunks(path.read_bytes(), [(b"cICP", bytes([12, 13, 0, 1]))]))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(other) as image:
        image.load()
        image.save(other, icc_profile=profile)
    prepare(photographs, tmp_path / "out", Cut(size, size))
    rows = manifest(tmp_path / "out")
    for row in rows:
        found, colour = read_colour((tmp_path / "out" / row["file"]).read_bytes())
        source = photographs / row["source"]
        assert (found == profile) == (source == other) and bool(colour) == (source == path)
    assert len(rows) >= 9


def test_files_of_src_that_are_no_images_are_said_once(photographs, tmp_path):
    (photographs / "a/IMG_1.HEIC").write_bytes(b"")
    done = unpairaug_prepare(photographs, tmp_path / "out")
    assert done.returncode == 0 and done.stderr.count("skipped 1 .heic") == 1


@settings(max_examples=50)
@given(width=st.integers(1, 200), height=st.integers(1, 200), size=st.integers(4, 100), stride=st.integers(4, 100))
def test_every_pixel_lies_in_a_sub_image_and_every_sub_image_in_the_image(width, height, size, stride):
    seen = np.zeros((height, width), bool)
    if stride > size:
        with pytest.raises(UserError, match=rf"--stride {stride} is larger than --size {size}"):
            Cut.from_options(size, stride, 1, 0)
        return
    windows = list(Cut.from_options(size, stride, 1, 0).windows(width, height))
    for window in windows:
        assert 0 <= window.left < window.right <= width and 0 <= window.top < window.bottom <= height
        assert (window.right - window.left, window.bottom - window.top) == (min(size, width), min(size, height))
        seen[window.top : window.bottom, window.left : window.right] = True
    assert seen.all()
    assert len({window.box for window in windows}) == len(windows)


@given(side=st.integers(30, 200), columns=st.integers(1, 30), stride=st.integers(1, 30), scale=st.integers(2, 4))
def test_the_two_sides_of_a_pair_are_cut_alike_at_their_scales(side, columns, stride, scale):
    clean = Cut.from_options(size=30 * scale, stride=stride * scale, scale=1, min_detail=0)
    degraded = Cut.from_options(size=30 * scale, stride=stride * scale, scale=scale, min_detail=0)
    small = list(degraded.windows(side, columns))
    large = list(clean.windows(side * scale, columns * scale))
    assert [tuple(scale * edge for edge in window.box) for window in small] == [window.box for window in large]
    assert [degraded.suffix(window) for window in small] == [clean.suffix(window) for window in large]


def test_the_scale_must_divide_size_and_stride():
    assert Cut.from_options(480, None, 4, 0) == Cut(120, 60)
    with pytest.raises(UserError, match=r"--size 481 is not divisible by --scale 4; try 480"):
        Cut.from_options(481, None, 4, 0)
    with pytest.raises(UserError, match=r"need a --size"):
        Cut.from_options(None, 240, 1, 0)


@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=[]), min_size=1), unique=True))
def test_keys_are_distinct_and_safe_whatever_the_names(names):
    keys = make_keys([f"{name}/{name}.png" for name in names if name not in (".", "..")])
    assert len({key.casefold() for key in keys}) == len(keys)
    for key in keys:
        assert key.encode() and "." not in key and not key.startswith(("-", "/", "__"))
        assert all(part and part.replace("-", "_").replace("_", "a").isalnum() for part in key.split("/"))
        longest = tarfile.TarInfo(f"{key}_r00c{MAX_PIXELS - 1}.webp")  # a window of the widest image that is read
        assert len(longest.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")) == tarfile.BLOCKSIZE


def test_long_names_that_collide_fit_the_plainest_tar_with_many_windows(tmp_path):
    strip = np.random.default_rng(0).integers(0, 256, (4, 900, 3), dtype=np.uint8)
    for ending in ("png", "bmp"):
        write_image(tmp_path / "photographs" / f"{'x' * 90}.{ending}", strip)
    result = prepare(tmp_path / "photographs", tmp_path / "out", Cut(4, 2), shard_bytes=2**20)
    assert result.outputs == 2 * 449


def test_detail_is_zero_for_a_flat_image_and_grows_with_contrast():
    noise = np.random.default_rng(0).integers(0, 100, (20, 20, 3), dtype=np.uint8)
    assert measure_detail(np.full((20, 20, 3), 77, np.uint8)) == 0
    assert 0 < measure_detail(noise // 4) < measure_detail(noise)


def test_sub_images_are_the_pixels_that_the_manifest_says(photographs, tmp_path):
    result = prepare(photographs, tmp_path / "out", Cut(32, 16))
    rows = manifest(tmp_path / "out")
    assert result.outputs == len(rows) and result.small == 1 and result.images == 9
    for row in rows:
        left, top, right, bottom = row["box"]
        file = tmp_path / "out" / row["file"]
        np.testing.assert_array_equal(read_image(file), read_image(photographs / row["source"])[top:bottom, left:right])
        assert hashlib.sha256(file.read_bytes()).hexdigest() == row["sha256"]
        assert hashlib.sha256((photographs / row["source"]).read_bytes()).hexdigest() == row["source_sha256"]
    assert {row["file"] for row in rows if row["source"] == "b/photo 4.png"} == {
        "b/photo_4_r00c00.png",
        "b/photo_4_r01c00.png",
    }


def test_whole_photographs_stay_the_bytes_they_are_unless_readers_would_differ(photographs, tmp_path):
    image = read_image(photographs / "a/photo 0.png")
    write_image(photographs / "a" / "plain.jpg", image)
    write_image(photographs / "a" / "lossless.tif", image)
    prepare(photographs, tmp_path / "out")
    out = tmp_path / "out" / "a"
    assert (out / "plain.jpg").read_bytes() == (photographs / "a" / "plain.jpg").read_bytes()
    np.testing.assert_array_equal(read_image(out / "lossless.png"), image)


def test_flat_sub_images_are_left_out_and_counted(photographs, tmp_path):
    write_image(photographs / "sky.png", np.full((64, 64, 3), 200, np.uint8))
    result = prepare(photographs, tmp_path / "out", Cut(32, 32, min_detail=1))
    assert result.flat == 4 and "4 skipped" in str(result)
    assert not any(row["source"] == "sky.png" for row in manifest(tmp_path / "out"))


def test_the_library_itself_reads_the_shards_and_the_index_finds_every_member(photographs, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    out = tmp_path / "out"
    result = prepare(photographs, out, Cut(32, 16), shard_bytes=100_000)
    last = len(result.shards) - 1
    assert last > 2
    pattern = f"{out}/images-{{000000..{last:06}}}.tar"
    samples = list(webdataset.WebDataset(pattern, shardshuffle=False, empty_check=False).decode("rgb8"))
    rows = manifest(out)
    assert [sample["__key__"] + ".png" for sample in samples] == [row["file"] for row in rows]
    for sample, row in zip(samples, rows, strict=True):
        left, top, right, bottom = row["box"]
        np.testing.assert_array_equal(sample["png"], read_image(photographs / row["source"])[top:bottom, left:right])

    shards = json.loads((out / "index.json").read_text())
    assert shards["version"] == 1 and sum(shard["samples"] for shard in shards["shards"]) == len(rows)
    digests = iter(row["sha256"] for row in rows)
    for shard in shards["shards"]:
        tar = (out / shard["shard"]).read_bytes()
        assert len(tar) == shard["bytes"] <= 100_000
        index = json.loads((out / shard["shard"].replace(".tar", ".index.json")).read_text())
        assert (index["shard"], index["bytes"]) == (shard["shard"], shard["bytes"])
        for sample in index["samples"]:
            member = tar[sample["offset"] : sample["offset"] + sample["size"]]
            assert hashlib.sha256(member).hexdigest() == next(digests)


def test_a_sample_larger_than_a_shard_has_one_for_itself(photographs, tmp_path):
    result = prepare(photographs, tmp_path / "out", shard_bytes=1)
    assert [samples for samples, _ in result.shards.values()] == [1] * 9


def test_any_number_of_workers_makes_the_same_bytes(photographs, tmp_path):
    prepare(photographs, tmp_path / "one", Cut(32, 16), shard_bytes=100_000)
    prepare(photographs, tmp_path / "two", Cut(32, 16), shard_bytes=100_000, workers=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


@pytest.mark.parametrize("shard_bytes", [None, 60_000])
@pytest.mark.parametrize("images", range(10))
def test_stopped_after_any_photograph_it_goes_on_to_the_same_bytes(photographs, tmp_path, shard_bytes, images):
    (photographs / "b" / "broken.png").write_bytes(b"no image")
    options = {"shard_bytes": shard_bytes, "max_bad": 1.0}
    prepare(photographs, tmp_path / "whole", Cut(32, 16), "skip", **options)
    begun = Preparation(photographs, tmp_path / "parts", Cut(32, 16), **options)
    with begun.lock_target():
        work = begun.cut_photographs(IN_PROCESS)
        for _ in range(images):
            next(work)
        del work
    (tmp_path / "parts" / ".journal.jsonl").open("ab").write(b'{"rows": [{"torn')
    result = prepare(photographs, tmp_path / "parts", Cut(32, 16), "skip", **options)
    assert tree(tmp_path / "parts") == tree(tmp_path / "whole")
    assert result.images == 9 and len(result.bad) == 1


@pytest.mark.parametrize(("options", "moments"), [(["--shards", "--shard-size", "1"], [0, 1, 4]), ([], [1, 200])])
def test_killed_at_any_moment_and_run_again_it_ends_with_the_same_bytes(tmp_path, options, moments):
    photographs, draw = tmp_path / "photographs", np.random.default_rng(0)
    for i in range(8):
        write_image(photographs / f"{i}.png", draw.integers(0, 256, (160, 200, 3), dtype=np.uint8))
    arguments = [photographs, tmp_path / "out", "--size", 64, "--stride", 16, "--workers", 2, *options]
    whole = unpairaug_prepare(photographs, tmp_path / "whole", *arguments[2:])
    assert whole.returncode == 0, whole.stderr
    expected = tree(tmp_path / "whole")
    for moment in moments:
        words, environment = command(*arguments)
        process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (tmp_path / "out").exists() or len(names(tmp_path / "out")) < moment:
            time.sleep(0.005)
        assert process.poll() is None, "killed while it works"
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        assert not psutil.wait_procs(workers, timeout=20)[1], "workers end with the process that started them"
        now = tree(tmp_path / "out")
        assert {name: now[name] for name in names(tmp_path / "out")}.items() <= expected.items(), "each is whole"
    last = unpairaug_prepare(*arguments)
    assert last.returncode == 0, last.stderr
    assert tree(tmp_path / "out") == expected


def names(folder: Path) -> list[str]:
    """The shards or images that have their names."""
    return [path.name for path in folder.iterdir() if re.fullmatch(r"[^.].*\.(tar|png)", path.name)]


def test_a_complete_folder_is_left_as_it_is_and_one_that_lacks_a_file_is_told(photographs, tmp_path):
    arguments = [photographs, tmp_path / "out", "--size", 32, "--shards", "--workers", 1]
    assert unpairaug_prepare(*arguments).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.name != ".lock"}
    again = unpairaug_prepare(*arguments)
    assert again.returncode == 0 and "nothing to do" in again.stdout
    now = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.name != ".lock"}
    assert now == before
    (tmp_path / "out" / "images-000000.tar").unlink()
    assert "images-000000.tar is missing" in unpairaug_prepare(*arguments).stderr


def test_other_settings_are_refused_with_what_differs_and_force_begins_anew(photographs, tmp_path):
    out = tmp_path / "out"
    prepare(photographs, out, Cut(32, 16))
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"size: 32 → 40; stride: 16 → 20.*--force"):
        prepare(photographs, out, Cut(40, 20))
    write_image(photographs / "new.png", np.zeros((50, 50, 3), np.uint8))
    with pytest.raises(UserError, match=r"photographs: 9 → 10"):
        prepare(photographs, out, Cut(32, 16))
    prepare(photographs, out, Cut(40, 20), shard_bytes=100_000, force=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert not list(out.rglob("*.png")) and (out / "images-000000.tar").exists()


@pytest.mark.parametrize("shard_bytes", [None, 60_000])
@pytest.mark.parametrize("photographs_done", [10, 7])
def test_force_removes_what_prepare_wrote_and_no_file_of_the_user(photographs, tmp_path, shard_bytes, photographs_done):
    out, mine = tmp_path / "out", ["my_own.png", "album/x.webp.png", "notes.jsonl", "a/.mine.partial", "images-9.tar"]
    write_image(photographs / "only" / "here.png", np.zeros((50, 50, 3), np.uint8))
    begun = Preparation(photographs, out, Cut(32, 16), shard_bytes=shard_bytes)
    with begun.lock_target():
        for _ in islice(begun.cut_photographs(Executor(2)), photographs_done):
            pass
        if photographs_done == 10:
            begun.finish("raise")
    for name in mine:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(b"mine")
    (photographs / "only" / "here.png").unlink()
    prepare(photographs, tmp_path / "anew", Cut(40, 40))
    prepare(photographs, out, Cut(40, 40), force=True)
    assert all((out / name).read_bytes() == b"mine" for name in mine)
    assert {name: digest for name, digest in tree(out).items() if name not in mine} == tree(tmp_path / "anew")
    assert not (out / "only").exists(), "folders that this empties go too"


def test_what_is_to_be_made_again_is_removed_while_it_is_known_whose_it_is(photographs, tmp_path):
    out = tmp_path / "out"
    begun = Preparation(photographs, out, Cut(32, 16), shard_bytes=60_000)
    with begun.lock_target():
        for _ in begun.cut_photographs(IN_PROCESS):
            pass
    (out / "images-000001.tar").unlink()
    with begun.lock_target():
        assert names(out) == ["images-000000.tar"]


def test_a_file_of_the_user_is_not_overwritten(photographs, tmp_path):
    begun = Preparation(photographs, tmp_path / "out", Cut(32, 16))
    with begun.lock_target():
        (tmp_path / "out" / "a").mkdir()
        (tmp_path / "out" / "a" / "photo_0_r00c00.png").write_bytes(b"mine")
        with pytest.raises(UserError, match=r"photo_0_r00c00\.png exists and was not written by `prepare`"):
            next(begun.cut_photographs(IN_PROCESS))
    assert (tmp_path / "out" / "a" / "photo_0_r00c00.png").read_bytes() == b"mine"


@pytest.mark.skipif(sys.platform == "win32", reason="the bound is POSIX's")
@pytest.mark.parametrize(
    ("options", "room", "workers"), [([], 4000, 1), ([], 2500, 2), (["--shards"], 100_000, 1), (["--shards"], 4000, 2)]
)
def test_a_full_disk_is_one_message_and_the_same_command_goes_on(photographs, tmp_path, options, room, workers):
    options = ["--size", 32, "--workers", workers, *options]
    words, environment = command(photographs, tmp_path / "out", *options)
    words[2] = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); {PROGRAM}"
    full = subprocess.run(words, env=environment, capture_output=True, text=True)
    errors = [line for line in full.stderr.splitlines() if not re.match(r"\d+/\d+ images", line)]
    assert full.returncode == 1 and len(errors) == 1, full.stderr
    assert re.fullmatch(r"error: .*out.* cannot be written \(.+\); .*; run the same command again to resume", errors[0])
    again = unpairaug_prepare(photographs, tmp_path / "out", *options)
    assert again.returncode == 0, again.stderr
    prepare(photographs, tmp_path / "whole", Cut(32, 16), shard_bytes=2**28 if "--shards" in options else None)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal's Ctrl-C goes to the group of processes")
@pytest.mark.parametrize(
    ("number", "workers", "moment"),
    [
        (signal.SIGINT, 1, ".parts/*"),
        (signal.SIGINT, 2, ".parts/*"),
        (signal.SIGTERM, 2, ".parts/*"),
        (signal.SIGINT, 4, ".parts"),  # its workers are still starting
    ],
)
def test_stopped_by_a_signal_it_ends_at_once_and_says_that_the_same_command_goes_on(tmp_path, number, workers, moment):
    for i in range(20):  # each takes half a minute
        write_image(tmp_path / "photographs" / f"{i}.png", np.zeros((900, 900, 3), np.uint8))
    words, environment = command(tmp_path / "photographs", tmp_path / "out", "--size", 8, "--stride", 1)
    words += ["--workers", str(workers), "--shards"]
    process = subprocess.Popen(
        words,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what a shell starts with & ignores it
    )
    while not list((tmp_path / "out").glob(moment)):
        time.sleep(0.01)
        assert process.poll() is None
    time.sleep(0.3)
    below = psutil.Process(process.pid).children(recursive=True)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert re.fullmatch(r"stopped; .*out; run the same command again to resume\n", errors)
    assert not psutil.wait_procs(below, timeout=5)[1]


def test_a_misspelt_url_does_not_become_a_folder(photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for source, target in ((photographs, "s33://bucket/clean"), ("s33://bucket/raw", "out")):
        refused = unpairaug_prepare(source, target)
        assert refused.returncode == 2 and "fsspec knows no URL scheme 's33'" in refused.stderr, refused.stderr
    assert os.listdir(tmp_path) == ["photographs"]


@pytest.mark.parametrize("shard_bytes", [None, 60_000])
def test_a_complete_folder_tells_the_same_as_the_call_that_completed_it(photographs, tmp_path, shard_bytes):
    (photographs / "broken.png").write_bytes(b"no image")
    write_image(photographs / "sky.png", np.full((64, 64, 3), 200, np.uint8))
    options = {"cut": Cut(32, 16, min_detail=1), "shard_bytes": shard_bytes, "max_bad": 0.5}
    first = prepare(photographs, tmp_path / "out", on_bad="skip", **options)
    assert "from 10 photographs" in str(first) and "1 bad photographs" in str(first) and first.flat
    assert str(prepare(photographs, tmp_path / "out", on_bad="skip", **options)) == str(first)
    with pytest.raises(UserError, match=r"(?s)bad photographs: 1; .*broken\.png"):
        prepare(photographs, tmp_path / "out", **options)


def test_nothing_of_somebody_else_is_overwritten_even_with_force(photographs, tmp_path):
    write_image(tmp_path / "mine" / "a.png", np.zeros((4, 4, 3), np.uint8))
    before = tree(tmp_path / "mine")
    for force in (False, True):
        with pytest.raises(UserError, match=r"mine holds other files \(a\.png\)"):
            prepare(photographs, tmp_path / "mine", force=force)
    assert tree(tmp_path / "mine") == before
    with pytest.raises(UserError, match="is a file"):
        prepare(photographs, tmp_path / "mine" / "a.png")


def test_source_and_target_do_not_lie_in_each_other(photographs):
    for target in (photographs, photographs / "out", photographs / "a" / ".." / "out"):
        with pytest.raises(UserError, match="would be taken for photographs"):
            prepare(photographs, target)
    with pytest.raises(UserError, match="holds no sources"):
        prepare(photographs / "a", photographs)
    assert not (photographs / "out").exists()


def test_bad_photographs_are_all_named_and_skipping_them_then_takes_no_second_reading(photographs, tmp_path):
    for name in ("a/empty.png", "c/text.jpg"):
        (photographs / name).write_bytes(b"" if "empty" in name else b"text")
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"(?s)bad photographs: 2; .*--on-bad skip.*empty\.png: .*0 bytes.*text\.jpg"):
        prepare(photographs, out, Cut(32, 16), max_bad=0.5)
    assert not (out / "manifest.jsonl").exists()
    preparation = Preparation(photographs, out, Cut(32, 16), max_bad=0.5)
    with preparation.lock_target():
        assert preparation.remaining == 0
        result = preparation.finish("skip")
    assert result.images == 9
    bad = (out / "bad.txt").read_text().splitlines()
    assert len(bad) == 2 and "empty.png: the file is empty" in bad[0]


def test_too_large_a_share_of_bad_photographs_stops_the_work(photographs, tmp_path):
    for i in range(3):
        (photographs / f"a{i}.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"bad photographs: 2; more than the allowed 10% \(--max-bad\) of 12"):
        prepare(photographs, tmp_path / "out", on_bad="skip")


def test_a_table_of_licences_goes_into_the_manifest(photographs, tmp_path):
    table = tmp_path / "licences.csv"
    table.write_text("file,licence,author\nphoto 0.png,CC0-1.0,Ada\nb/photo 1.png,CC-BY-4.0,Bob\n")
    result = prepare(photographs, tmp_path / "out", licences=table)
    licences = {row["source"]: row["licence"] for row in manifest(tmp_path / "out")}
    assert licences["a/photo 0.png"] == {"licence": "CC0-1.0", "author": "Ada"}
    assert licences["b/photo 1.png"]["licence"] == "CC-BY-4.0"
    assert Counter(value is None for value in licences.values()) == {True: 7, False: 2}
    assert "7 photographs have no row" in str(result)
    table.write_text("file,licence\na.png,x\na.png,y\n")
    with pytest.raises(UserError, match=r"two rows for a\.png"):
        prepare(photographs, tmp_path / "other", licences=table)


def test_two_preparations_do_not_share_a_folder(photographs, tmp_path):
    first = Preparation(photographs, tmp_path / "out", Cut())
    with first.lock_target(), pytest.raises(UserError, match="another `prepare` writes"):
        prepare(photographs, tmp_path / "out")


def test_preparing_does_not_import_torch(checkout):
    code = "import sys; import unpairaug.prepare.run, unpairaug.terminal.progress; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=checkout)
