"""Laws of what is said of noise: statistics of noise whose truth is known, and the page's program."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from unpairaug.registry import translators
from unpairaug.scoring.noise_statistics import (
    autocorrelation,
    colour_correlation,
    divergence,
    histogram,
    noise_level,
    separate_noise,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "noise.md"


def draws(spread: np.ndarray, light: np.ndarray, count: int = 6) -> np.ndarray:
    """Images (count, H, W, 3) of a light with normal noise of a spread, both (H, W, 3) in 8-bit steps."""
    normal = np.random.default_rng(0).standard_normal((count, *light.shape))
    return (light + spread * normal).round().clip(0, 255).astype(np.uint8)


def ramp(side: int = 128) -> np.ndarray:
    return np.broadcast_to(np.linspace(60, 200, side)[:, None], (side, side))[..., None].repeat(3, 2)


def test_the_noise_level_is_what_the_noise_was_made_with_whatever_the_number_of_draws():
    light = ramp()
    for count in (2, 6):
        seen = noise_level(*separate_noise(draws(np.sqrt(light), light, count)))  # variance = light
        known = ~np.isnan(seen.variance)
        assert known[4:12].all()
        assert not known[[0, 1, 14, 15]].any()
        assert np.allclose(seen.variance[4:12], seen.brightness[4:12], rtol=0.1)


def test_white_noise_is_like_itself_nowhere_else():
    _, noise = separate_noise(draws(np.array(8.0), ramp()))
    found = autocorrelation(noise)
    assert found[0, 0] == 1
    assert np.abs(found.ravel()[1:]).max() < 0.02
    assert np.abs(colour_correlation(noise) - np.eye(3)).max() < 0.02


def test_noise_that_neighbours_share_says_how_far_it_reaches_and_in_which_direction():
    noise = np.random.default_rng(0).standard_normal((4, 128, 128, 3))
    along = noise + np.roll(noise, 1, axis=2)  # neighbours in a row share half
    found = autocorrelation(along)
    assert found[0, 1] == pytest.approx(0.5, abs=0.02)
    assert np.abs(found[1:]).max() < 0.03
    assert np.abs(found[0, 2:]).max() < 0.03


def test_colours_that_share_their_noise_are_found():
    noise = np.random.default_rng(0).standard_normal((2, 64, 64, 3))
    noise[..., 1] = noise[..., 0]
    found = colour_correlation(noise)
    assert found[0, 1] == pytest.approx(1)
    assert abs(found[0, 2]) < 0.05


def test_a_histogram_holds_every_value_and_diverges_only_from_another():
    noise = np.random.default_rng(0).standard_normal((2, 64, 64, 3)) * 20
    found = histogram(noise, reach=10)
    assert found.sum() == pytest.approx(1)
    assert found[0] > found[1]  # all that is beyond
    assert divergence(found, found) == 0
    assert divergence(found, histogram(noise / 2, reach=10)) > 0.1


def test_the_program_of_the_page_measures_a_translator(tmp_path: Path, monkeypatch, capsys):
    torch.manual_seed(0)
    model = translators.build({"type": "one_sided", "width": 4, "depth": 2, "grain": 1})
    model.save_pretrained(tmp_path / "runs" / "denoise" / "translator")
    monkeypatch.chdir(tmp_path)
    program = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M))
    Path("noise_report.py").write_text(program["noise_report.py"], encoding="utf-8")
    left = runpy.run_path("noise_report.py")
    # Untrained, the translator makes white noise of 5 steps; the camera's is stronger, and shared by neighbours.
    assert np.allclose(left["model"]["strength"][4:12], 0.02 * 255, rtol=0.05)
    assert left["camera"]["strength"][8] > 10
    assert left["camera"]["autocorrelation"][0, 1] > 0.5 > abs(left["model"]["autocorrelation"][0, 1])
    assert "divergence of the histograms" in capsys.readouterr().out
