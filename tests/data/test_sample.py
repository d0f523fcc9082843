"""The sample photographs and the camera that training never sees."""

import numpy as np
import pytest
from PIL import Image

from unpairaug.data import ValidationPairs, open_images
from unpairaug.data.cameras import (
    CAMERAS,
    GRAIN_MIDDLE,
    GRAIN_READ,
    NOISE_MIDDLE,
    NOISE_READ,
    blur_kernel,
    defocus_kernel,
    optics,
    shake_kernel,
)
from unpairaug.data.drawn_camera import draw_camera, find_camera
from unpairaug.data.sample import CLEAN, DEGRADED, VAL
from unpairaug.errors import UserError

SCALES = (1, 2, 3, 4)


def test_no_scene_is_on_two_sides():
    assert len({*CLEAN, *DEGRADED, *VAL}) == len(CLEAN) + len(DEGRADED) + len(VAL)
    assert open_images("sample", "ceiling_clean", 2).names == open_images("sample", "degraded", 2).names


@pytest.mark.parametrize("scale", SCALES)
def test_degraded_images_are_twins_of_the_clean_ones_at_every_scale(scale):
    for clean, degraded in (("val_clean", "val_degraded"), ("ceiling_clean", "degraded")):
        pairs = ValidationPairs(open_images("sample", clean, scale), open_images("sample", degraded, scale), scale)
        assert len(pairs) >= 2 and all(pair.degraded.dtype == np.uint8 for pair in pairs)  # reading checks the sizes


def test_the_sample_is_small_enough_to_measure_on_often():
    pixels = [image.shape[0] * image.shape[1] for image in open_images("sample", "val_clean", 2)]
    assert sum(pixels) < 0.7e6
    assert all(max(image.shape) <= 1000 for image in open_images("sample", "clean", 2))


def test_another_scale_is_refused_and_a_folder_called_sample_needs_its_path(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="scale 1, 2, 3 and 4, not 8"):
        open_images("sample", "clean", 8)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"\./sample: there is no such folder"):
        open_images("./sample", "clean", 2)


@pytest.mark.parametrize("scale", SCALES)
def test_a_point_of_light_stays_in_its_place(scale):
    row, column, side = 20, 23, 44
    scene = np.zeros((side * scale, side * scale, 3), np.float32)
    scene[row * scale : (row + 1) * scale, column * scale : (column + 1) * scale] = 1  # one cell of the coarse grid
    seen = optics(scene, scale)[..., 0].astype(np.float64)
    spot = seen[row - 16 : row + 17, column - 16 : column + 17]
    np.testing.assert_allclose(spot, spot[::-1, ::-1], atol=1e-6)
    rows, columns = np.indices(seen.shape)
    centre = (rows * seen).sum() / seen.sum(), (columns * seen).sum() / seen.sum()
    np.testing.assert_allclose(centre, (row, column), atol=1e-4)
    kernel = blur_kernel(scale)
    assert kernel.sum() == pytest.approx(1) and np.array_equal(kernel, kernel[::-1, ::-1])


