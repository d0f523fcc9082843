"""Restoring an image: tiles equal the whole, any size, depth and memory works, and the model is left as it was."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from PIL import Image
from skimage.data import astronaut
from torch import Tensor, nn

from unpairaug.errors import UserError
from unpairaug.restoring.restore import (
    PIXELS_AT_ONCE,
    Bicubic,
    choose_tile,
    load_model,
    receptive_margin,
    restore_image,
)


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
    assert 16 + 6 < max(max(shape) for shape in toy.seen) <= 16 + 2 * 6


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
    with pytest.raises(UserError, match="tile 0 is invalid"):
        restore_image(Bicubic(2), photograph, 0)


def test_a_head_that_normalises_over_the_whole_image_is_not_cut_in_tiles(photograph: np.ndarray):
    toy = Toy()
    toy.body.append(nn.InstanceNorm2d(3))
    restore_image(toy, photograph, 75)  # one tile holds it all
    with pytest.raises(UserError, match="instance norm"):
        restore_image(toy, photograph, 74)


def test_a_head_that_makes_no_numbers_is_refused(toy: Toy, photograph: np.ndarray):
    nn.init.constant_(toy.body[0].weight, torch.nan)
    with pytest.raises(UserError, match="not finite"):
        restore_image(toy, photograph)


def as_floats(task: nn.Module, image: np.ndarray) -> np.ndarray:
    """What a head makes of an image, in [0, 1] and not yet rounded."""
    with torch.inference_mode():
        degraded = torch.from_numpy(image).permute(2, 0, 1)[None].float() / np.iinfo(image.dtype).max
        return task(degraded)[0].permute(1, 2, 0).clamp(0, 1).numpy()


def test_eight_bits_are_what_the_head_makes_rounded_once(toy: Toy, photograph: np.ndarray):
    assert np.array_equal(restore_image(toy, photograph), np.rint(as_floats(toy, photograph) * 255))


def test_sixteen_bits_come_out_in_sixteen_as_near_as_the_head_made_them(toy: Toy, photograph: np.ndarray):
    for layer in toy.body:
        if isinstance(layer, nn.Conv2d):
            layer.weight.data *= (
                0.4  # values near 1: single precision rounds those of several hundred to 5 of 65535 steps
            )
    deep = photograph.astype(np.uint16) * 257 + np.arange(53, dtype=np.uint16)[:, None]
    restored = restore_image(toy, deep, 16)
    assert restored.dtype == np.uint16
    assert np.abs(restored - as_floats(toy, deep) * 65535).max() <= 1


def test_sixteen_bits_in_are_more_than_256_levels_out(photograph: np.ndarray):
    deep = photograph.astype(np.uint16) * 257
    assert len(np.unique(deep)) <= 256
    assert len(np.unique(restore_image(Bicubic(2), deep))) > 10 * 256


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_scale_one_leaves_every_level_of_grey_and_colour_as_it_is(depth: type):
    levels = np.arange(np.iinfo(depth).max + 1).astype(depth).reshape(-1, 64)
    assert np.array_equal(restore_image(Bicubic(1), levels, 32), levels)
    colour = np.dstack([levels, levels[::-1], levels.T.reshape(levels.shape)])
    assert np.array_equal(restore_image(Bicubic(1), colour, 32), colour)


def test_grey_is_the_mean_of_what_the_head_makes_of_three_equal_channels(toy: Toy, photograph: np.ndarray):
    grey = photograph[..., 1]
    expected = as_floats(toy, np.dstack([grey] * 3))
    with torch.inference_mode():  # not clamped before the mean
        expected = toy(torch.from_numpy(np.stack([grey] * 3))[None].float() / 255)[0].mean(0).clamp(0, 1).numpy()
    assert np.array_equal(restore_image(toy, grey), np.rint(expected * 255))
    assert steps_apart(restore_image(toy, grey, 16), restore_image(toy, grey)) <= 1


class Square(nn.Module):
    """One convolution before enlargement, which treats turns and flips as its kernel does."""

    scale = 2
    receptive_margin = 3

    def __init__(self, kernel: ArrayLike) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.tensor(kernel, dtype=torch.float32).expand(3, 1, 3, 3))

    def forward(self, degraded: Tensor) -> Tensor:
        return Bicubic(2)(nn.functional.conv2d(degraded, self.kernel, padding=1, groups=3))


SYMMETRIC = [[0.1, 0.2, 0.1], [0.2, -0.3, 0.2], [0.1, 0.2, 0.1]]
LOPSIDED = [[0.5, 0.2, 0.0], [0.4, -0.3, 0.2], [0.1, 0.0, -0.2]]


def test_self_ensemble_changes_nothing_for_a_head_that_treats_all_turns_alike(photograph: np.ndarray):
    head = Square(SYMMETRIC)
    assert steps_apart(restore_image(head, photograph, ensemble=True), restore_image(head, photograph)) <= 1


@pytest.mark.parametrize("tile", [None, 16])
def test_self_ensemble_treats_every_turn_and_flip_of_an_image_alike(photograph: np.ndarray, tile: int | None):
    head = Square(LOPSIDED)
    restored = restore_image(head, photograph, tile, ensemble=True)
    for turns in range(4):
        turned = restore_image(head, np.rot90(photograph, turns), tile, ensemble=True)
        assert steps_apart(np.rot90(turned, -turns), restored) <= 1
        mirrored = restore_image(head, np.fliplr(np.rot90(photograph, turns)), tile, ensemble=True)
        assert steps_apart(np.rot90(np.fliplr(mirrored), -turns), restored) <= 1
    assert steps_apart(restore_image(head, np.fliplr(photograph)), np.fliplr(restore_image(head, photograph))) > 1


def test_self_ensemble_is_the_mean_of_eight_before_rounding(photograph: np.ndarray):
    head = Square(LOPSIDED)
    kernels = [np.rot90(kernel, turns) for kernel in (LOPSIDED, np.transpose(LOPSIDED)) for turns in range(4)]
    alike = np.mean(kernels, axis=0)
    assert steps_apart(restore_image(head, photograph, ensemble=True), restore_image(Square(alike), photograph)) <= 1


class Needy(nn.Module):
    """A head whose memory holds so many pixels; `error` is what it raises beyond."""

    scale = 2
    receptive_margin = 2

    def __init__(self, pixels: int, error: RuntimeError | None = None) -> None:
        super().__init__()
        self.pixels, self.error, self.seen = pixels, error or torch.OutOfMemoryError("CUDA out of memory"), []

    def forward(self, degraded: Tensor) -> Tensor:
        self.seen.append(tuple(degraded.shape[-2:]))
        if degraded.shape[-1] * degraded.shape[-2] > self.pixels:
            raise self.error
        return Bicubic(2)(degraded)


CPU_ERRORS = [
    "[enforce fail at alloc_cpu.cpp:128] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8",
    "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
]


@pytest.mark.parametrize("error", [None, *map(RuntimeError, CPU_ERRORS)])
def test_out_of_memory_halves_the_tile_until_it_fits_and_says_so(
    error: RuntimeError | None, caplog: pytest.LogCaptureFixture
):
    image = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
    head = Needy(54**2, error)
    with caplog.at_level(logging.WARNING):
        restored = restore_image(head, image)
    assert steps_apart(restored, restore_image(Bicubic(2), image)) <= 1
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "tiles of 200 px do not fit into the memory of cpu; continuing with tiles of 100 px",
        "tiles of 100 px do not fit into the memory of cpu; continuing with tiles of 50 px",
    ]


def test_a_head_that_fits_no_tile_or_cannot_work_in_tiles_is_told_from_one_that_is_wrong(photograph: np.ndarray):
    with pytest.raises(UserError, match="not even tiles of 37 px fit into the memory of cpu"):
        restore_image(Needy(0), photograph)
    stubborn = Needy(0)
    stubborn.norm = nn.InstanceNorm2d(3)
    with pytest.raises(UserError, match=r"image of 75 px .* instance norm"):
        restore_image(stubborn, photograph)
    with pytest.raises(RuntimeError, match="another fault"):
        restore_image(Needy(0, RuntimeError("another fault")), photograph)


def test_a_real_lack_of_memory_on_the_cpu_is_known_for_one():
    class Greedy(Needy):
        def forward(self, degraded: Tensor) -> Tensor:
            torch.empty(2**60 if degraded.shape[-1] > 40 else 1)
            return Bicubic(2)(degraded)

    image = np.zeros((9, 70, 3), np.uint8)
    assert restore_image(Greedy(0), image).shape == (18, 140, 3)


def test_by_default_large_images_are_cut_so_that_no_more_than_a_bound_is_restored_at_once():
    for scale in (1, 2, 4):
        fitting = int(PIXELS_AT_ONCE**0.5) // scale
        assert choose_tile(Bicubic(scale), fitting, fitting) is None
        tile = choose_tile(Bicubic(scale), 4000, 6000)
        assert tile is not None and (tile * scale) ** 2 <= PIXELS_AT_ONCE
    stubborn = Bicubic(1)
    stubborn.norm = nn.InstanceNorm2d(3)
    assert choose_tile(stubborn, 4000, 6000) is None


class Brightness(nn.Module):
    """Says nothing of its margin and looks at all that it is given: its mean."""

    scale = 1

    def forward(self, degraded: Tensor) -> Tensor:
        return degraded + 0.5 - degraded.mean((2, 3), keepdim=True)


def test_tiles_of_a_head_that_looks_at_the_whole_image_fade_into_each_other():
    image = np.zeros((64, 256, 3), np.uint8)
    image[:, 128:] = 200  # as a ramp of which every tile sees another part, so that each shifts it otherwise
    image[:] = np.linspace(0, 200, 256)[None, :, None]
    restored = restore_image(Brightness(), image, 64).astype(int)
    assert np.abs(np.diff(restored, axis=1)).max() <= 4
    alone = Brightness()
    alone.receptive_margin = 0
    assert np.abs(np.diff(restore_image(alone, image, 64).astype(int), axis=1)).max() > 20


class Pooled(nn.Module):
    """Shrinks what it is given four times and enlarges it, as U-shaped networks do: it matters where a tile begins."""

    scale = 1

    def forward(self, degraded: Tensor) -> Tensor:
        height, width = degraded.shape[-2:]
        padded = nn.functional.pad(degraded, (0, -width % 16, 0, -height % 16), mode="replicate")
        means = nn.functional.avg_pool2d(padded, 16)
        return nn.functional.interpolate(means, scale_factor=16)[..., :height, :width]


@pytest.mark.parametrize("tile", [10, 24, 40])
def test_a_head_that_shrinks_the_image_meets_it_in_tiles_where_it_does_in_the_whole(photograph: np.ndarray, tile: int):
    assert steps_apart(restore_image(Pooled(), photograph, tile), restore_image(Pooled(), photograph)) <= 1
