"""The order of the data: a pure function of (seed, sample), the same for any number of workers and processes."""

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from unpairaug.data import (
    FolderImages,
    MemoryImages,
    StepBatches,
    UnpairedBatch,
    UnpairedCrops,
    ValidationPairs,
    create_loader,
    write_image,
)
from unpairaug.data.augment import SYMMETRIES, Views, splitmix64
from unpairaug.errors import UserError
from unpairaug.training.step_reader import to_device


def coordinates(height: int, width: int, number: int) -> np.ndarray:
    """(H, W, 3): every pixel tells its row, its column and its image."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows, columns, np.full_like(rows, number)], axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Five clean images, four degraded ones, and the true twins (×2, each pixel doubled) of the degraded ones."""
    root = tmp_path_factory.mktemp("folders")
    for i in range(5):
        write_image(root / "clean" / f"c{i}.png", coordinates(40 + 8 * i, 60, i))
    for i in range(4):
        degraded = coordinates(30, 24 + 2 * i, i)
        write_image(root / "degraded" / f"d{i}.png", degraded)
        write_image(root / "twins" / f"d{i}.png", degraded.repeat(2, axis=0).repeat(2, axis=1))
    return {name: root / name for name in ("clean", "degraded", "twins")}


def crops(folders: dict[str, Path], clean: str = "clean", **options) -> UnpairedCrops:
    options = {"crop": 24, "scale": 2, "seed": 7, **options}
    return UnpairedCrops(FolderImages(folders[clean]), FolderImages(folders["degraded"]), **options)


def same(a: UnpairedBatch, b: UnpairedBatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_sample_is_a_crop_of_each_side_in_8_bits(folders):
    sample = crops(folders)[3]
    assert sample.clean.shape == (3, 24, 24) and sample.degraded.shape == (3, 12, 12)
    assert sample.clean.dtype == sample.degraded.dtype == torch.uint8 and int(sample.index) == 3


def test_a_batch_is_its_samples_and_reaches_the_device_in_the_range_0_to_1(folders):
    dataset = crops(folders)
    batch = dataset.__getitems__([3, 5])
    assert all(torch.equal(batch.clean[row], dataset[k].clean) for row, k in enumerate((3, 5)))
    images = to_device(
        UnpairedBatch(torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16), *batch[1:]), Accelerator(cpu=True)
    )
    assert images.clean.dtype == torch.float32 and images.clean.min() == 0 and images.clean.max() == 1
    assert torch.equal(images.clean.flatten(), torch.arange(256) / 255)
    assert images.degraded.is_contiguous(memory_format=torch.channels_last)


def test_a_sample_is_the_same_in_any_order_of_asking_and_in_another_process(folders):
    one, other = crops(folders), pickle.loads(pickle.dumps(crops(folders)))
    backwards = {k: other[k] for k in reversed(range(20))}
    assert all(same(one[k], backwards[k]) for k in range(20))
    assert all(same(pickle.loads(pickle.dumps(one))[k], backwards[k]) for k in range(3)), "pickled after use"


def test_another_seed_gives_another_sequence(folders):
    one, other = crops(folders), crops(folders, seed=8)
    assert sum(torch.equal(one[k].clean, other[k].clean) for k in range(20)) < 3


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(folders, workers):
    alone = list(create_loader(crops(folders), StepBatches(0, 6, 4)))
    shared = list(create_loader(crops(folders), StepBatches(0, 6, 4), num_workers=workers))
    assert len(alone) == 6 and all(map(same, alone, shared))
    assert isinstance(shared[0], UnpairedBatch) and shared[0].index.dtype == torch.int64


def test_two_processes_with_half_the_batch_see_in_each_step_what_one_process_sees(folders):
    alone = list(create_loader(crops(folders), StepBatches(0, 4, batch_size=4)))
    ranks = [list(create_loader(crops(folders), StepBatches(0, 4, 2, rank=r, processes=2))) for r in (0, 1)]
    for one, *split_scenes in zip(alone, *ranks, strict=True):
        assert same(one, UnpairedBatch(*map(torch.cat, zip(*split_scenes, strict=True))))


