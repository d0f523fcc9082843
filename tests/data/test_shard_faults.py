"""Shards of any origin: what is damaged, ambiguous or unfinished is named; nothing is left out without a word."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from unpairaug.batch.executor import IN_PROCESS
from unpairaug.data import (
    MemoryImages,
    UnpairedCrops,
    open_images,
    order,
    scan,
    shard_index as index_of,
    shards,
    write_image,
)
from unpairaug.data.cache import cache_folder, write_cached
from unpairaug.data.files import WriteError
from unpairaug.data.image_cache import IMAGE_CACHE
from unpairaug.data.order import WINDOW
from unpairaug.data.pairs import match_pairs
from unpairaug.data.preflight import preflight
from unpairaug.data.shards import ShardImages
from unpairaug.data.storage import file_size
from unpairaug.errors import UserError
from unpairaug.prepare.cut import Cut
from unpairaug.prepare.run import Preparation
from unpairaug.restoring.files import plan_outputs

CHECKOUT = str(Path(__file__).resolve().parents[2])


def png(number: int = 0, side: int = 20) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)).save(data, "PNG")
    return data.getvalue()


def write_tar(path: Path, names: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number, name in enumerate(names):
            member, data = tarfile.TarInfo(name), png(number)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def opened(source: object) -> ShardImages:
    images = open_images(str(source), "clean", 1)
    assert isinstance(images, ShardImages)
    return images


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    IMAGE_CACHE.clear()
    return tmp_path / "cache"


@pytest.fixture
def twenty(tmp_path: Path) -> Path:
    return write_tar(tmp_path / "twenty.tar", [f"{i:02}.png" for i in range(20)])


def headers(shard: Path) -> list[int]:
    with tarfile.open(shard) as tar:
        return [member.offset for member in tar]


def zeros_from_the_middle(whole: bytes, starts: list[int]) -> bytes:
    return whole[: starts[11]] + bytes(len(whole) - starts[11])


def zeros_over_a_header(whole: bytes, starts: list[int]) -> bytes:
    return whole[: starts[11]] + bytes(512) + whole[starts[11] + 512 :]


def noise_over_a_header(whole: bytes, starts: list[int]) -> bytes:
    return whole[: starts[11]] + np.random.default_rng(0).bytes(512) + whole[starts[11] + 512 :]


@pytest.mark.parametrize("harm", [zeros_from_the_middle, zeros_over_a_header, noise_over_a_header])
def test_a_tar_that_is_damaged_within_is_refused_with_how_far_it_is_whole(twenty: Path, harm):
    twenty.write_bytes(harm(twenty.read_bytes(), headers(twenty)))
    with pytest.raises(UserError, match=r"twenty\.tar: .*damaged .*intact: the first 11 images"):
        opened(twenty)


def test_two_archives_in_one_file_are_refused(twenty: Path):
    twenty.write_bytes(2 * twenty.read_bytes())
    with pytest.raises(UserError, match="intact: the first 20 images"):
        opened(twenty)


@pytest.mark.parametrize("padding", [512, 1024, 10240])
def test_every_usual_end_of_an_archive_is_one(twenty: Path, padding: int):
    starts, whole = headers(twenty), twenty.read_bytes()
    end = starts[-1] + 512 * (1 + -(-opened(twenty)._byte_range(19)[2] // 512))
    twenty.write_bytes(whole[:end] + bytes(padding if padding < 10240 else -(-(end + 1024) // 10240) * 10240 - end))
    assert len(opened(twenty)) == 20


def test_the_image_with_a_plain_extension_is_that_of_its_sample_and_the_others_are_told(tmp_path: Path):
    shard = write_tar(tmp_path / "s.tar", ["0.png", "0.seg.png", "0.lr.png", "1.png"])
    for _ in range(2):  # as scanned, and as kept
        images = opened(shard)
        assert list(images.names) == ["s.tar/0.png", "s.tar/1.png"]
        assert "skipped: 'lr.png', 'seg.png'" in images.remarks[0]


@pytest.mark.parametrize("names", [["0.jpg", "0.png"], ["0.hr.png", "0.lr.png"]])
def test_two_images_of_a_sample_of_which_neither_is_plainer_are_refused(tmp_path: Path, names: list[str]):
    with pytest.raises(UserError, match=rf"'{names[0]}' and '{names[1]}' are two images of one sample"):
        opened(write_tar(tmp_path / "s.tar", names))


def test_names_match_those_of_a_folder_whether_with_dots_or_behind_a_dot(tmp_path: Path):
    names = ["./a.png", "./b/IMG.1.png"]
    for name in names:
        write_image(tmp_path / "folder" / name, np.zeros((20, 20, 3), np.uint8))
    packed = opened(write_tar(tmp_path / "s.tar", names))
    folder = open_images(str(tmp_path / "folder"), "clean", 1)
    assert list(packed.names) == ["s.tar/a.png", "s.tar/b/IMG.1.png"]
    assert match_pairs(packed, folder, 1) == match_pairs(folder, packed, 1) == [(0, 0), (1, 1)]
    images = {name: np.zeros((8, 8, 3), np.uint8) for name in ("a.png", "b/IMG.2.png")}
    with pytest.raises(UserError, match="have no partner"):
        match_pairs(folder, MemoryImages("memory", images), 1)


INDEXES = {
    "an endless number": '{"bytes": 1e999, "samples": []}',
    "an endless place": '{"bytes": SIZE, "samples": [{"key": "a", "ext": "png", "offset": 1e999, "size": 1, '
    '"width": 1, "height": 1}]}',
    "a huge place": f'{{"bytes": SIZE, "samples": [{{"key": "a", "ext": "png", "offset": {2**70}, "size": 1, '
    '"width": 1, "height": 1}]}',
    "a sum that overflows": f'{{"bytes": SIZE, "samples": [{{"key": "a", "ext": "png", "offset": {2**63 - 1}, '
    f'"size": {2**63 - 1}, "width": 1, "height": 1}}]}}',
    "deep nesting": "[" * 200_000,
    "samples that are none": '{"bytes": SIZE, "samples": -5}',
    "odd that are none": '{"bytes": SIZE, "samples": [], "odd": 5}',
}


@pytest.mark.parametrize("kind", INDEXES)
def test_an_impossible_index_is_named(twenty: Path, kind: str):
    text = INDEXES[kind].replace("SIZE", str(file_size(str(twenty))))
    twenty.with_suffix(".index.json").write_text(text)
    with pytest.raises(UserError, match=r"twenty\.index\.json: .*create the shards again, or remove it"):
        opened(twenty)


@pytest.mark.parametrize("samples, size", [(-5, 10**4), (1, -1), ("1e999", 1), (2**70, 2**80), (100, 1024)])
def test_an_impossible_list_of_shards_is_named(twenty: Path, samples, size):
    text = f'{{"shards": [{{"shard": "twenty.tar", "samples": {samples}, "bytes": {size}}}]}}'
    (twenty.parent / "index.json").write_text(text)
    with pytest.raises(UserError, match=r"/index\.json: .*create the shards again, or remove it"):
        opened(twenty.parent)


def test_control_characters_of_a_name_do_not_reach_a_message(tmp_path: Path):
    shard = write_tar(tmp_path / "s\n.tar", ["a\x1b[31m\n.png"])
    assert opened(shard).location(0).isprintable()
    shard.write_bytes(shard.read_bytes()[:700])
    for wrong in (shard, tmp_path / "no\nne.tar"):
        with pytest.raises(UserError) as error:
            opened(wrong)
        assert str(error.value).isprintable()


@pytest.mark.parametrize("name", ["file", "n" * 300])
def test_without_a_usable_cache_everything_is_found_out_again(name, twenty: Path, tmp_path: Path, monkeypatch, caplog):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
    for name in ("a", "b"):
        write_cached(cache_folder(name), "text")
    assert len(opened(twenty)) == len(opened(twenty)) == 20
    assert len([record for record in caplog.records if "shards cannot be written" in record.message]) == 1, "told once"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert cache_folder("shards") is None and len(opened(twenty)) == 20


def test_an_index_that_is_asked_for_and_cannot_be_written_is_an_error(twenty: Path):
    twenty.with_suffix(".index.json").mkdir()
    with pytest.raises(WriteError, match=r"twenty\.index\.json: this file cannot be written"):
        index_of.write_index(str(twenty))


@pytest.mark.parametrize("packed", [True, False])
def test_an_unfinished_preparation_is_no_data(tmp_path: Path, packed: bool):
    for i in range(3):
        write_image(tmp_path / "in" / f"{i}.png", np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8))
    preparation = Preparation(tmp_path / "in", tmp_path / "out", Cut(), shard_bytes=20_000 if packed else None)
    with preparation.lock_target():
        for _ in preparation.cut_photographs(IN_PROCESS):
            pass  # all is cut, and the command killed before its end
    ways = [tmp_path / "out", *(tmp_path / "out").glob("*.tar")]
    for way in ways:
        with pytest.raises(UserError, match="out: this preparation is not finished; run the same `unpairaug prepare`"):
            open_images(str(way), "clean", 1)
    with preparation.lock_target():
        preparation.finish("raise")
    assert len(open_images(str(tmp_path / "out"), "clean", 1)) == 3


def test_of_many_images_in_foreign_shards_only_some_are_decoded_before_training(twenty: Path, monkeypatch):
    monkeypatch.setattr(scan, "MAX_DECODED", 5)
    images = opened(twenty)
    report = preflight(images, images, scale=1, crop=8)
    assert report.sets["clean"].count == 20 and sum(report.sets["clean"].kinds.values()) == 5
    assert "5 decoded, sizes of 5 read" in str(report)


def test_a_walk_loads_each_index_once_an_epoch_however_many_lanes_there_are(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(order, "MAX_PERMUTED", 0)
    monkeypatch.setattr(shards, "MIN_HELD_IMAGES", 1)
    count, each, lanes = 60, 10, 20
    for i in range(count):
        write_tar(tmp_path / f"{i:03}.tar", [f"{i}-{at}.png" for at in range(each)])
    loaded, read = [], shards.read_index
    monkeypatch.setattr(shards, "read_index", lambda shard: loaded.append(shard) or read(shard))
    images = opened(tmp_path)
    loaded.clear()
    dataset = UnpairedCrops(images, images, crop=8, scale=1, seed=0, lanes=2 * lanes, own_lanes=lanes)
    for step in range(count * each // (2 * lanes)):
        for k in range(2 * lanes * step, 2 * lanes * step + lanes):  # what the first of two processes reads
            images.stem(dataset.image_indices(k)[0])
    assert len(loaded) <= 2 * count
    assert images._index.keep == min(count, lanes * (WINDOW + 1)), "bounded"


def test_copies_that_an_address_asks_for_are_found_by_the_next_process(twenty: Path, cache: Path):
    files = fsspec.filesystem("memory")
    files.pipe_file("/kept/s.tar", twenty.read_bytes())
    assert opened("filecache::memory://kept/s.tar")[3].shape == (20, 20, 3)
    kept = [path for path in (cache / "unpairaug" / "files" / "filecache").iterdir() if path.stat().st_size > 10_000]
    assert len(kept) == 1


def test_an_address_with_a_signature_is_that_of_its_file(twenty: Path, monkeypatch):
    from unpairaug.data import storage

    monkeypatch.setattr(storage, "remote_file_system", lambda url: (fsspec.filesystem("file"), str(twenty)))
    images = opened("https://host/bucket/x.tar?X-Sig=a/b.c")
    assert len(images) == 20 and images.names[0] == "x.tar/00.png"
    assert images.location(0) == "https://host/bucket/x.tar/00.png", "no signature in a log"


@pytest.mark.parametrize(
    "source, words",
    [
        ("s.tar.gz", "a compressed tar does not allow random access; decompress it"),
        ("s.tgz", "a compressed tar"),
        ("*.tar", r"with braces, as in shards-\{000..012\}\.tar"),
        ("s3://bucket/*.tar", "with braces"),
    ],
)
def test_near_misses_of_a_source_are_told_what_to_write(source: str, words: str, tmp_path: Path):
    with pytest.raises(UserError, match=words):
        open_images(source if "://" in source else str(tmp_path / source), "clean", 1)


@pytest.mark.parametrize("source", ["twenty.tar", "."])
def test_restore_says_that_it_reads_no_shards(twenty: Path, source: str, monkeypatch):
    monkeypatch.chdir(twenty.parent)
    with pytest.raises(UserError, match="restore reads image files and no shards"):
        plan_outputs(Path(source), Path("out"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_closed_cache_folder_is_no_cache(twenty: Path, cache: Path):
    cache.mkdir()
    (cache / "unpairaug").mkdir(mode=0)
    program = f"from unpairaug.data import open_images; print(len(open_images({str(twenty)!r}, 'clean', 1)))"
    environment = {**os.environ, "PYTHONPATH": CHECKOUT, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout == "20\n", done.stderr


def test_an_index_kept_by_an_older_version_is_not_believed(twenty: Path, cache: Path, monkeypatch):
    monkeypatch.setattr(index_of, "SCAN_VERSION", index_of.SCAN_VERSION - 1)
    opened(twenty)
    (kept,) = cache.rglob("*.json")
    values = json.loads(kept.read_text())
    kept.write_text(json.dumps({**values, "samples": values["samples"][:11]}))
    assert len(opened(twenty)) == 11
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    assert len(opened(twenty)) == 20
