"""What `cut` does beyond the contract of `unpairaug.testing`: its contrastive loss."""

from __future__ import annotations

from math import exp, log
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unpairaug.errors import UserError
from unpairaug.networks.generators import ResnetGenerator
from unpairaug.registry import translators
from unpairaug.rng import sample_rng
from unpairaug.translators.cut import patch_nce_loss

SMALL = {"ngf": 4, "n_blocks": 2, "layers": [0, 1, 2, 4], "discriminator": {"type": "patch", "ndf": 4, "n_layers": 1}}


def make(**options: Any) -> Any:
    torch.manual_seed(0)
    return translators.build({"type": "cut", **SMALL, **options})


def image(seed: int = 0, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, 16, 20, generator=torch.Generator().manual_seed(seed))


def losses(translator: Any, source: Tensor, real: Tensor) -> dict[str, Tensor]:
    translator.rng = sample_rng(0, range(len(source)))
    return translator.losses_g(source, real, translator.degrade(source))


def test_the_contrast_is_the_papers_formula():
    rng = torch.Generator().manual_seed(0)
    queries, keys = nn.functional.normalize(torch.randn(2, 2, 3, 5, generator=rng), dim=-1).unbind()
    expected = []
    for v, k in zip(queries.tolist(), keys.tolist(), strict=True):
        for i, query in enumerate(v):
            likeness = [exp(sum(a * b for a, b in zip(query, key, strict=True)) / 0.07) for key in k]
            expected.append(-log(likeness[i] / sum(likeness)))
    assert patch_nce_loss(queries, keys, 0.07).item() == pytest.approx(sum(expected) / len(expected), rel=1e-4)


def test_patches_that_are_found_at_their_own_places_cost_least():
    keys = torch.eye(8)[None]
    assert patch_nce_loss(keys, keys, 0.07) < 1e-4 < patch_nce_loss(keys.roll(1, 1), keys, 0.07)
    alike = torch.ones(1, 8, 4) / 2
    assert patch_nce_loss(alike, alike, 0.07).item() == pytest.approx(log(8), rel=1e-4)


def test_an_unchanged_image_costs_less_than_one_whose_content_has_moved():
    translator, source = make(), image()
    translator.rng = sample_rng(0, [0, 1])
    unchanged = translator.contrast(source, source)
    translator.rng = sample_rng(0, [0, 1])
    assert unchanged < translator.contrast(source.roll(4, -1), source)


def test_each_image_has_places_of_its_own_and_none_twice():
    translator, feature = make(num_patches=50), image()
    translator.rng = sample_rng(0, [5, 6])
    places = translator.places(feature)
    assert places.shape == (2, 50)
    assert all(len(set(row)) == 50 and min(row) >= 0 and max(row) < 320 for row in places.tolist())
    translator.rng = sample_rng(0, [6])
    assert torch.equal(translator.places(feature[1:]), places[1:])
    assert make(num_patches=1000).places(feature).sort(1).values.tolist() == [[*range(320)]] * 2


def test_the_contrast_of_a_batch_is_the_mean_of_its_images():
    translator, source, real = make(), image(), image(1)
    together = losses(translator, source, real)
    alone = []
    for i in (0, 1):
        translator.rng = sample_rng(0, [i])
        fake = translator.degrade(source[i : i + 1])
        alone.append(translator.losses_g(source[i : i + 1], real[i : i + 1], fake))
    for name in ("nce_degrade", "nce_identity"):
        assert together[name].item() == pytest.approx((alone[0][name] + alone[1][name]).item() / 2, rel=1e-4)


def test_fastcut_has_no_identity_term_and_a_weight_is_a_factor():
    found = losses(make(), image(), image(1))
    assert set(found) == {"gan_degrade", "nce_degrade", "nce_identity"}
    fast = losses(make(lambda_nce=10.0, lambda_identity=0.0), image(), image(1))
    assert set(fast) == {"gan_degrade", "nce_degrade"}
    assert fast["nce_degrade"].item() == pytest.approx(10 * found["nce_degrade"].item(), rel=1e-4)


def test_a_residual_generator_starts_as_the_image():
    with torch.no_grad():
        assert torch.allclose(make(residual=True).degrade(image()), image(), atol=1e-6)
        assert not torch.allclose(make().degrade(image()), image(), atol=0.1)


def test_the_source_is_what_the_fake_is_compared_with_and_gets_no_gradient():
    translator = make()
    translator.rng = sample_rng(0, [0, 1])
    made, given = image(1).requires_grad_(), image().requires_grad_()
    translator.contrast(made, given).backward()
    assert made.grad is not None and made.grad.any() and given.grad is None


def test_the_generators_features_are_what_it_computes_with():
    torch.manual_seed(0)
    generator, x = ResnetGenerator(4, 2), image()
    first, pixels = generator.features(x, [4, 0])
    assert torch.equal(pixels, 2 * x - 1)
    assert [f.shape[1] for f in generator.features(x, [0, 1, 2, 3, 4])] == [generator.width_of(i) for i in range(5)]
    assert torch.allclose(generator.body[11:](first) / 2 + 0.5, generator(x))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layers": [0, 5]}, "layers: given 5, should be at most 4, the last of 2 residual blocks"),
        ({"layers": []}, "layers: given none"),
        ({"num_patches": 1}, "num_patches"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_wrong_options_of_the_contrast_are_refused(options: dict[str, Any], sentence: str):
    with pytest.raises(UserError, match=sentence):
        make(**options)
