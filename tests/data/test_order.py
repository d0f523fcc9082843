"""Which image sample k shows: every image once an epoch, exact proportions, no sample before k needed."""

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from unpairaug.data import MemoryImages, order
from unpairaug.data.images import ImageSet
from unpairaug.data.mixture import MixedImages
from unpairaug.data.order import BLOCK, MixedOrder, ShardOrder, WholeOrder, image_order

PIXEL = np.zeros((1, 1, 3), np.uint8)
SIZES = st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(any)


def images(count: int, shards: list[int] | None = None) -> ImageSet:
    found = MemoryImages("memory", {f"{i}.png": PIXEL for i in range(count)})
    found.shard_sizes = None if shards is None else np.array(shards)
    return found


@given(sizes=SIZES, lanes=st.integers(1, 20), seed=st.integers(0, 2**40))
@settings(max_examples=60)
def test_a_walk_shows_every_image_exactly_once_in_every_epoch(sizes: list[int], lanes: int, seed: int):
    walk, count = ShardOrder(seed, 0, np.array(sizes), lanes), sum(sizes)
    for epoch in range(3):
        assert sorted(walk(epoch * count + j) for j in range(count)) == list(range(count))


def test_a_walk_differs_between_epochs_streams_seeds_and_members_of_a_mixture():
    sizes = np.full(12, 10)
    walks = [
        ShardOrder(0, 0, sizes, 4),
        ShardOrder(0, 1, sizes, 4),
        ShardOrder(1, 0, sizes, 4),
        ShardOrder(0, 0, sizes, 4, 1),
    ]
    seen = {tuple(walk(j) for j in range(120)) for walk in walks} | {tuple(walks[0](120 + j) for j in range(120))}
    assert len(seen) == 5


def test_processes_share_no_shard_but_where_their_stretches_meet():
    sizes, batch, processes = np.full(60, 20), 8, 4
    walk = ShardOrder(3, 0, sizes, batch)
    for epoch in range(2):
        shards = [set() for _ in range(processes)]
        for j in range(1200 * epoch, 1200 * (epoch + 1)):
            shards[j % batch // (batch // processes)].add(walk(j) // 20)
        assert sum(map(len, shards)) <= 60 + processes
        assert max(map(len, shards)) <= 60 // processes + 2


def test_a_lane_reads_a_few_shards_at_a_time_and_mixes_them():
    walk = ShardOrder(5, 0, np.full(80, 50), 4)
    lane = [walk(4 * row) // 50 for row in range(1000)]
    assert all(len(set(lane[at : at + 200])) <= 2 * order.WINDOW + 1 for at in range(0, 800, 50))
    assert np.mean(np.diff(lane) != 0) > 0.6, "neighbours come from different shards of the window"


def test_a_lane_leaves_the_order_inside_a_shard_too():
    walk = ShardOrder(5, 0, np.full(8, 50), 1)
    steps = np.diff([walk(j) for j in range(400)])
    assert np.mean(steps == 1) < 0.05


@given(k=st.integers(0, 2**50))
@settings(max_examples=30)
def test_any_sample_is_found_without_the_ones_before_it(k: int):
    sets = [images(7), images(20, [10, 10])]
    for make in (
        lambda: WholeOrder(1, 0, 9),
        lambda: ShardOrder(1, 0, np.array([4, 5]), 4),
        lambda: MixedOrder(1, 0, sets, [2.0, 0.7], 8),
    ):
        used = make()
        for j in range(0, 2000, 37):
            used(j)
        assert used(k) == make()(k) == pickle.loads(pickle.dumps(used))(k)


@given(
    weights=st.lists(st.floats(1e-3, 1e3).map(lambda w: round(w, 6)), min_size=1, max_size=6),
    lanes=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_proportions_are_exact_in_the_long_run(weights: list[float], lanes: int, seed: int):
    order.MAX_PERMUTED, whole = (0, order.MAX_PERMUTED)
    try:
        mixed = MixedOrder(seed, 0, [images(5, [5]) for _ in weights], weights, lanes)
    finally:
        order.MAX_PERMUTED = whole
    samples = 20 * BLOCK * lanes
    seen = Counter(mixed(k) // 5 for k in range(samples))
    for member, weight in enumerate(weights):
        assert abs(seen[member] - samples * weight / sum(weights)) <= 2 * len(weights) * lanes


def test_a_set_of_a_mixture_keeps_its_own_epochs():
    mixed = image_order(MixedImages([images(6), images(10)], [3.0, 1.0]), seed=2, stream=1, lanes=8)
    shown = [mixed(k) for k in range(4000)]
    for first, count in ((0, 6), (6, 10)):
        mine = [i for i in shown if first <= i < first + count]
        assert all(sorted(mine[at : at + count]) == list(range(first, first + count)) for at in range(0, 900, count))


def test_turns_of_a_mixture_follow_no_pattern():
    mixed = image_order(MixedImages([images(1), images(1)], [1.0, 1.0]), seed=0, stream=0, lanes=1)
    turns = np.array([mixed(k) for k in range(4096)])
    assert turns.mean() == 0.5
    assert max(abs(np.corrcoef(turns[lag:], turns[:-lag])[0, 1]) for lag in (1, 2, 4, 8, 16)) < 0.1


def test_a_set_of_small_weight_is_not_due_in_all_lanes_at_once(monkeypatch):
    monkeypatch.setattr(order, "MAX_PERMUTED", 0)
    mixed = image_order(MixedImages([images(1, [1]), images(1, [1])], [1000.0, 1.0]), seed=0, stream=0, lanes=16)
    rows = [k // 16 for k in range(16 * 4000) if mixed(k) == 1]
    assert len(set(row // 64 for row in rows)) > 30


def test_a_mixture_of_one_set_and_few_images_in_shards_are_ordered_like_the_images_alone():
    alone = image_order(images(40), seed=4, stream=0, lanes=1)
    for other in (MixedImages([images(40)], [2.5]), images(40, [30, 10])):
        ordered = image_order(other, seed=4, stream=0, lanes=8)
        assert [ordered(k) for k in range(100)] == [alone(k) for k in range(100)]


@pytest.mark.parametrize("count", [1, 5])
def test_a_walk_with_more_lanes_than_images_shows_them_all(count: int):
    walk = ShardOrder(0, 0, np.array([count]), 16)
    assert sorted(walk(j) for j in range(count)) == list(range(count))
