"""Shards behind the same interface as folders: the same pixels, the same sequence, nothing extracted, faults named."""

import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
import webdataset
from hypothesis import given, settings, strategies as st
from PIL import Image

from unpairaug.data import FolderImages, StepBatches, UnpairedBatch, UnpairedCrops, create_loader, open_images, order
from unpairaug.data.image_cache import IMAGE_CACHE
from unpairaug.data.images import ImageSet, write_image
from unpairaug.data.mixture import MixedImages
from unpairaug.data.shards import ShardImages
from unpairaug.data.storage import is_url
from unpairaug.errors import UserError

SHARDS, EACH = 6, 5


def picture(number: int, side: int = 20) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (side, side + number % 3, 3), np.uint8)


def png(number: int) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture(number)).save(data, format="PNG")
    return data.getvalue()


def write_index(tar: Path) -> None:
    """What `unpairaug prepare` leaves beside a shard."""
    samples = []
    with tarfile.open(tar) as archive:
        for member in archive:
            key, _, extension = member.name.partition(".")
            place = {"offset": member.offset_data, "size": member.size, "width": 1, "height": 1}
            samples.append({"key": key, "ext": extension, **place})
    values = {"version": 1, "shard": tar.name, "bytes": tar.stat().st_size, "samples": samples}
    tar.with_suffix(".index.json").write_text(json.dumps(values))


def write_list(folder: Path) -> None:
    shards = [{"shard": tar.name, "samples": EACH, "bytes": tar.stat().st_size} for tar in sorted(folder.glob("*.tar"))]
    (folder / "index.json").write_text(json.dumps({"version": 1, "shards": shards}))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """30 images as a folder `images`, as shards of others in `plain`, and as shards with indexes in `indexed`."""
    root = tmp_path_factory.mktemp("shards")
    for kind in ("plain", "indexed"):
        (root / kind).mkdir()
        for shard in range(SHARDS):
            with webdataset.TarWriter(str(root / kind / f"s-{shard:03}.tar")) as tar:
                for at in range(EACH):
                    number = EACH * shard + at
                    tar.write({"__key__": f"{number:03}", "png": png(number), "json": {"number": number}})
    for tar in sorted((root / "indexed").glob("*.tar")):
        with tarfile.open(tar) as archive:
            members = [(m, archive.extractfile(m).read()) for m in archive if m.name.endswith(".png")]
        with tarfile.open(tar, "w") as archive:
            for member, data in members:
                archive.addfile(member, io.BytesIO(data))
        write_index(tar)
    write_list(root / "indexed")
    for number in range(SHARDS * EACH):
        write_image(root / "images" / f"{number:03}.png", picture(number))
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    IMAGE_CACHE.clear()
    return tmp_path / "cache"


def far(folder: Path) -> str:
    """The files of the folder in fsspec's memory."""
    files = fsspec.filesystem("memory")
    for path in folder.iterdir():
        files.pipe_file(f"/{folder.name}/{path.name}", path.read_bytes())
    return f"memory://{folder.name}"


def crops(clean: ImageSet, degraded: ImageSet | None = None, **options) -> UnpairedCrops:
    return UnpairedCrops(clean, degraded or clean, **{"crop": 8, "scale": 1, "seed": 3, "lanes": 8, **options})


