"""Shards read in sequence: every image once an epoch, split over readers, resumable, bounded on disk, errors named."""

from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from webdataset import TarWriter

from unpairaug.data import StepBatches, UnpairedBatch, UnpairedCrops, create_loader, open_images
from unpairaug.data.image_cache import IMAGE_CACHE
from unpairaug.data.sequential import SequentialBatches, check_stream, choose_order
from unpairaug.data.shard_cache import ShardCache
from unpairaug.data.shard_copies import count_copied_bytes
from unpairaug.data.shard_index import format_folder_index
from unpairaug.errors import UserError
from unpairaug.prepare.work import encode_png

SHARDS, EACH = 12, 5


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """60 images in 12 shards; the pixels of image n have the value n."""
    folder = tmp_path_factory.mktemp("sequential")
    sizes = {}
    for shard in range(SHARDS):
        path = folder / f"s-{shard:03}.tar"
        with TarWriter(str(path), mtime=0) as tar:
            for n in range(EACH * shard, EACH * shard + EACH):
                tar.write({"__key__": f"{n:03}", "png": encode_png(np.full((9, 9, 3), n, np.uint8)), "txt": "more"})
        sizes[path.name] = EACH, path.stat().st_size
    (folder / "index.json").write_text(format_folder_index(sizes))
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    IMAGE_CACHE.clear()
    return tmp_path / "cache" / "unpairaug" / "stream"


def crops(source: str, **options) -> UnpairedCrops:
    images = open_images(source, "clean", 1)
    return UnpairedCrops(images, images, **{"crop": 8, "scale": 1, "seed": 3, **options})


def read(source: str, start=0, stop=6, size=5, workers=0, rank=0, processes=1, limit=2**30) -> list[UnpairedBatch]:
    batches = StepBatches(start, stop, size, rank=rank, processes=processes)
    return list(create_loader(SequentialBatches(crops(source), batches, ShardCache(limit)), batches, workers))


def images(batches: list[UnpairedBatch], side: str = "clean") -> list[int]:
    return [int(image.max()) for batch in batches for image in getattr(batch, side)]


def far(folder: Path) -> str:
    files = fsspec.filesystem("memory")
    for path in folder.iterdir():
        files.pipe_file(f"/{folder.name}/{path.name}", path.read_bytes())
    return f"memory://{folder.name}"


def test_every_image_comes_once_an_epoch_over_workers_and_processes_and_sides_differ(shards):
    found = [read(str(shards), workers=2, rank=rank, processes=2, stop=6) for rank in range(2)]
    assert Counter(images(found[0]) + images(found[1])) == Counter(range(60))
    assert images(found[0]) != images(found[0], "degraded")
    assert sorted(torch.cat([batch.index for one in found for batch in one]).tolist()) == list(range(60))


