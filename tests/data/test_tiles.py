"""The tile engine, by laws: nothing is left out or kept twice, margins are whole, and blending adds up to one."""

from fractions import Fraction

import numpy as np
from hypothesis import given, strategies as st

from unpairaug.data.tiles import Box, split_axis, split_into_tiles, stitch

LENGTHS = st.integers(1, 90)
SIDES = st.integers(1, 100)
SMALL = st.integers(0, 20)
STEPS = st.sampled_from([1, 2, 4, 7])


@given(LENGTHS, LENGTHS, SIDES, SMALL, STEPS)
def test_what_is_kept_makes_up_the_image_without_gap_or_overlap(
    height: int, width: int, side: int, margin: int, step: int
):
    times = np.zeros((height, width), int)
    for tile in split_into_tiles(height, width, side, margin, step):
        times[tile.kept.slices] += 1
        assert max(tile.kept.bottom - tile.kept.top, tile.kept.right - tile.kept.left) <= max(side, step)
    assert (times == 1).all()


@given(LENGTHS, LENGTHS, SIDES, SMALL)
def test_what_is_seen_is_what_is_kept_and_the_margin_cut_at_the_edge_of_the_image(
    height: int, width: int, side: int, margin: int
):
    for seen, kept in split_into_tiles(height, width, side, margin):
        assert seen == Box(
            max(kept.top - margin, 0),
            max(kept.left - margin, 0),
            min(kept.bottom + margin, height),
            min(kept.right + margin, width),
        )


@given(LENGTHS, SIDES, SMALL, SMALL, STEPS)
def test_windows_begin_and_end_at_steps_or_at_the_edge_and_have_their_margin(
    length: int, side: int, margin: int, overlap: int, step: int
):
    for span in split_axis(length, side, margin, overlap, step):
        assert all(edge % step == 0 or edge == length for edge in (*span.seen, *span.kept))
        assert span.seen[0] <= max(span.blended[0] - margin, 0)
        assert span.seen[1] >= min(span.blended[1] + margin, length)


@given(LENGTHS, SIDES)
def test_tiles_are_as_few_as_can_be_and_equally_large(length: int, side: int):
    sides = [stop - start for _, _, (start, stop) in split_axis(length, side, 0)]
    assert len(sides) == -(-length // side)
    assert max(sides) - min(sides) <= 1


@given(LENGTHS, SIDES, SMALL, SMALL, STEPS, st.sampled_from([1, 2, 3]))
def test_weights_add_up_to_one_at_every_pixel(length: int, side: int, margin: int, overlap: int, step: int, scale: int):
    total = np.zeros(length * scale)
    for span in split_axis(length, side, margin, overlap, step):
        weights = span.weights(scale)
        assert (weights >= 0).all()
        total[scale * span.blended[0] : scale * span.blended[1]] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


@given(LENGTHS, LENGTHS, SIDES, SMALL, SMALL, STEPS, st.sampled_from([1, 2, 3]))
def test_stitching_what_only_enlarges_gives_the_enlarged_image(
    height: int, width: int, side: int, margin: int, overlap: int, step: int, scale: int
):
    image = np.random.default_rng(0).random((height, width, 2), np.float32)

    def enlarged(pixels: np.ndarray) -> np.ndarray:
        return pixels.repeat(scale, 0).repeat(scale, 1)

    strips = stitch(
        (height, width), lambda seen: enlarged(image[seen.slices]), side, margin, overlap, step=step, scale=scale
    )
    np.testing.assert_allclose(np.concatenate(list(strips)), enlarged(image), atol=1e-6)


@given(LENGTHS, LENGTHS, SIDES, SMALL)
def test_laid_side_by_side_the_image_comes_back_to_the_bit(height: int, width: int, side: int, margin: int):
    image = np.random.default_rng(0).random((height, width), np.float32)
    strips = stitch((height, width), lambda seen: image[seen.slices], side, margin)
    assert np.array_equal(np.concatenate(list(strips)), image)


@given(st.integers(1, 40), st.integers(1, 40), SIDES, SMALL, SMALL)
def test_a_result_smaller_than_the_image_is_stitched_likewise(
    height: int, width: int, side: int, margin: int, overlap: int
):
    image = np.random.default_rng(0).random((2 * height, 2 * width), np.float32)
    half = Fraction(1, 2)

    def means(pixels: np.ndarray) -> np.ndarray:
        return (pixels[::2, ::2] + pixels[1::2, ::2] + pixels[::2, 1::2] + pixels[1::2, 1::2]) / 4

    strips = stitch(image.shape, lambda seen: means(image[seen.slices]), side, margin, overlap, 2, half)
    np.testing.assert_allclose(np.concatenate(list(strips)), means(image), atol=1e-6)


@given(st.integers(30, 90), st.integers(10, 30), st.integers(1, 5))
def test_where_tiles_disagree_one_fades_into_the_other(length: int, side: int, overlap: int):
    levels = iter(range(10000))
    (strip,) = stitch((1, length), lambda seen: np.full((1, seen.right - seen.left), next(levels)), side, 0, overlap)
    reach = min(overlap, min(stop - start for _, _, (start, stop) in split_axis(length, side, 0)) // 2)
    assert np.abs(np.diff(strip[0])).max() <= 1 / (2 * reach) + 1e-6
