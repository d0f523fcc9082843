"""A few true pairs among unpaired samples."""

from pathlib import Path

import numpy as np
import pytest
import torch

from unpairaug.data import MemoryImages, StepBatches, UnpairedCrops, create_loader
from unpairaug.data.pair_share import CropsWithPairs, count_pairs, is_pair
from unpairaug.recipe import load_recipe
from unpairaug.training.training_data import open_data

SHARE = 0.25


def images(names: str, seed: int, side: int = 32) -> MemoryImages:
    random = np.random.default_rng(seed)
    return MemoryImages("toy", {f"{n}.png": random.integers(0, 256, (side, side, 3), dtype=np.uint8) for n in names})


@pytest.fixture
def mixed() -> CropsWithPairs:
    crops = UnpairedCrops(images("abc", 0), images("de", 1), crop=8, scale=1, seed=0)
    truth = images("xyz", 2)
    shown = MemoryImages("toy", {f"{n}.png": 255 - truth[i] for i, n in enumerate("xyz")})
    return CropsWithPairs(crops, UnpairedCrops(truth, shown, crop=8, scale=1, seed=0, paired=True), SHARE)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0])
def test_pairs_are_spread_evenly(share):
    index = torch.arange(3000)
    paired = is_pair(index, share)
    assert paired.sum() == count_pairs(torch.tensor([3000]), share) == pytest.approx(3000 * share, abs=1)
    gaps = torch.nonzero(paired).flatten().diff()
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_of_a_pair_clean_is_the_ground_truth_of_degraded_and_other_samples_stay_as_they_are(mixed):
    batch = mixed.__getitems__(list(range(16)))
    paired = is_pair(batch.index, SHARE)
    assert paired.sum() == 4
    assert torch.equal(batch.clean[paired], 255 - batch.degraded[paired])
    alone = mixed.crops.__getitems__(list(range(16)))
    assert torch.equal(batch.clean[~paired], alone.clean[~paired])
    assert torch.equal(batch.degraded[~paired], alone.degraded[~paired])


def test_batches_equal_singles_whatever_the_workers(mixed):
    batches = list(create_loader(mixed, StepBatches(0, 3, batch_size=5)))
    for batch in batches:
        for row, k in enumerate(batch.index.tolist()):
            one = mixed[k]
            assert torch.equal(one.clean, batch.clean[row]) and torch.equal(one.degraded, batch.degraded[row])
    others = create_loader(mixed, StepBatches(0, 3, batch_size=5), num_workers=2)
    for batch, other in zip(batches, others, strict=True):
        assert torch.equal(batch.clean, other.clean) and torch.equal(batch.degraded, other.degraded)


def test_each_pair_is_read_once_an_epoch(mixed):
    names = [mixed.locate(k) for k in range(12) if is_pair(torch.tensor([k]), SHARE)]
    assert len(set(names)) == len(names) == 3


def test_a_recipe_mixes_its_pairs_into_the_samples():
    recipe = load_recipe("smoke", ["data.pairs_clean=sample", "data.pairs_degraded=sample", "bridge.pairs=0.5"])
    data = open_data(recipe)
    clean, degraded = data.samples(recipe.bridge.pairs).locate(1)
    assert Path(clean).name == Path(degraded).name
    assert {"pairs_clean", "pairs_degraded"} <= data.identity().keys() & data.report.sets.keys()
    without = open_data(load_recipe("smoke"))
    assert without.samples(recipe.bridge.pairs) is without.crops
