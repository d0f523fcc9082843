"""The image pool: what it shows to discriminators, and its state."""

import torch

from unpairaug.rng import sample_rng
from unpairaug.translators.base.image_pool import ImagePool


def fakes(step: int, batch: int) -> torch.Tensor:
    return torch.arange(batch).float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2) + 100 * step


def shown(pool: ImagePool, rows: slice, steps: range = range(30), batch: int = 4) -> list[torch.Tensor]:
    indices = [[batch * s + i for i in range(batch)][rows] for s in steps]
    return [pool.query(fakes(s, batch)[rows], sample_rng(0, i)) for s, i in zip(steps, indices, strict=True)]


def test_a_pool_shows_new_and_old_images_and_no_others():
    pool = ImagePool(12)
    ages = torch.stack([(s * 100 - x[:, 0, 0, 0]) // 100 for s, x in enumerate(shown(pool, slice(None)))])
    assert ages.min() < 0.5 <= ages.max()
    assert 0.3 < (ages[3:] < 0.5).float().mean() < 0.7


def test_a_pool_of_half_the_batch_shows_that_half_of_the_whole(monkeypatch):
    whole = shown(ImagePool(8), slice(None))
    half = ImagePool(4)  # two processes would each keep half of 8
    for a, b in zip(whole, shown(half, slice(2, 4)), strict=True):
        assert torch.equal(a[2:], b)


def test_a_pool_resumes_from_its_state():
    pool, resumed = ImagePool(8), ImagePool(8)
    shown(pool, slice(None), range(10))
    resumed.load_state(pool.state())
    rest = range(10, 20)
    for a, b in zip(shown(pool, slice(None), rest), shown(resumed, slice(None), rest), strict=True):
        assert torch.equal(a, b)


def test_a_pool_of_size_0_shows_every_fake():
    assert torch.equal(ImagePool(0).query(fakes(3, 2)), fakes(3, 2))


def test_a_pool_restored_from_an_empty_state_is_empty():
    pool = ImagePool(4)
    empty = pool.state()
    pool.query(torch.full((2, 1, 1, 1), torch.nan))
    pool.load_state(empty)
    assert torch.equal(pool.query(torch.ones(2, 1, 1, 1)), torch.ones(2, 1, 1, 1)) and pool.filled == 1
    assert pool.images is not None and bool(torch.isfinite(pool.images).all())
