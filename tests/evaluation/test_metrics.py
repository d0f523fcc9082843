"""The metrics follow the conventions in their names: formulas by hand, scikit-image and brute force agree."""

import warnings

import numpy as np
import pytest
from skimage.data import astronaut
from skimage.metrics import structural_similarity

from unpairaug.errors import UserError
from unpairaug.evaluation.metrics import METRICS, average_metrics, default_border, measure, psnr, psnr_shift, ssim, to_y


@pytest.fixture
def clean() -> np.ndarray:
    """Part of a photograph, (64, 80, 3) uint8."""
    return astronaut()[60:124, 180:260].copy()


@pytest.fixture
def noisy(clean: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 12, clean.shape)
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


def matlab_ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Wang et al.'s `ssim_index.m` on (H, W) in [0, 255], written out: an 11 px Gaussian, only where it fits."""
    axis = np.arange(11) - 5
    kernel = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.5**2))
    kernel /= kernel.sum()

    def blurred(image: np.ndarray) -> np.ndarray:
        return np.einsum("hwij,ij->hw", np.lib.stride_tricks.sliding_window_view(image, (11, 11)), kernel)

    x, y = first.astype(float), second.astype(float)
    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y, cov = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2, blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    index = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return float(index.mean())


@pytest.mark.parametrize(
    ("colour", "luma"),
    [
        ((255, 255, 255), 235.0),
        ((0, 0, 0), 16.0),
        ((255, 0, 0), 65.481 + 16),
        ((0, 255, 0), 128.553 + 16),
        ((0, 0, 255), 24.966 + 16),
        ((100, 150, 200), (65.481 * 100 + 128.553 * 150 + 24.966 * 200) / 255 + 16),
    ],
)
def test_luma_is_bt601_in_studio_range(colour: tuple[int, int, int], luma: float):
    assert to_y(np.full((2, 3, 3), colour, np.uint8)) == pytest.approx(np.full((2, 3), luma))


def test_psnr_is_the_formula(clean: np.ndarray, noisy: np.ndarray):
    error = np.mean((clean.astype(float) - noisy.astype(float)) ** 2)
    assert psnr(noisy, clean) == pytest.approx(10 * np.log10(255**2 / error))
    assert psnr(np.full((8, 8, 3), 110, np.uint8), np.full((8, 8, 3), 100, np.uint8)) == pytest.approx(
        28.1308, abs=1e-4
    )


def test_psnr_of_equal_images_is_infinite_without_a_warning(clean: np.ndarray):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert psnr(clean, clean) == psnr_shift(clean, clean) == np.inf


def test_ssim_is_that_of_scikit_image_and_of_the_matlab_code(clean: np.ndarray, noisy: np.ndarray):
    options = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert ssim(noisy, clean) == pytest.approx(
        structural_similarity(clean, noisy, channel_axis=2, **options), abs=1e-12
    )
    channels = [matlab_ssim(noisy[..., channel], clean[..., channel]) for channel in range(3)]
    assert ssim(noisy, clean) == pytest.approx(np.mean(channels), abs=1e-9)
    assert ssim(to_y(noisy), to_y(clean)) == pytest.approx(matlab_ssim(to_y(noisy), to_y(clean)), abs=1e-9)
    assert ssim(clean, clean) == pytest.approx(1)


def test_a_wrong_frame_within_the_border_changes_neither_psnr_nor_ssim(clean: np.ndarray, noisy: np.ndarray):
    framed = noisy.copy()
    framed[:2], framed[-2:], framed[:, :2], framed[:, -2:] = 0, 0, 0, 0
    before, after = measure(noisy, clean, border=2), measure(framed, clean, border=2)
    assert before == after
    assert measure(framed, clean, border=1)["psnr_rgb"] < after["psnr_rgb"]


def test_the_border_is_the_scale_and_none_where_the_size_stays():
    assert [default_border(scale) for scale in (1, 2, 3, 4)] == [0, 2, 3, 4]


def test_best_shift_forgives_a_shift_that_plain_psnr_does_not():
    scene = astronaut()[100:220, 150:290]
    clean, shifted = scene[20:100, 20:120], scene[23:103, 18:118]
    found = measure(shifted, clean)
    assert found["psnr_rgb_shift10"] == np.inf
    assert found["psnr_rgb"] < 25
    assert psnr_shift(shifted, clean, reach=2) < 25


def test_best_shift_is_that_of_all_441_shifts_one_by_one(clean: np.ndarray, noisy: np.ndarray):
    image = np.roll(noisy, (4, -7), axis=(0, 1))
    inner = image[10:-10, 10:-10].astype(float)
    height, width = inner.shape[:2]
    errors = [np.mean((inner - clean[y : y + height, x : x + width]) ** 2) for y in range(21) for x in range(21)]
    assert psnr_shift(image, clean) == pytest.approx(10 * np.log10(255**2 / min(errors)), abs=1e-9)
    assert psnr_shift(image, clean) >= psnr(image[10:-10, 10:-10], clean[10:-10, 10:-10])


def test_every_metric_is_measured_under_its_name(clean: np.ndarray, noisy: np.ndarray):
    found = measure(noisy, clean, border=3)
    assert tuple(found) == METRICS
    assert found["psnr_y"] == psnr(to_y(noisy), to_y(clean), 3)
    assert found["ssim_y"] == ssim(to_y(noisy), to_y(clean), 3)
    assert all(type(value) is float for value in found.values())


def test_the_mean_is_that_of_the_values_of_single_images():
    assert average_metrics([{"psnr_rgb": 20.0, "ssim_y": 0.5}, {"psnr_rgb": 30.0, "ssim_y": 0.7}]) == {
        "psnr_rgb": 25.0,
        "ssim_y": pytest.approx(0.6),
    }


@pytest.mark.parametrize(("height", "border", "needed"), [(20, 0, "21 x 21"), (10, 0, "11 x 11"), (24, 8, "27 x 27")])
def test_an_image_too_small_to_measure_is_refused_with_the_size_it_needs(height: int, border: int, needed: str):
    image = np.zeros((height, 40, 3), np.uint8)
    with pytest.raises(UserError, match=f"40 x {height} x 3 is too small.*so {needed} px"):
        measure(image, image, border)


def test_images_of_two_sizes_are_refused_with_both():
    with pytest.raises(UserError, match="restored image is 30 x 40 x 3 and the ground truth 31 x 40 x 3"):
        measure(np.zeros((40, 30, 3), np.uint8), np.zeros((40, 31, 3), np.uint8))


def test_a_negative_border_is_refused():
    image = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(UserError, match="border -1 is negative"):
        measure(image, image, border=-1)