@pytest.mark.parametrize("accumulation,processes", [(1, 1), (2, 1), (1, 4), (2, 2), (4, 1)])
def test_however_a_step_is_cut_it_reads_the_same_samples(accumulation, processes):
    size = 8 // (accumulation * processes)
    cut = [list(StepBatches(3, 6, size, accumulation, rank, processes)) for rank in range(processes)]
    assert all(len(micros) == len(StepBatches(3, 6, size, accumulation)) == 3 * accumulation for micros in cut)
    for step in range(3):
        micros = [rank[step * accumulation : (step + 1) * accumulation] for rank in cut]
        seen = sorted(k for rank in micros for micro in rank for k in micro)
        assert seen == list(range((3 + step) * 8, (4 + step) * 8))


def test_starting_at_a_step_gives_the_tail_of_the_whole(folders):
    whole = list(create_loader(crops(folders), StepBatches(0, 7, 3, accumulation=2)))
    for start in (1, 4, 7):
        assert all(
            map(same, whole[2 * start :], create_loader(crops(folders), StepBatches(start, 7, 3, accumulation=2)))
        )


def test_each_side_shows_every_image_once_an_epoch_in_a_new_order(folders):
    dataset = crops(folders, flip=False, rotate=False)
    for side, count in (("clean", 5), ("degraded", 4)):
        shown = [int(getattr(dataset[k], side)[2, 0, 0]) for k in range(10 * count)]
        epochs = [tuple(shown[i : i + count]) for i in range(0, len(shown), count)]
        assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
        assert len(set(epochs)) > 5


def test_the_two_sides_are_drawn_independently(folders):
    dataset = crops(folders, flip=False, rotate=False)
    samples = [dataset[k] for k in range(400)]
    numbers = Counter((float(s.clean[2, 0, 0]), float(s.degraded[2, 0, 0])) for s in samples)
    assert len(numbers) == 5 * 4, "every clean image meets every degraded one"
    tops = np.array([(float(s.clean[0, 0, 0]), float(s.degraded[0, 0, 0])) for s in samples])
    assert abs(np.corrcoef(tops.T)[0, 1]) < 0.15
    others = UnpairedCrops(dataset.clean, FolderImages(folders["twins"]), crop=24, scale=2, seed=7)
    with_turns = crops(folders)
    assert all(torch.equal(with_turns[k].clean, others[k].clean) for k in range(20)), "one side ignores the other"


def test_crops_reach_every_place():
    images = MemoryImages("memory", {"a.png": coordinates(14, 12, 0)})
    dataset = UnpairedCrops(images, images, crop=8, scale=1, seed=0, flip=False, rotate=False)
    places = Counter(tuple(dataset[k].clean[:2, 0, 0].tolist()) for k in range(700))
    assert set(places) == {(row, column) for row in range(7) for column in range(5)}
    assert max(places.values()) < 3 * 700 / 35


@pytest.mark.parametrize("flip,rotate,count", [(True, True, 8), (True, False, 4), (False, True, 4), (False, False, 1)])
def test_flips_and_quarter_turns_are_all_equally_likely(folders, flip, rotate, count):
    dataset = crops(folders, flip=flip, rotate=rotate)
    seen = Counter()
    for k in range(400):
        rows, columns = dataset[k].degraded[0], dataset[k].degraded[1]
        corner = (rows[0, 0] < rows[-1, -1], columns[0, 0] < columns[-1, -1])
        seen[(*map(bool, corner), bool(rows[0, 0] == rows[0, -1]))] += 1
    assert len(seen) == count
    assert min(seen.values()) > 0.6 * 400 / count, "no flip follows another"


@pytest.mark.parametrize("side", [1, 2, 5])
@pytest.mark.parametrize("name", SYMMETRIES)
def test_a_symmetry_is_what_albumentations_calls_by_its_name(side, name):
    from albumentations.augmentations.geometric.functional import d4

    photograph = coordinates(9, 7, 3)
    photograph.flags.writeable = False
    window, out = photograph[2 : 2 + side, 1 : 1 + side], np.zeros((3, side, side, 3), np.uint8)
    SYMMETRIES[name](window, out[1])
    assert np.array_equal(out[1], d4(window, name)) and not out[::2].any()


def test_the_numbers_of_samples_are_those_of_splitmix64_and_differ_between_streams():
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert splitmix64(np.zeros(1, np.uint64), np.arange(3, dtype=np.uint64)).tolist() == published
    far = 2**62  # 3 k is more than 64 bits hold
    assert Views(1, 0)([far, 5]) == [*Views(1, 0)([far]), *Views(1, 0)([5])]
    assert not {*Views(1, 0)(range(99))} & ({*Views(1, 1)(range(99))} | {*Views(2, 0)(range(99))})


