"""Laws of the scores of two unpaired sets: what each sees, what it is blind to, and what has no say in it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.data import astronaut, coffee
from typer.testing import CliRunner

from unpairaug.commands import _add_commands, app
from unpairaug.data.images import write_image
from unpairaug.errors import RunStopped, UserError
from unpairaug.registry import translators
from unpairaug.scoring.score_model import backbone_features, score_model
from unpairaug.scoring.scores import SCORES, score
from unpairaug.scoring.two_sample import classifier_accuracy, kernel_distance, local_spectra

NOISE = {"noise_level", "noise_histogram"}
TEXTURE = {"spectrum", "patches", "classifier"}


def photographs() -> list[np.ndarray]:
    """Eight windows (96, 96, 3) of two photographs with room for what is added, in 8-bit steps but not rounded."""
    windows = [image[y : y + 96, x : x + 96] for image in (astronaut(), coffee()) for y in (20, 260) for x in (60, 330)]
    return [60 + gaussian_filter(window * 0.5, (1, 1, 0)) for window in windows]


def seen(
    seed: int = 0,
    noise: float = 4.0,
    blur: float = 0.0,
    tint: float = 0.0,
    grain: float = 0.0,
) -> list[np.ndarray]:
    """What a camera makes of the photographs: blur and grain are sigmas in pixels, noise and tint in 8-bit steps."""
    rng, images = np.random.default_rng(seed), []
    for light in photographs():
        dirt = rng.standard_normal(light.shape)
        dirt = gaussian_filter(dirt, (grain, grain, 0)) if grain else dirt
        image = gaussian_filter(light, (blur, blur, 0)) + noise * dirt / dirt.std() + tint * np.array([1, 0, -1])
        images.append(image.round().clip(0, 255).astype(np.uint8))
    return images


REAL = seen()
"""What every other set is compared with."""


def distances(**camera: float) -> dict[str, float]:
    """Scores of another draw of the camera; `classifier` as what it is above a guess."""
    found = score(REAL, seen(seed=1, **camera))
    return {**found, "classifier": found["classifier"] - 0.5}


AGAIN = distances()
"""The same camera once more."""


def test_a_set_is_not_apart_from_itself():
    found = score(REAL, REAL)
    assert found.keys() == SCORES.keys()
    assert all(abs(found[name] - how.best) < 0.04 for name, how in SCORES.items())


DISTURBANCES = {
    "noise": ({"noise": 4.5}, {"noise": 6.0}, {"noise": 9.0}, NOISE | TEXTURE),
    "less noise": ({"noise": 3.5}, {"noise": 2.5}, {"noise": 1.0}, NOISE | TEXTURE),
    "grain": ({"grain": 0.4}, {"grain": 0.6}, {"grain": 1.0}, {"noise_grain"} | TEXTURE),
    "blur": ({"noise": 4.0, "blur": 1.0}, {"blur": 2.0}, {"blur": 4.0}, {"spectrum"}),
    "tint": ({"tint": 4.0}, {"tint": 8.0}, {"tint": 16.0}, {"colour"}),
}


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_a_score_rises_with_what_it_is_meant_to_see(kind):
    *cameras, rising = DISTURBANCES[kind]
    found = [AGAIN, *(distances(**camera) for camera in cameras)]
    for name in rising:
        values = [scores[name] for scores in found]
        assert all(a < b + (1e-3 if name == "classifier" else 0) for a, b in pairwise(values)), name
        assert values[-1] > 3 * max(values[0], 0.01), name


def test_a_colour_is_seen_by_its_own_score_alone():
    found = distances(tint=16.0)
    for name in SCORES.keys() - {"colour"}:
        assert found[name] == pytest.approx(AGAIN[name], abs=0.05 + 0.2 * abs(AGAIN[name])), name
    assert found["colour"] == pytest.approx(16 * np.sqrt(2 / 3), abs=0.5)


def test_noise_and_blur_are_no_colour():
    for camera in ({"noise": 9.0}, {"blur": 4.0}):
        assert distances(**camera)["colour"] < 0.3


def test_stronger_noise_of_the_same_grain_is_no_other_grain():
    assert distances(noise=9.0)["noise_grain"] < 0.03 < distances(grain=0.6)["noise_grain"]


def test_the_noise_level_is_apart_by_what_the_noises_are():
    assert distances(noise=7.0)["noise_level"] == pytest.approx(3.0, abs=0.3)


def test_two_halves_of_a_set_are_closer_than_a_disturbed_set():
    halves = score(REAL[::2], REAL[1::2])
    for camera, names in [
        ({"noise": 12.0}, NOISE | {"patches", "classifier"}),
        ({"grain": 1.5}, {"noise_grain"}),
        ({"noise": 1.0, "blur": 3.0}, {"spectrum"}),
    ]:
        found = score(REAL, seen(seed=1, **camera))
        for name in names:
            assert found[name] > 2 * halves[name] or found[name] > 0.95, name


def test_the_order_of_the_images_does_not_matter_and_the_same_seed_repeats():
    fake = seen(seed=1, noise=5.0)
    first = score(REAL, fake, seed=3)
    assert score(REAL, fake, seed=3) == first
    shuffled = score(REAL[::-1], [fake[i] for i in (3, 1, 0, 2, 7, 6, 5, 4)], seed=3)
    assert shuffled == pytest.approx(first, rel=1e-9)


def test_sets_without_any_noise_can_be_scored():
    flat = [np.full((32, 32, 3), value, np.uint8) for value in (90, 110)]
    found = score(flat, flat)
    assert all(abs(found[name] - how.best) < 1e-9 for name, how in SCORES.items() if name != "patches")


def test_what_cannot_be_scored_is_told():
    with pytest.raises(UserError, match="given 1 image"):
        score(REAL[:1], REAL)
    with pytest.raises(UserError, match="40×12 px"):
        score(REAL, [np.zeros((12, 40, 3), np.uint8)] * 2)


def test_the_kernel_distance_is_that_of_its_definition_and_0_on_average_for_one_source():
    rng = np.random.default_rng(0)
    alike = [kernel_distance(*rng.standard_normal((2, 20, 5))) for _ in range(200)]
    assert abs(np.mean(alike)) < 3 * np.std(alike) / np.sqrt(200)
    x, y = rng.standard_normal((6, 2)), rng.standard_normal((4, 2)) + 3
    both = np.concatenate([x, y])
    x, y = ((side - both.mean(0)) / both.std(0) for side in (x, y))

    def kernels(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.array([[np.exp(-np.square(a - b).sum() / 4) for b in right] for a in left])

    within = [kernels(side, side)[~np.eye(len(side), dtype=bool)].mean() for side in (x, y)]
    assert kernel_distance(x, y) == pytest.approx(sum(within) - 2 * kernels(x, y).mean())


def test_the_classifier_guesses_where_there_is_nothing_to_learn_and_never_errs_where_all_is_plain():
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 10, 30, 4))
    assert classifier_accuracy(*images) == pytest.approx(0.5, abs=0.1)
    assert classifier_accuracy(images[0], images[1] + 20) == 1


def test_the_classifier_does_not_know_an_image_by_what_it_shows():
    rng = np.random.default_rng(0)
    shows = 10 * rng.standard_normal((2, 8, 1, 30))  # every image has features of its own, and they are no side's
    assert classifier_accuracy(*(shows + rng.standard_normal((2, 8, 20, 30)))) < 0.8


def test_features_see_neither_a_colour_nor_where_things_lie():
    image = REAL[0][:64, :64]
    tinted = (image + np.array([10, 0, 5])).astype(np.uint8)
    assert np.allclose(local_spectra(image), local_spectra(tinted), atol=1e-9)
    turned = local_spectra(image[::-1, ::-1])
    assert np.allclose(local_spectra(image)[::-1], turned, atol=0.3)


@pytest.fixture(scope="module")
def program() -> CliRunner:
    if not app.registered_commands:
        _add_commands()
    return CliRunner()


def test_the_command_tells_a_translator_beside_bicubic_and_the_real_images_own_halves(program, tmp_path):
    model = translators.build({"type": "one_sided", "width": 4, "depth": 2, "grain": 1})
    model.save_pretrained(tmp_path / "translator")
    sides = ["--clean", "sample", "--degraded", "sample:noise"]
    file = tmp_path / "scores.json"
    result = program.invoke(app, ["score", str(tmp_path / "translator"), *sides, "--json", str(file)])
    assert result.exit_code == 0, result.output
    found = json.loads(file.read_text())
    for name, how in SCORES.items():
        assert how.label in result.stdout and f"{found[name]:.3f}" in result.stdout
    assert result.stdout.splitlines()[0].split() == ["translator", "source", "real", "halves"]
    # Untrained, it makes white noise: closer to a noisy camera than none.
    assert found["noise_histogram"] < found["bicubic"]["noise_histogram"]
    assert found == {**score_model(str(tmp_path / "translator"), "sample", "sample:noise"), "model": found["model"]}


def test_a_backbone_sees_noise_too(tmp_path):
    features = backbone_features("resnet18", "random")
    alike, noisy = (score(REAL, seen(seed=1, noise=noise), features=features) for noise in (4.0, 20.0))
    assert alike["patches"] < 0.02 < noisy["patches"]
    with pytest.raises(UserError, match="resnet18"):
        backbone_features("resnet18", str(tmp_path / "nothing.pth"))


def test_bicubic_wants_a_scale_where_nothing_says_it(program, tmp_path: Path):
    with pytest.raises(UserError, match="--scale"):
        score_model("bicubic", "sample", str(tmp_path))


def test_scores_that_cannot_be_written_are_printed_and_named(program, tmp_path):
    (tmp_path / "scores.json").mkdir()
    sides = ["--clean", "sample", "--degraded", "sample:noise", "--scale", "1"]
    result = program.invoke(app, ["score", "bicubic", *sides, "--json", str(tmp_path / "scores.json")])
    assert isinstance(result.exception, RunStopped) and "in the way" in str(result.exception)
    assert all(how.label in result.stdout for how in SCORES.values())


def test_images_that_cannot_be_read_are_named_and_the_others_are_scored(program, tmp_path):
    for name, image in enumerate(REAL[:3]):
        write_image(tmp_path / f"{name}.png", image)
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:300])
    sides = ["--clean", str(tmp_path), "--degraded", str(tmp_path), "--scale", "1"]
    result = program.invoke(app, ["score", "bicubic", *sides])
    assert isinstance(result.exception, UserError) and "1.png: this image cannot be read" in str(result.exception)
    assert "2 clean and 2 degraded images" in result.stdout
    (tmp_path / "2.png").unlink()
    with pytest.raises(UserError, match=r"1\.png: this image cannot be read"):
        score_model("bicubic", str(tmp_path), str(tmp_path), 1, unreadable=[])
