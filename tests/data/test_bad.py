"""Bad files: refused, or named once, counted and replaced by what the seed says, whoever reads them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from unpairaug.data import FolderImages, StepBatches, UnpairedBatch, UnpairedCrops, create_loader, write_image
from unpairaug.data.bad import BadCount, BadImages
from unpairaug.data.image_cache import IMAGE_CACHE
from unpairaug.data.preflight import preflight
from unpairaug.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty images of noise, none of them decoded yet."""
    IMAGE_CACHE.clear()
    for i in range(40):
        write_image(
            tmp_path / "images" / f"{i:02}.png", np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)
        )
    return tmp_path / "images"


def crops(folder: Path, skip_bad: bool = True) -> UnpairedCrops:
    images = FolderImages(folder)
    return UnpairedCrops(images, images, crop=8, scale=1, seed=5, skip_bad=skip_bad)


def same(a: UnpairedBatch, b: UnpairedBatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_without_bad_files_skipping_changes_nothing(folder: Path):
    one, other = crops(folder), crops(folder, skip_bad=False)
    assert all(same(one[k], other[k]) for k in range(80))


def test_only_the_bad_file_is_replaced_and_by_the_same_image_for_any_number_of_workers(folder: Path):
    before = [crops(folder)[k] for k in range(80)]
    dataset = crops(folder)
    (folder / "07.png").write_bytes(b"")
    IMAGE_CACHE.clear()
    after = list(create_loader(dataset, StepBatches(0, 20, 4)))
    alone = [UnpairedBatch(*rows) for batch in after for rows in zip(*batch, strict=True)]
    changed = [k for k in range(80) if not same(before[k], alone[k])]
    assert 2 <= len(changed) <= 4, "twice on each side, in two epochs"
    for workers in (1, 3):
        fresh = crops_of(dataset)
        shared = list(create_loader(fresh, StepBatches(0, 20, 4), workers))
        assert all(map(same, after, shared))
        assert [where for where, _ in fresh.bad.pop_new()] == [f"{folder}/07.png"], "named once"


def crops_of(dataset: UnpairedCrops) -> UnpairedCrops:
    return UnpairedCrops(dataset.clean, dataset.degraded, crop=8, scale=1, seed=5, skip_bad=True)


def test_what_the_preflight_found_is_replaced_like_what_is_found_later(folder: Path):
    (folder / "07.png").write_bytes(b"x")
    later, known = crops(folder), crops(folder)
    report = preflight(known.clean, known.degraded, scale=1, crop=8, max_bad=0.1)
    assert [where for where, _ in report.bad] == [f"{folder}/07.png"] * 2
    assert "excluded: " in str(report) and report.checked == 80
    known.bad.add_all(report.bad)
    assert all(same(later[k], known[k]) for k in range(80))


def test_more_bad_files_than_allowed_are_refused_before_training(folder: Path):
    for i in range(3):
        (folder / f"{i:02}.png").write_bytes(b"x")
    images = FolderImages(folder)
    with pytest.raises(UserError, match=r"6 of 80 is more than data.max_bad 0.05 allows(.|\n)*00\.png"):
        preflight(images, images, scale=1, crop=8, max_bad=0.05)
    with pytest.raises(UserError, match="6 images cannot be used"):
        preflight(images, images, scale=1, crop=8)


def test_a_set_of_bad_files_alone_ends_with_their_names(folder: Path):
    dataset = crops(folder)
    for path in folder.iterdir():
        os.truncate(path, 9)
    with pytest.raises(UserError, match="100 images in a row cannot be used"):
        dataset[0]
    with pytest.raises(UserError, match="cannot be read"):
        preflight(dataset.clean, dataset.degraded, scale=1, crop=8, max_bad=1.0)


def test_the_share_counts_each_file_of_all_processes_once():
    mine = BadImages()
    mine.add("a", "a: known")
    count = BadCount(mine, 0.01, checked=50, count=1000, per_step=4)
    assert count.add([("a", "a: again"), ("b", "b: bad"), ("b", "b: bad too")]) == ["b: bad"]
    assert len(count) == 2 and count.add([("b", "b: bad")]) == []
    assert count.share(step=0) == 2 / 50, "the preflight looked at more than was shown"
    assert count.share(step=50) == 2 / 400
    assert count.share(step=10**6) == 2 / 1000


def test_a_resumed_run_reports_each_bad_image_once_and_those_that_waited_to_be_reported():
    images = BadImages()
    count = BadCount(images, max_bad=0.5, checked=10, count=10, per_step=1)
    images.add("a", "a is bad")
    assert count.add(images.pop_new()) == ["a is bad"]
    images.add("b", "b is bad")  # found, and not reported when the checkpoint is saved
    state = count.state_dict([images.unreported(), [("c", "c is bad")]])

    again = BadImages()
    resumed = BadCount(again, max_bad=0.5, checked=10, count=10, per_step=1)
    resumed.load_state_dict(json.loads(json.dumps(state)), rank=0, processes=1)
    again.add("a", "a is bad")  # read again: it might have been repaired
    assert resumed.add(again.pop_new()) == ["b is bad", "c is bad"] and len(resumed) == 3
