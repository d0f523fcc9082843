"""The random numbers of each sample, and the image pool."""

import pytest
import torch

from unpairaug.rng import PositionRng, normal, sample_rng, uniform
from unpairaug.translators.base.image_pool import ImagePool


def test_a_batch_draws_what_its_samples_draw_alone():
    like = torch.empty(0)
    together = normal((4, 3), like, sample_rng(1, [5, 6, 7, 8]))
    alone = torch.cat([normal((1, 3), like, sample_rng(1, [i])) for i in [5, 6, 7, 8]])
    assert torch.equal(together, alone)
    assert not torch.equal(together[0], together[1])


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