@pytest.mark.parametrize("flip,rotate", [(True, True), (True, False), (False, True), (False, False)])
def test_true_pairs_stay_aligned_through_crops_and_flips(folders, flip, rotate):
    dataset = crops(folders, clean="twins", paired=True, flip=flip, rotate=rotate)
    for k in range(60):
        sample = dataset[k]
        assert torch.equal(sample.clean, sample.degraded.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_a_crop_of_the_whole_image_works_from_read_only_pixels():
    images = MemoryImages("memory", {"a.png": coordinates(16, 16, 1)})
    sample = UnpairedCrops(images, images, crop=16, scale=1, seed=0, flip=False, rotate=False)[0]
    assert np.array_equal(sample.clean.permute(1, 2, 0), coordinates(16, 16, 1))
    assert torch.equal(sample.clean, sample.degraded)


def test_an_image_smaller_than_the_crop_and_a_crop_that_the_scale_does_not_divide_are_refused(folders):
    with pytest.raises(
        UserError, match=r"clean/c\d.png: 60×\d+ px is smaller than the crop of 64×64 px; give a smaller"
    ):
        crops(folders, crop=64)[0]
    with pytest.raises(UserError, match="crop 25 is not a positive multiple of the scale 2; try 24"):
        crops(folders, crop=25)
    with pytest.raises(UserError, match="crop 31 is not a positive multiple of the scale 3; try 30"):
        crops(folders, crop=31, scale=3)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_breaks_during_the_run_is_named_in_one_line(folders, tmp_path, workers):
    write_image(tmp_path / "a.png", coordinates(32, 32, 0))
    images = FolderImages(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    dataset = UnpairedCrops(FolderImages(folders["clean"]), images, crop=8, scale=1, seed=0)
    with pytest.raises(UserError, match=rf"^{tmp_path}/a\.png: the file is empty \(0 bytes\)[^\n]*$"):
        list(create_loader(dataset, StepBatches(0, 1, 2), workers))


def test_validation_pairs_match_by_name_whatever_the_extension(folders, tmp_path):
    write_image(tmp_path / "clean" / "a" / "1.png", coordinates(40, 60, 1))
    write_image(tmp_path / "clean" / "0801.png", coordinates(20, 20, 2))
    write_image(tmp_path / "degraded" / "a" / "1.ppm", coordinates(20, 30, 1))
    write_image(tmp_path / "degraded" / "0801x2.png", coordinates(10, 10, 2))  # as DIV2K names them
    pairs = ValidationPairs(FolderImages(tmp_path / "clean"), FolderImages(tmp_path / "degraded"), 2)
    assert [(p.name, p.clean.shape, p.degraded.shape) for p in pairs] == [
        ("0801", (20, 20, 3), (10, 10, 3)),
        ("a/1", (40, 60, 3), (20, 30, 3)),
    ]


def test_images_without_a_partner_and_of_one_name_are_listed(folders, tmp_path):
    with pytest.raises(UserError, match=r"9 of 9 images .* no partner: .*clean/c0\.png.* and 4 more"):
        ValidationPairs(FolderImages(folders["clean"]), FolderImages(folders["degraded"]), 2)
    write_image(tmp_path / "a.png", coordinates(8, 8, 0))
    write_image(tmp_path / "a.bmp", coordinates(8, 8, 0))
    with pytest.raises(UserError, match=r"a\.bmp and .*a\.png: two images of the same name"):
        ValidationPairs(FolderImages(tmp_path), FolderImages(tmp_path), 1)


@pytest.mark.parametrize("paired", [False, True])
def test_sizes_that_contradict_the_scale_are_named_with_the_scale_they_make(folders, paired):
    twins, degraded = FolderImages(folders["twins"]), FolderImages(folders["degraded"])
    message = (
        r"twins/d\d\.png: \d+×60 px, and its degraded image .*degraded/d\d\.png: \d+×30 px, imply a scale of 2, but "
    )
    with pytest.raises(UserError, match=message + r"task\.scale is 4; expected a clean image of \d+×120 px"):
        if paired:
            UnpairedCrops(twins, degraded, crop=8, scale=4, seed=0, paired=True)[0]
        else:
            ValidationPairs(twins, degraded, 4)[0]
