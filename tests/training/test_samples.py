"""Picture sheets: every picture in its place, true to the pixel."""

import numpy as np
import torch

from unpairaug.registry import tasks
from unpairaug.training.samples import GAP, TITLE, sheet, validation_sheet


def test_a_sheet_holds_every_picture_true_to_the_pixel():
    columns = [torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    picture = sheet(columns, ["a", "b", "c"])
    assert picture.shape == (TITLE + 2 * (128 + GAP), 3 * (128 + GAP), 3)
    for row, column in np.ndindex(2, 3):
        top, left = TITLE + row * (128 + GAP), column * (128 + GAP)
        expected = (columns[column][row] * 255).round().byte().permute(1, 2, 0).numpy()
        assert np.array_equal(picture[top : top + 128, left : left + 128], expected)


def test_small_pictures_are_enlarged_by_a_whole_factor():
    picture = sheet([torch.rand(1, 3, 32, 32)], ["a"])
    assert picture.shape == (TITLE + 128 + GAP, 128 + GAP, 3)
    enlarged = picture[TITLE : TITLE + 128, :128]
    assert np.array_equal(enlarged[::4, ::4].repeat(4, 0).repeat(4, 1), enlarged)


def test_a_validation_pair_is_shown_from_its_middle_beside_its_baseline():
    task = tasks.build({"type": "sr", "scale": 2, "head": {"type": "vdsr", "depth": 3, "width": 4}})
    clean = np.random.default_rng(0).integers(0, 256, (400, 300, 3), dtype=np.uint8)
    picture = validation_sheet(task, clean[::2, ::2], clean)
    assert picture.shape == (TITLE + 256 + GAP, 3 * (256 + GAP), 3)
    baseline, restored, truth = (picture[TITLE : TITLE + 256, at * 260 : at * 260 + 256] for at in range(3))
    assert np.array_equal(truth, clean[72:328, 22:278])
    assert np.array_equal(restored, baseline), "an untrained VDSR is bicubic interpolation"