@pytest.mark.parametrize(
    "camera", ["lens", "blur", "noise", "compressed", "drawn-1", "drawn-4"]
)  # the blur of shake is in no image the same; its law is below
@pytest.mark.parametrize("scale", SCALES)
def test_a_photograph_is_not_shifted_against_its_bicubic_reduction(scale, camera):
    from skimage.registration import phase_cross_correlation

    clean = open_images("sample", "val_clean", scale)[0]
    height, width = (side // scale for side in clean.shape[:2])
    bicubic = np.asarray(Image.fromarray(clean).resize((width, height), Image.Resampling.BICUBIC))
    seen = find_camera(camera)(clean, scale, "a")
    assert seen.shape == bicubic.shape
    shift, _, _ = phase_cross_correlation(bicubic[..., 1].astype(float), seen[..., 1].astype(float), upsample_factor=50)
    assert np.abs(shift).max() <= 0.06, "pixels of the degraded image"


@pytest.mark.parametrize(
    ("camera", "middle", "black"), [("lens", NOISE_MIDDLE, NOISE_READ), ("noise", GRAIN_MIDDLE, GRAIN_READ)]
)
def test_noise_depends_on_the_name_alone_and_grows_with_the_light(camera, middle, black):
    see = CAMERAS[camera]
    grey = np.full((240, 240, 3), 128, np.uint8)
    assert np.array_equal(see(grey, 2, "a"), see(grey, 2, "a"))
    assert not np.array_equal(see(grey, 2, "a"), see(grey, 2, "b"))
    for level, expected in ((128, middle), (0, black)):
        seen = see(np.full_like(grey, level), 2, "a")
        # In black half of the noise is cut off at 0: what remains is seen in the root mean square of that half.
        spread = seen.std() if level else np.sqrt(2 * np.mean(seen.astype(float) ** 2))
        assert spread / 255 == pytest.approx(expected, rel=0.1)


def test_grain_is_shared_by_neighbours_and_colours_and_the_lens_camera_s_is_not():
    grey = np.full((240, 240, 3), 128, np.uint8)
    for camera, correlated in (("lens", False), ("noise", True)):
        noise = CAMERAS[camera](grey, 1, "a") - 128.0
        neighbours = np.mean(noise[:, 1:] * noise[:, :-1]) / noise.var()
        colours = np.corrcoef(noise.reshape(-1, 3).T)[0, 1]
        assert (neighbours > 0.3 and colours > 0.3) == correlated
        assert correlated or max(abs(neighbours), abs(colours)) < 0.05


@pytest.mark.parametrize("kernel_of", [shake_kernel, defocus_kernel])
@pytest.mark.parametrize("scale", SCALES)
def test_a_blur_that_differs_from_image_to_image_keeps_its_centre(kernel_of, scale):
    random = np.random.RandomState(0)
    kernels = [kernel_of(random, scale) for _ in range(20)]
    assert len({kernel.tobytes() for kernel in kernels}) == 20
    for kernel in kernels:
        rows, columns = np.indices(kernel.shape) - kernel.shape[0] // 2
        assert kernel.sum() == pytest.approx(1) and kernel.min() >= 0
        np.testing.assert_allclose(((rows * kernel).sum(), (columns * kernel).sum()), 0, atol=1e-9)


def test_drawn_cameras_differ_and_a_seed_gives_the_same_again():
    clean = open_images("sample", "val_clean", 2)[0]
    seen = [find_camera(f"drawn-{seed}")(clean, 2, "a") for seed in range(8)]
    assert len({image.tobytes() for image in seen}) == 8
    assert np.array_equal(find_camera("drawn-7")(clean, 2, "a"), seen[7])
    assert find_camera("drawn-") is None and find_camera("drawn-x") is None


def test_what_a_drawn_camera_lacks_is_not_in_its_image():
    grey = np.full((120, 120, 3), 128, np.uint8)
    cameras = [draw_camera(seed) for seed in range(200)]
    assert all(camera.blur or camera.noise or camera.quality for camera in cameras)
    for camera in cameras[:20]:
        assert (camera(grey, 2, "a").std() > 0.5) == (camera.noise is not None)
    present = [
        np.mean([getattr(camera, what) is not None for camera in cameras]) for what in ("blur", "noise", "quality")
    ]
    np.testing.assert_allclose(present, (0.8, 0.8, 0.5), atol=0.12)


def test_a_file_s_quality_and_a_lens_s_blur_are_seen_alone():
    clean = open_images("sample", "val_clean", 2)[0]
    lens, blur, compressed = (CAMERAS[camera](clean, 2, "a").astype(float) for camera in ("lens", "blur", "compressed"))
    assert np.array_equal(blur, CAMERAS["blur"](clean, 2, "b"))
    assert 4 < (lens - blur).std() < 8 and (compressed - lens).std() > 2


def test_a_source_names_its_camera_and_another_is_refused():
    lens, noise = (open_images(source, "degraded", 1) for source in ("sample", "sample:noise"))
    assert lens.names == noise.names and not np.array_equal(lens[0], noise[0])
    assert np.array_equal(open_images("sample:noise", "clean", 1)[0], open_images("sample", "clean", 1)[0])
    with pytest.raises(UserError, match=r"'sample:shaek': .*did you mean 'sample:shake'"):
        open_images("sample:shaek", "clean", 1)


def test_borders_are_as_bright_as_the_rest():
    flat = np.full((48, 36, 3), 0.25, np.float32)
    np.testing.assert_allclose(optics(flat, 2), np.full((24, 18, 3), 0.25), atol=1e-6)