def same(a: UnpairedBatch, b: UnpairedBatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture(params=["folder", "pattern", "tar", "indexed", "memory", "indexed far"])
def source(request, home: Path) -> str:
    return {
        "folder": str(home / "plain"),
        "pattern": f"{home}/plain/s-{{000..005}}.tar",
        "tar": str(home / "plain" / "s-000.tar"),
        "indexed": str(home / "indexed"),
        "memory": f"{far(home / 'plain')}/s-{{000..005}}.tar",
        "indexed far": far(home / "indexed"),
    }[request.param]


def test_every_kind_of_source_gives_the_images_of_the_folder_by_name_and_pixel(source: str, home: Path):
    images, folder = open_images(source, "clean", 1), FolderImages(home / "images")
    assert len(images) == (EACH if source.endswith("000.tar") else SHARDS * EACH) == len(images.names)
    for i in range(len(images)):
        assert images.stem(i) == folder.stem(i)
        assert np.array_equal(images[i], folder[i])
        assert images.read_bytes(i)[:4] == b"\x89PNG"
    assert images.location(0).endswith("s-000.tar/000.png") and images.names[0] == "s-000.tar/000.png"
    assert np.array_equal(pickle.loads(pickle.dumps(images))[2], folder[2])


def test_webdataset_reads_the_same_images(home: Path):
    images = open_images(str(home / "indexed"), "clean", 1)
    paths = [str(path) for path in sorted((home / "indexed").glob("*.tar"))]
    theirs = webdataset.WebDataset(paths, shardshuffle=False).decode("rgb8").to_tuple("__key__", "png")
    for i, (key, pixels) in enumerate(theirs):
        assert images.stem(i) == key and np.array_equal(images[i], pixels)
    assert i == SHARDS * EACH - 1


def test_few_images_in_shards_are_drawn_like_those_of_a_folder(home: Path):
    folder, shards = (crops(open_images(str(home / name), "clean", 1)) for name in ("images", "plain"))
    assert all(same(folder[k], shards[k]) for k in range(80))


@pytest.fixture(params=["folder", "shards", "walked", "far", "mixture", "walked mixture"])
def dataset(request, home: Path, monkeypatch) -> UnpairedCrops:
    if "walked" in request.param or request.param == "far":
        monkeypatch.setattr(order, "MAX_PERMUTED", 0)
    folder, shards = FolderImages(home / "images"), open_images(str(home / "plain"), "clean", 1)
    if "mixture" in request.param:
        return crops(MixedImages([folder, shards], [2.0, 1.0]), MixedImages([shards, folder], [1.0, 0.3]))
    if request.param == "far":
        shards = open_images(far(home / "indexed"), "clean", 1)
    return crops(folder if request.param == "folder" else shards, shards)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("processes", [1, 2])
def test_workers_and_processes_change_no_byte_of_the_sequence(dataset: UnpairedCrops, workers: int, processes: int):
    steps = 5
    expected = [dataset[k] for k in range(8 * steps)]
    ranks = [
        list(create_loader(dataset, StepBatches(0, steps, 8 // processes, rank=rank, processes=processes), workers))
        for rank in range(processes)
    ]
    assert all(len(batches) == steps for batches in ranks)
    found = [
        UnpairedBatch(*rows) for step in zip(*ranks, strict=True) for batch in step for rows in zip(*batch, strict=True)
    ]
    assert len(found) == len(expected) and all(map(same, found, expected))


@given(k=st.integers(0, 40))
@settings(max_examples=12)
def test_stopped_after_any_step_and_restored_the_rest_is_the_same(home_of_all, k: int):
    whole, fresh = home_of_all
    rest = list(create_loader(pickle.loads(fresh), StepBatches(k, k + 2, 4, accumulation=2)))
    assert len(rest) == 4 and all(map(same, rest, whole[2 * k : 2 * k + 4]))


@pytest.fixture(scope="module")
def home_of_all(home: Path):
    """42 steps of a mixture of a folder and walked shards, and what starts them anew."""
    known, order.MAX_PERMUTED = order.MAX_PERMUTED, 0
    try:
        sets = [FolderImages(home / "images"), open_images(str(home / "indexed"), "clean", 1)]
        dataset = crops(MixedImages(sets, [1.0, 2.0]))
    finally:
        order.MAX_PERMUTED = known
    fresh = pickle.dumps(dataset)
    return list(create_loader(dataset, StepBatches(0, 43, 4, accumulation=2))), fresh


def test_nothing_is_read_twice_in_an_epoch_over_processes_and_workers(home: Path, monkeypatch):
    monkeypatch.setattr(order, "MAX_PERMUTED", 0)
    images = open_images(str(home / "indexed"), "clean", 1)
    dataset = UnpairedCrops(images, images, crop=20, scale=1, seed=0, flip=False, rotate=False, lanes=6)
    marks = {picture(number)[:, :20].tobytes(): number for number in range(30) if number % 3 == 0}
    shown = []
    for rank in range(3):
        for batch in create_loader(dataset, StepBatches(0, 5, 2, rank=rank, processes=3), num_workers=2):
            pixels = batch.clean.permute(0, 2, 3, 1).numpy()
            shown += [image.tobytes() for image in pixels]
    assert len(shown) == len(set(shown)) == 30 and marks.keys() <= set(shown)


def test_far_images_of_a_batch_are_fetched_in_one_call(home: Path, monkeypatch):
    clean, degraded = (open_images(far(home / "indexed"), "clean", 1) for _ in range(2))
    calls = []
    memory = type(fsspec.filesystem("memory"))
    whole = memory.cat_ranges
    monkeypatch.setattr(
        memory, "cat_ranges", lambda self, paths, *a, **o: calls.append(len(paths)) or whole(self, paths, *a, **o)
    )
    list(create_loader(crops(clean, degraded), StepBatches(0, 1, 4)))
    assert calls == [4, 4], "one call for each side"


def test_an_index_that_was_made_is_kept_and_made_again_when_the_shard_changes(home: Path, tmp_path: Path, cache: Path):
    shard = tmp_path / "s.tar"
    shard.write_bytes((home / "plain" / "s-000.tar").read_bytes())
    assert len(open_images(str(shard), "clean", 1)) == EACH
    (kept,) = cache.rglob("*.json")
    kept.write_text("broken")
    assert len(open_images(str(shard), "clean", 1)) == EACH, "a broken copy does no harm"
    with webdataset.TarWriter(str(shard)) as tar:
        tar.write({"__key__": "only", "png": png(1)})
    assert open_images(str(shard), "clean", 1).stem(0) == "only"
    assert not list(cache.rglob("*.partial"))


def test_a_shard_cut_anywhere_is_named_with_how_far_it_is_whole(home: Path, tmp_path: Path):
    whole = (home / "plain" / "s-000.tar").read_bytes()
    images = open_images(str(home / "plain" / "s-000.tar"), "clean", 1)
    ends = [offset + size for _, offset, size in (images._byte_range(i) for i in range(EACH))]
    for size in [1, 511, 512, 600, *ends, ends[2] + 300, ends[-1] - 1]:
        (tmp_path / "s.tar").write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"s\.tar: (this shard is truncated|not a complete tar)") as error:
            open_images(str(tmp_path / "s.tar"), "clean", 1)
        if size in ends[1:]:
            assert f"whole are its first {ends.index(size)} images" in str(error.value) or "first" in str(error.value)


@pytest.mark.parametrize("kind", ["indexed", "listed"])
def test_an_index_of_another_shard_is_refused(home: Path, tmp_path: Path, kind: str):
    for name in ("s-000.tar", "s-000.index.json"):
        (tmp_path / name).write_bytes((home / "indexed" / name).read_bytes())
    if kind == "listed":
        write_list(tmp_path)
    with (tmp_path / "s-000.tar").open("ab") as tar:
        tar.write(b"\0" * 512)
    with pytest.raises(UserError, match=r"s-000\.tar: the shard has \d+ bytes, .* expects \d+: it is truncated or"):
        open_images(str(tmp_path), "clean", 1)[0]


@pytest.mark.parametrize(
    "values",
    [[], {}, {"version": 2}, {"version": 1, "bytes": 10, "samples": 3}, {"version": 1, "bytes": "x", "samples": []}],
)
def test_a_broken_index_is_named(home: Path, tmp_path: Path, values):
    (tmp_path / "s.tar").write_bytes((home / "plain" / "s-000.tar").read_bytes())
    (tmp_path / "s.index.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"s\.index\.json: not an index"):
        open_images(str(tmp_path / "s.tar"), "clean", 1)


@pytest.mark.parametrize("shard", ["../s.tar", "a/s.tar", "s.txt"])
def test_a_list_of_shards_names_nothing_outside_its_folder(tmp_path: Path, shard: str):
    entry = {"shard": shard, "samples": 1, "bytes": 1}
    (tmp_path / "index.json").write_text(json.dumps({"version": 1, "shards": [entry]}))
    with pytest.raises(UserError, match="is no shard of this folder"):
        open_images(str(tmp_path), "clean", 1)


def test_members_that_lead_out_write_nothing_and_are_named(tmp_path: Path):
    inside = tmp_path / "inside"
    inside.mkdir()
    with tarfile.open(inside / "s.tar", "w") as tar:
        for name in ("good.png", "../evil.png", "/evil.png", "a/../../evil.png", "._good.png", "note.txt"):
            member = tarfile.TarInfo(name)
            member.size = len(png(1))
            tar.addfile(member, io.BytesIO(png(1)))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    images = open_images(str(inside), "clean", 1)
    assert list(images.names) == ["s.tar/good.png"] and images[0].shape == (20, 21, 3)
    assert (
        "4 members are skipped, because they are no regular files or lead out" in images.remarks[0]
        and "../evil.png" in images.remarks[0]
    )
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == []


def test_a_shard_without_images_with_two_of_one_name_and_none_at_all_are_refused(tmp_path: Path):
    for name, members in {"none": ["a.txt"], "twice": ["a.png", "a.png"]}.items():
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            for member in members:
                tar.addfile(tarfile.TarInfo(member), io.BytesIO())
    for name, sentence in {"none": "no image in this shard", "twice": "two members", "absent": "no such file"}.items():
        with pytest.raises(UserError, match=rf"{name}\.tar: .*{sentence}"):
            open_images(str(tmp_path / f"{name}.tar"), "clean", 1)
    with pytest.raises(UserError, match="a pattern looks like"):
        open_images(f"{tmp_path}/s-{{000.tar", "clean", 1)


@pytest.mark.parametrize(
    "url", ["pipe:cat s.tar", "pipe: cat s.tar", "simplecache::pipe:cat s.tar", "pipe://x", "exec://x"]
)
def test_a_command_is_no_source(url: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "::" in url:
        url = url.replace("pipe:", "pipe://")
    with pytest.raises(UserError, match="data sources run no commands"):
        open_images(url, "clean", 1)


def test_unknown_addresses_and_empty_far_folders_are_told():
    with pytest.raises(UserError, match=r"no URL scheme 'htps'; did you mean 'https'"):
        open_images("htps://host/a.tar", "clean", 1)
    with pytest.raises(UserError, match="no shard in this folder"):
        open_images("memory://nothing", "clean", 1)
    with pytest.raises(UserError, match=r"memory://no/a\.tar: there is no such file"):
        open_images("memory://no/a.tar", "clean", 1)
    assert not is_url("photos:2020") and not is_url("C:/photos")


def test_a_folder_of_images_that_also_holds_a_tar_is_read_as_before(home: Path, tmp_path: Path):
    write_image(tmp_path / "a.png", picture(0))
    (tmp_path / "backup.tar").write_bytes((home / "plain" / "s-000.tar").read_bytes())
    (tmp_path / "index.json").write_text('["of some gallery"]')
    assert list(open_images(str(tmp_path), "clean", 1).names) == ["a.png"]


def test_few_indexes_are_held_at_a_time(home: Path, monkeypatch):
    from unpairaug.data import shards

    monkeypatch.setattr(shards, "MIN_HELD_IMAGES", 1)
    images = open_images(str(home / "indexed"), "clean", 1)
    assert isinstance(images, ShardImages)
    for i in range(len(images)):
        images.stem(i)
    assert len(images._index._known) <= 8
    assert os.path.exists(home / "indexed" / "index.json")
