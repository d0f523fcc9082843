"""What is measured on unpaired images before training: the gain of the optics at each frequency, and the noise."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from dead_leaves import dead_leaves
from safetensors.torch import load_file
from torch import Tensor

from unpairaug.camera.jpeg import JpegFile
from unpairaug.camera.noise import MeasuredNoise, noise_before
from unpairaug.camera.optics import LARGE_IMAGE, Optics, believe_lift
from unpairaug.camera.spectra import BANDS, MIDDLES, kernel_of
from unpairaug.errors import UserError
from unpairaug.networks.filters import low_pass
from unpairaug.networks.noise import SignalDependentNoise
from unpairaug.recipe import load_recipe
from unpairaug.rng import sample_rng
from unpairaug.run import train
from unpairaug.training.build import build_trainer
from unpairaug.translator import Translator, build_translator, measure_camera

SCENES = 96
SEEN = 5
"""Rings in which a blurred image still shows something above its noise."""


@pytest.fixture(scope="module")
def scenes() -> tuple[Tensor, Tensor]:
    return dead_leaves(0, SCENES), dead_leaves(1, SCENES)


def noisy(images: Tensor, steps: float) -> Tensor:
    return images + steps / 255 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


def test_optics_change_nothing_before_they_are_measured():
    image = torch.rand(2, 3, 9, 5)
    assert torch.equal(Optics()(image), image)


@pytest.mark.parametrize(("height", "width"), [(128, 128), (131, 250)])
def test_large_images_are_filtered_as_small_ones(height: int, width: int):
    optics, image = Optics(), torch.rand(2, 3, height, width)
    optics.kernel.copy_(kernel_of(torch.linspace(1.0, 0.1, BANDS + 1), 15))
    whole = optics(image)
    for rows, columns in ((slice(0, 100), slice(0, 127)), (slice(-90, None), slice(-120, None))):
        part = optics(image[..., rows, columns])
        inner = slice(7, -7)
        assert torch.allclose(part[..., inner, inner], whole[..., rows, columns][..., inner, inner], atol=1e-6)
    corner = optics(image[..., :100, :100])[..., :93, :93]
    assert torch.allclose(corner, whole[..., :93, :93], atol=1e-6), "the border is repeated outwards"


def test_measuring_again_gives_the_same_gain_and_kernel():
    crops = [images.unfold(2, 32, 32).unfold(3, 32, 32) for images in (dead_leaves(0, 4), dead_leaves(1, 4))]
    source, other = (some.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 32, 32) for some in crops)
    optics = Optics()
    first = optics.measure(source, low_pass(other, 1.0), 4).gain
    kernel = optics.kernel.clone()
    again = optics.measure(source, low_pass(other, 1.0), 4).gain
    assert torch.equal(first, again) and torch.equal(kernel, optics.kernel)
    optics.measure(source, other, 4, is_same=True)
    assert torch.equal(optics.kernel, Optics().kernel), "where the optics are the same, they change nothing"


@pytest.mark.parametrize("level", [1.0, 0.5])
def test_a_flat_gain_keeps_every_pixel_where_it_is(level: float):
    kernel = kernel_of(torch.full((BANDS + 1,), 1.0), 15)
    assert kernel[7, 7] == pytest.approx(1) and kernel.abs().sum() == pytest.approx(1, abs=1e-5)
    halved = kernel_of(torch.full((BANDS + 1,), level), 15)
    assert halved.sum() == pytest.approx(1)
    assert torch.allclose(halved, halved.flip(0, 1)) and torch.allclose(halved, halved.T)


@pytest.mark.parametrize("steps", [0.0, 5.0])
def test_the_blur_of_other_scenes_is_measured_with_noise_and_without(scenes: tuple[Tensor, Tensor], steps: float):
    sigma = 1.0
    true = np.exp(-2 * (np.pi * sigma * np.array(MIDDLES)) ** 2)
    found = Optics().measure(scenes[0], noisy(low_pass(scenes[1], sigma), steps), SCENES).gain
    assert found[:SEEN].numpy() == pytest.approx(true[:SEEN], abs=0.1)


def test_optics_that_both_sides_share_stay_and_only_noise_is_measured(scenes: tuple[Tensor, Tensor]):
    """A denoiser is to remove the noise alone, however blurred other scenes seem."""
    optics, image, steps = Optics(), torch.rand(2, 3, 32, 32), 5.0
    gain, noise, _ = optics.measure(scenes[0], noisy(low_pass(scenes[1], 0.6), steps), SCENES, is_same=True)
    assert torch.equal(gain, torch.ones(BANDS + 1)) and torch.equal(optics(image), image)
    assert noise.level == pytest.approx(steps, rel=0.5)


def test_a_camera_that_sharpens_is_measured(scenes: tuple[Tensor, Tensor]):
    sharp = scenes[1] + 0.5 * (scenes[1] - low_pass(scenes[1], 2.0))
    found = Optics().measure(scenes[0], sharp, SCENES).gain
    assert found[3] / found[0] > 1.15


def test_other_scenes_alone_have_a_gain_of_1(scenes: tuple[Tensor, Tensor]):
    found = Optics().measure(scenes[0], scenes[1], SCENES).gain
    assert found.numpy() == pytest.approx(np.ones(BANDS + 1), abs=0.15)


def test_few_scenes_give_a_smaller_gain_above_1(scenes: tuple[Tensor, Tensor]):
    """The other image set has other scenes; the fewer they are, the less a gain above 1 is trusted."""
    sharp = scenes[1] + 0.5 * (scenes[1] - low_pass(scenes[1], 2.0))
    many, few = (Optics().measure(scenes[0], sharp, count)[0].max() for count in (96, 3))
    assert few < many and few < 1.1


def test_flat_images_have_a_gain_of_1_and_no_noise():
    flat = torch.full((8, 3, 32, 32), 0.5)
    gain, noise, _ = Optics().measure(flat, flat, SCENES)
    assert gain.numpy() == pytest.approx(np.ones(BANDS + 1), abs=1e-3)
    assert noise.level == pytest.approx(0, abs=1e-3)


def test_the_noise_of_bright_places_is_measured_where_the_calm_windows_are_dark(scenes: tuple[Tensor, Tensor]):
    """The variance of the noise grows with the light, so black windows have the least."""
    source, blurred = scenes[0], low_pass(scenes[1], 1.0)
    blurred[:16, :, :, :] = 0.02 * blurred[:16]
    real = blurred + 8 / 255 * blurred.sqrt() * torch.randn(blurred.shape, generator=torch.Generator().manual_seed(0))
    dark = float((real - blurred)[:16].std()) * 255
    assert Optics().measure(source, real.clamp(0, 1), SCENES)[1].level > 2 * dark


def test_the_order_of_the_crops_changes_nothing(scenes: tuple[Tensor, Tensor]):
    source, real = scenes[0], low_pass(scenes[1], 1.0)
    other = Optics().measure(source.flip(0), real[torch.randperm(len(real))], SCENES).gain
    assert torch.equal(Optics().measure(source, real, SCENES)[0], other)


@pytest.mark.parametrize("steps", [2.0, 8.0])
def test_white_noise_of_other_scenes_is_measured_as_white(scenes: tuple[Tensor, Tensor], steps: float):
    noise = measured_noise(scenes, noisy(torch.zeros_like(scenes[1]), steps))
    assert noise.level == pytest.approx(steps, rel=0.5)
    assert noise.shared < 0.25
    assert noise.energy[-1] > 0.2


@pytest.mark.parametrize(("black", "white"), [(6.0, 6.0), (2.0, 12.0)])
def test_the_growth_of_noise_with_light_is_measured_and_reproduced(
    scenes: tuple[Tensor, Tensor], black: float, white: float
):
    def true(light: Tensor) -> Tensor:
        return (black**2 + (white**2 - black**2) * light).sqrt()

    light = low_pass(scenes[1], 0.8).clamp(0, 1)
    noise = measured_noise(scenes, noisy(torch.zeros_like(light), 1.0) * true(light))
    made = SignalDependentNoise()
    made.start_at(noise.variance(0.0) ** 0.5 / 255, noise.variance(1.0) ** 0.5 / 255)
    for place in (0.2, 0.5, 0.8):
        with torch.no_grad():
            drawn = made(torch.full((1, 3, 128, 128), place), sample_rng(0, [0]))
        assert drawn.std() * 255 == pytest.approx(float(true(torch.tensor(place))), rel=0.25)


def measured_noise(scenes: tuple[Tensor, Tensor], noise: Tensor) -> MeasuredNoise:
    return Optics().measure(scenes[0], (low_pass(scenes[1], 0.8) + noise).clamp(0, 1), SCENES)[1]


def test_correlation_of_neighbours_and_channels_is_measured_and_reproduced(scenes: tuple[Tensor, Tensor]):
    grain = low_pass(noisy(torch.zeros_like(scenes[1]), 30.0), 0.8)
    grain = grain + 2 * grain.mean(1, keepdim=True)
    steps = float(grain.std()) * 255
    noise = measured_noise(scenes, grain)
    assert noise.level == pytest.approx(steps, rel=0.4)
    assert noise.shared > 0.5 and noise.energy[-1] < 0.2 < 2 < noise.energy[0]
    made = SignalDependentNoise(grain=7)
    made.start_with(noise.energy, noise.shared)
    made.start_at(noise.level / 255, noise.level / 255)
    with torch.no_grad():
        drawn = made(torch.full_like(grain, 0.5), sample_rng(0, range(len(grain))))
    assert drawn.std() * 255 == pytest.approx(noise.level, rel=0.1)
    neighbours = [float((one[..., 1:] * one[..., :-1]).mean() / one.square().mean()) for one in (grain, drawn)]
    assert neighbours[1] == pytest.approx(neighbours[0], abs=0.15)
    channels = [float((one[:, 0] * one[:, 1]).mean() / one.square().mean()) for one in (grain, drawn)]
    assert channels[1] == pytest.approx(channels[0], abs=0.2)


@pytest.mark.parametrize(("black", "white"), [(0.0, 0.0), (3.0, 8.0), (6.0, 6.0)])
def test_the_noise_before_a_jpeg_file_is_measured(scenes: tuple[Tensor, Tensor], black: float, white: float):
    source, other = (low_pass(images, 0.8) for images in scenes)
    rng = torch.Generator().manual_seed(1)
    deviation = torch.lerp(torch.tensor(black**2), torch.tensor(white**2), other).sqrt() / 255
    file = JpegFile()
    file.set(70)
    real = file((other + deviation * torch.randn(other.shape, generator=rng)).clamp(0, 1))
    found = noise_before(file, source, real)
    for light in (0.2, 0.7):
        true = (black**2 + (white**2 - black**2) * light) ** 0.5
        assert found.variance(light) ** 0.5 == pytest.approx(true, rel=0.25, abs=1.5 if white else 2.5)


def test_a_translator_degrades_as_the_measured_camera_before_it_has_learnt_and_is_loaded_as_saved(
    tmp_path, scenes: tuple[Tensor, Tensor]
):
    translator = build_translator({"type": "stochastic_cyclegan", "width": 4, "measure": "all"}).eval()
    blurred = low_pass(scenes[1], 1.0)
    found = measure_camera(translator, scenes[0], noisy(blurred, 4.0), SCENES)
    with torch.no_grad():
        fake = translator(scenes[1][:8], sample_rng(0, range(8)))
    away = fake - blurred[:8]
    assert away.std() * 255 == pytest.approx(found.noise.level, rel=0.2)
    assert low_pass(away, 1.0).abs().mean() < 0.5 * low_pass(scenes[1][:8] - blurred[:8], 1.0).abs().mean()
    translator.save_pretrained(tmp_path)
    with torch.no_grad():
        again = Translator.from_pretrained(tmp_path)(scenes[1][:8], sample_rng(0, range(8)))
    assert torch.equal(fake, again)


def test_with_measure_noise_there_is_no_gain_no_perturbation_and_full_strength(scenes: tuple[Tensor, Tensor]):
    translator = build_translator({"type": "stochastic_cyclegan", "width": 4, "measure": "noise"}).eval()
    found = measure_camera(translator, scenes[0], noisy(scenes[1], 4.0), SCENES)
    assert found.values().keys() == {"noise", "noise_growth"} and found.gain is None
    assert (translator.camera.max_perturbation, translator.camera.min_strength) == (0, 1)
    with torch.no_grad():
        added = translator(scenes[1][:8], sample_rng(0, range(8))) - scenes[1][:8]
    assert added.std() * 255 == pytest.approx(found.noise.level, rel=0.2)


@pytest.mark.parametrize(
    ("key", "instead"), [("strength", r"strength=\[0.5,1\]"), ("perturbation", r"perturbation=\[0,8\]")]
)
def test_measured_values_without_a_measured_camera_are_refused_with_what_to_give_instead(key: str, instead: str):
    recipe = load_recipe("cyclesr_sr", ["translator=bicubic", "bridge={}", f"bridge.{key}=measured"])
    recipe = recipe.resolve(steps_per_epoch=1)
    with pytest.raises(UserError, match=rf"bridge.{key}: measured needs .*translator.measure is none.*{instead}"):
        build_trainer(recipe, Accelerator(cpu=True))


def test_a_run_measures_its_camera_once_and_keeps_the_result(tmp_path):
    """A resumed run does not measure again, so its photographs need not be those of the start."""
    tiny = [
        "translator={type: stochastic_cyclegan, width: 4, depth: 3, measure: all}",
        "task.head={type: vdsr, depth: 3, width: 4}",
        "data.val_clean=null",
        "data.val_degraded=null",
        "train.select_checkpoint=false",
        "data.batch_size=2",
        f"output_dir={tmp_path}",
    ]
    kernels = []
    for steps in (1, 2):
        train("cyclesr_sr", [*tiny, f"train.steps={steps}"])
        kernels.append(load_file(tmp_path / "translator" / "model.safetensors")["camera.optics.kernel"])
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    (camera,) = (line for line in lines if line["split"] == "camera")
    assert torch.equal(*kernels) and kernels[0][7, 7] != 1
    assert camera["noise"] > 1 and camera[f"gain_{MIDDLES[4]:.3f}"] < 0.8


def test_what_follows_from_a_lift_has_no_threshold():
    lifts = np.linspace(0, 0.3, 301)
    beliefs = np.array([believe_lift(float(lift)) for lift in lifts])
    assert (np.diff(beliefs) > 0).all() and np.diff(beliefs).max() < 0.03
    assert believe_lift(0.0) == 0 and believe_lift(0.03) < 0.1 and believe_lift(0.094) > 0.9


def test_large_images_are_filtered_alike_in_single_and_double_precision_in_any_memory_format():
    optics, image = Optics(), torch.rand(1, 3, LARGE_IMAGE, LARGE_IMAGE + 9)
    optics.kernel.copy_(torch.rand(15, 15) / 112)
    expected = optics(image)
    optics.fft_dtype = torch.float32
    single = optics(image.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(single, expected, rtol=0, atol=2e-6)
    assert single.is_contiguous(memory_format=torch.channels_last)
