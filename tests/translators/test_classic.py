"""What `classic`, the fixed degradation, does beyond the contract of `unpairaug.testing`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unpairaug.errors import UserError
from unpairaug.recipe import load_recipe
from unpairaug.registry import translators
from unpairaug.rng import sample_rng
from unpairaug.translators.classic import PIPELINE


def make(**options: Any) -> Any:
    return translators.build({"type": "classic", **options})


def image(batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, 24, 20, generator=torch.Generator().manual_seed(0))


def test_the_draws_of_an_image_do_not_depend_on_the_others_of_its_batch():
    classic, x = make(), image(4)
    together = classic.degrade(x, sample_rng(3, [4, 5, 6, 7]))
    alone = classic.degrade(x[2:3], sample_rng(3, [6]))
    assert torch.equal(together[2:3], alone)
    same_image = classic.degrade(x[:1].expand(4, -1, -1, -1), sample_rng(3, [4, 5, 6, 7]))
    assert len({degraded.numpy().tobytes() for degraded in same_image}) == 4


def test_a_second_order_applies_the_list_twice():
    once, twice = make(order=1), make(order=2)
    written_twice = make(pipeline=[*PIPELINE, *PIPELINE], order=1)
    results = [classic.degrade(image(), sample_rng(0, [0, 1])) for classic in (once, twice, written_twice)]
    assert torch.equal(results[1], results[2]) and not torch.equal(results[0], results[1])


def test_the_result_is_an_image_of_8_bits_where_the_source_was():
    degraded = make().degrade(image().to(memory_format=torch.channels_last).requires_grad_(), sample_rng(0, [0, 1]))
    assert degraded.dtype == torch.float32 and not degraded.requires_grad
    levels = degraded * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4) and degraded.min() >= 0 and degraded.max() <= 1


def test_the_default_blur_and_resampling_leave_a_ramp_where_it_is():
    moving = [{name: {**options, "p": 1.0}} for step in PIPELINE[:2] for name, options in step.items()]
    ramp = (torch.arange(63.0) * 4 / 255).expand(20, 3, 63, 63)  # 4 levels a pixel
    for x in (ramp, ramp.transpose(-1, -2)):
        degraded = make(pipeline=moving, order=2).degrade(x, sample_rng(0, range(20)))
        shift = (degraded - x)[..., 16:-16, 16:-16].mean((1, 2, 3)) * 255 / 4
        assert shift.abs().max() < 0.05  # pixels


def test_a_name_alone_is_a_transform_with_its_defaults():
    assert make(pipeline=["ToGray"]).config["pipeline"] == ({"ToGray": {}},)
    grey = make(pipeline=[{"ToGray": {"p": 1.0}}]).degrade(image())
    assert torch.equal(grey[:, 0], grey[:, 1])


@pytest.mark.parametrize(
    ("pipeline", "sentence"),
    [
        ([{"GaussianBlurr": {}}], r"pipeline\.0\.GaussianBlurr: .*did you mean 'GaussianBlur'"),
        (["GaussianBlurr"], r"pipeline\.0: .*did you mean 'GaussianBlur'"),
        (["HorizontalFlip"], "no transform 'HorizontalFlip' that leaves pixels in their places"),
        ([{"GaussianBlur": {"sigma": 1}}], r"GaussianBlur\.sigma: unknown key; did you mean 'sigma_limit'"),
        ([{"GaussNoise": {"p": 2}}], r"GaussNoise\.p: given 2, should be less than or equal to 1"),
        (["ToGray", {"GaussNoise": {"std_range": [0, 3]}}], r"pipeline\.1\.GaussNoise\.std_range: .* <= 1"),
        ([{"GaussNoise": 3}], r"pipeline\.0.*given 3, should be a section of options"),
        ([{"GaussNoise": {}, "ToGray": {}}], "should be one transform and its options"),
        ([{"AdvancedBlur": {"blur_limit": [1, 100000]}}], r"blur_limit\.1: given 100000, should be at most 512"),
        (["ToFloat"], "makes float32 .* should keep size and type"),
        (["HistogramMatching"], "hm_metadata"),
        ([], "given no transform; translator `bicubic`"),
    ],
)
def test_a_pipeline_that_cannot_work_is_refused_with_the_place_of_the_mistake(pipeline: list, sentence: str):
    with pytest.raises(UserError, match=sentence):
        make(pipeline=pipeline)


def test_a_wrong_option_is_named_with_its_line_before_anything_is_built(tmp_path: Path, checkout: Path):
    text = (checkout / "recipes" / "classic.yaml").read_text(encoding="utf-8").replace("std_range", "std_rang")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    line = next(i for i, row in enumerate(text.splitlines(), start=1) if "std_rang" in row)
    with pytest.raises(UserError, match=rf"mine\.yaml:{line}:.*GaussNoise\.std_rang: .*did you mean 'std_range'"):
        load_recipe(str(tmp_path / "mine.yaml"))


def test_the_recipe_shows_the_default():
    assert load_recipe("classic").translator == {**make().config, "measure": "none"}