def test_the_next_epoch_has_another_order_and_neighbours_are_of_several_shards(shards):
    found = images(read(str(shards), stop=24))
    first, second = found[:60], found[60:]
    assert Counter(first) == Counter(second) == Counter(range(60)) and first != second
    assert len({n // EACH for n in first[:8]}) > 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_stream_yields_what_the_uninterrupted_one_does(shards, workers):
    whole = read(str(shards), stop=9, workers=workers)
    for start in (1, 4, 7):
        for a, b in zip(read(str(shards), start, 9, workers=workers), whole[start:], strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_shards_of_a_url_are_fetched_once_and_give_the_same_stream(shards, cache, monkeypatch):
    requests = Counter()
    files = fsspec.filesystem("memory")
    get = type(files).get_file
    monkeypatch.setattr(
        type(files),
        "get_file",
        lambda self, path, *rest, **more: requests.update([path]) or get(self, path, *rest, **more),
    )
    there = read(far(shards), stop=24)
    assert images(there) == images(read(str(shards), stop=24))
    assert len(requests) == SHARDS and set(requests.values()) == {1}
    assert len(list(cache.iterdir())) == SHARDS


def test_the_copies_on_disk_stay_within_their_limit(shards, cache):
    size = (shards / "s-000.tar").stat().st_size
    read(far(shards), stop=24, limit=3 * size)
    assert sum(path.stat().st_size for path in cache.iterdir()) <= 3 * size
    assert not list((cache.parent / "stream.partial").iterdir())


def test_a_damaged_shard_is_named_with_the_number_of_its_intact_images(shards, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    data = (shards / "s-000.tar").read_bytes()[:2600]
    (broken / "s.tar").write_bytes(data)
    sizes = {"s.tar": (EACH, len(data))}
    (broken / "index.json").write_text(format_folder_index(sizes))
    with pytest.raises(UserError, match=r"broken/s\.tar: this shard is truncated or damaged after \d images"):
        read(str(broken), stop=1)


def test_another_number_of_images_than_in_the_index_is_an_error(shards, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "s.tar").write_bytes((shards / "s-000.tar").read_bytes())
    (other / "index.json").write_text(format_folder_index({"s.tar": (EACH + 1, (other / "s.tar").stat().st_size)}))
    with pytest.raises(UserError, match="5 images in sequence, but its index has 6"):
        read(str(other), stop=2)


def test_a_bad_image_is_replaced_where_bad_images_are_skipped(shards, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    with TarWriter(str(folder / "s.tar")) as tar:
        for n in range(6):
            tar.write({"__key__": f"{n}", "png": encode_png(np.full((9, 9, 3), n, np.uint8)) if n else b"broken"})
    dataset = crops(str(folder), skip_bad=True)
    batches = StepBatches(0, 3, 2)
    found = images(list(create_loader(SequentialBatches(dataset, batches, ShardCache(2**30)), batches)))
    assert len(found) == 6 and 0 not in found
    assert dataset.bad is not None and len(dataset.bad) == 1


def test_sets_of_a_mixture_keep_their_ratio_and_a_folder_among_them_its_exact_order(shards, tmp_path):
    for n in range(4):
        path = tmp_path / "single" / f"{n}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_png(np.full((9, 9, 3), 200 + n, np.uint8)))
    source = {str(shards): 3, str(tmp_path / "single"): 1}
    found = images(read(source, stop=16))
    assert abs(sum(n >= 200 for n in found) - 20) <= 1
    assert max(Counter(n for n in found[:60] if n < 200).values()) == 1
    assert images(read(source, 5, 16)) == found[25:]


def test_auto_takes_the_stream_for_large_sets_behind_a_url_and_says_why(shards, monkeypatch):
    assert choose_order(crops(str(shards)), 2) == ("exact", "no shards are read from a URL")
    assert choose_order(crops(far(shards)), 2)[0] == "exact"
    monkeypatch.setattr("unpairaug.data.sequential.MAX_PERMUTED", 20)
    assert choose_order(crops(far(shards)), 2)[0] == "stream"
    order, why = choose_order(crops(far(shards)), SHARDS + 1)
    assert order == "exact" and "12 shards for 13 readers" in why
    with pytest.raises(UserError, match=r"12 shards for 13 readers .* give data.order=exact"):
        check_stream(crops(str(shards)), SHARDS + 1)


def test_shards_are_copied_where_they_fit_the_disk_and_the_run_reads_an_epoch(shards, monkeypatch):
    size = sum(path.stat().st_size for path in shards.glob("*.tar"))
    remote = crops(far(shards))
    images = len(remote.clean)
    assert count_copied_bytes(remote, 2, images, 2 * size) == 2 * size
    assert count_copied_bytes(remote, 2, images, 2 * size - 1) == 0
    assert count_copied_bytes(remote, 2, images - 1, 2 * size) == 0
    assert count_copied_bytes(crops(str(shards)), 2, images, 2 * size) == 0, "they are on the disk already"
    monkeypatch.setattr("unpairaug.data.order.MAX_PERMUTED", 20)
    assert count_copied_bytes(remote, 1, images, size) == 2 * (5 * size // SHARDS), "a lane reads four, or five, shards"
