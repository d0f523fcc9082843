"""Random numbers that belong to a sample, for torch, NumPy and any other library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unpairaug.rng import PositionRng, Rng, TileNumbers, image_seeds, normal, numpy_generators, sample_rng, uniform


def test_a_batch_draws_what_its_samples_draw_alone():
    like = torch.empty(0)
    together = normal((4, 3), like, sample_rng(1, [5, 6, 7, 8]))
    alone = torch.cat([normal((1, 3), like, sample_rng(1, [i])) for i in [5, 6, 7, 8]])
    assert torch.equal(together, alone)
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("draw", [normal, uniform])
def test_a_window_of_an_image_draws_what_the_whole_image_draws_there(draw):
    like, image = torch.empty(0), (0, 0, 150, 130)
    whole = PositionRng(7, image)
    first, latent, second = (draw(shape, like, whole) for shape in ((1, 3, 150, 130), (1, 5), (1, 1, 150, 130)))
    for top, left, bottom, right in [(0, 0, 10, 20), (60, 63, 129, 65), (149, 128, 150, 130), (1, 2, 150, 130)]:
        rng, size = PositionRng(7, (top, left, bottom, right)), (bottom - top, right - left)
        assert draw((1, 3, *size), like, rng).equal(first[..., top:bottom, left:right])
        assert draw((1, 5), like, rng).equal(latent)
        assert draw((1, 1, *size), like, rng).equal(second[..., top:bottom, left:right])
    assert not draw((1, 3, 150, 130), like, PositionRng(8, image)).equal(first)
    squares = [first[0, 0, y : y + 64, x : x + 64] for y in (0, 64) for x in (0, 64)]
    assert not any(squares[i].equal(squares[j]) for i in range(4) for j in range(i))


def seeds(images: Tensor, rng: Rng) -> list[list[int]]:
    return image_seeds(images, rng)


def numpy_draws(images: Tensor, rng: Rng) -> list[list[float]]:
    return [generator.random(3).tolist() for generator in numpy_generators(images, rng)]


OTHER_LIBRARIES = pytest.mark.parametrize("draw", [seeds, numpy_draws])


@OTHER_LIBRARIES
def test_the_same_rng_gives_the_same_numbers_for_other_libraries(draw: Callable[..., list[Any]]):
    images = torch.rand(3, 3, 4, 5)
    makers: list[Callable[[int], Rng]] = [
        lambda seed: sample_rng(seed, range(3)),
        lambda seed: torch.Generator().manual_seed(seed),
        lambda seed: PositionRng(seed, (0, 0, 4, 5)),
    ]
    for make in makers:
        first, again, other = (draw(images, make(seed)) for seed in (1, 1, 2))
        assert first == again and first != other
        assert len({tuple(numbers) for numbers in first}) == 3, "each image has its own"


@OTHER_LIBRARIES
def test_without_an_rng_the_global_generator_of_torch_decides(draw: Callable[..., list[Any]]):
    images, results = torch.rand(3, 3, 4, 5), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(draw(images, None))
    assert results[0] == results[1] != results[2]


@OTHER_LIBRARIES
def test_a_batch_gives_other_libraries_what_its_samples_give_alone(draw: Callable[..., list[Any]]):
    images = torch.rand(4, 3, 4, 5)
    together = draw(images, sample_rng(1, [5, 6, 7, 8]))
    assert together == [draw(images[:1], sample_rng(1, [i]))[0] for i in (5, 6, 7, 8)]


@OTHER_LIBRARIES
def test_every_window_of_an_image_gives_other_libraries_the_same_numbers(draw: Callable[..., list[Any]]):
    windows = [(0, 0, 2, 2), (0, 0, 200, 90), (64, 3, 70, 40)]
    found = [draw(torch.rand(1, 3, w[2] - w[0], w[3] - w[1]), PositionRng(7, w)) for w in windows]
    assert found[0] == found[1] == found[2]


def test_a_second_call_draws_new_numbers():
    rng = sample_rng(1, range(2))
    assert image_seeds(torch.rand(2, 3, 4, 4), rng) != image_seeds(torch.rand(2, 3, 4, 4), rng)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
def test_seeds_do_not_depend_on_the_type_of_the_images(dtype: torch.dtype):
    images = torch.zeros(2, 3, 4, 4)
    assert image_seeds(images.to(dtype), sample_rng(0, range(2))) == image_seeds(images, sample_rng(0, range(2)))


def test_seeds_are_whole_numbers_below_2_to_the_24_spread_over_that_range():
    found = np.array(image_seeds(torch.zeros(2000, 3, 1, 1), torch.Generator().manual_seed(0)))
    assert found.shape == (2000, 2) and found.dtype.kind == "i"
    assert found.min() >= 0 and found.max() < 2**24
    assert abs(found.mean() / 2**24 - 0.5) < 0.02 and len(np.unique(found)) > 3990


def test_no_images_have_no_seeds():
    assert image_seeds(torch.empty(0, 3, 4, 4)) == [] and numpy_generators(torch.empty(0, 3, 4, 4)) == []


def test_tiles_of_one_generator_draw_what_the_whole_image_draws():
    like, tiles, whole = torch.empty(0), TileNumbers(torch.Generator().manual_seed(3), (40, 30)), [(0, 0, 40, 30)]
    one = torch.Generator().manual_seed(3)
    expected = [draw(shape, like, one) for draw, shape in ((normal, (1, 3, 40, 30)), (uniform, (1, 1, 1, 1)))]
    for top, left, bottom, right in [(0, 0, 16, 30), (16, 5, 40, 30), *whole]:
        rng = tiles.begin((top, left, bottom, right))
        assert normal((1, 3, bottom - top, right - left), like, rng).equal(expected[0][..., top:bottom, left:right])
        assert uniform((1, 1, 1, 1), like, rng).equal(expected[1])
