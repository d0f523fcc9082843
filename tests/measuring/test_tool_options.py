"""A measured camera as other tools' options: their keys, and ranges that hold the figures it was made with."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import yaml

from unpairaug.camera.measured_camera import CameraReport
from unpairaug.camera.noise import MeasuredNoise
from unpairaug.camera.spectra import BANDS, MIDDLES
from unpairaug.commands.measure import Tool
from unpairaug.measuring.measurement import Measurement
from unpairaug.measuring.tool_options import TOOLS, find_ranges, fit_sigma, format_options
from unpairaug.recipe import load_recipe
from unpairaug.translator import build_translator


def report(sigma: float = 1.2, level: float = 6.0, quality: int | None = 80) -> CameraReport:
    gain = torch.tensor([math.exp(-2 * (math.pi * sigma * f) ** 2) for f in MIDDLES])
    noise = MeasuredNoise(level, growth=0.25, light=0.4, energy=torch.ones(BANDS + 1), shared=0.1)
    return CameraReport(gain, noise, quality, 0.0, 1.0)


def measurement(quality: int | None = 80, sigma: float = 1.2) -> Measurement:
    halves = report(sigma * 1.3, 5.0, quality), report(sigma, 6.2, quality)
    return Measurement(build_translator({"type": "measured"}), report(sigma, 6.0, quality), halves, (30, 40))


def test_ranges_hold_what_all_images_and_both_halves_show():
    assert fit_sigma(report(0.9)) == pytest.approx(0.9, rel=0.01) and fit_sigma(report(0.0)) is None
    ranges = find_ranges(measurement(), scale=4)
    assert ranges.sigma == (1.08, 1.56) and ranges.noise == (5.0, 6.6) and ranges.jpeg == (75, 85)


def test_every_tool_gets_keys_that_it_has_and_what_is_absent_is_off():
    assert {*TOOLS} == {tool.value for tool in Tool}
    esrgan = yaml.safe_load(format_options(measurement(), 4, "real-esrgan"))
    assert esrgan["datasets"]["train"]["blur_sigma"] == [4.32, 6.24], "in pixels of the clean image"
    assert (
        esrgan["noise_range2"] == [5.0, 6.6] and esrgan["jpeg_range2"] == [75, 85] and esrgan["noise_range"] == [0, 0]
    )
    assert esrgan["gaussian_noise_prob2"] == 0.75 and esrgan["second_blur_prob"] == 0
    scale = esrgan["poisson_scale_range2"][0]
    assert 255 * scale * math.sqrt(0.4 / 256) == pytest.approx(5.0, rel=0.01), "the same level at the mean light"
    trainner = yaml.safe_load(format_options(measurement(None, sigma=0.0), 1, "traiNNer"))
    assert trainner["high_order_degradation"] and trainner["blur_prob"] == trainner["jpeg_prob2"] == 0.0
    assert "second_blur_prob" not in trainner


def test_albumentations_options_are_a_pipeline_of_classic():
    options = yaml.safe_load(format_options(measurement(), 2, "albumentations"))
    assert [next(iter(step)) for step in options["pipeline"]] == ["GaussianBlur", "GaussNoise", "ImageCompression"]
    translator = load_recipe("classic", {"translator": options}).translator
    assert translator["pipeline"][0]["GaussianBlur"]["sigma_limit"] == [1.08, 1.56]
    assert translator["pipeline"][1]["GaussNoise"]["std_range"] == pytest.approx([5 / 255, 6.6 / 255], abs=1e-4)


def test_ranges_of_a_camera_that_sharpens_reach_to_less_blur_and_more_noise():
    sharp = replace(report(0.6, 0.7), min_strength=0.5, max_perturbation=11.0)
    plain, wide = (
        find_ranges(Measurement(build_translator("measured"), r, (r, r), (30, 40)), 2)
        for r in (report(0.6, 0.7), sharp)
    )
    assert plain.sigma and wide.sigma and wide.sigma[0] < 0.8 * plain.sigma[0] and wide.sigma[1] == plain.sigma[1]
    assert plain.noise == (0.63, 0.77) and wide.noise == (0.63, pytest.approx(11.02, abs=0.01))
