"""A measured camera in front of any translator: `translator.measure`."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from dead_leaves import dead_leaves
from small_parts import small
from small_trainer import make_batch, make_trainer
from torch import Tensor, nn

from unpairaug.augment import TranslatorAugment
from unpairaug.camera.jpeg import quality_of
from unpairaug.camera.measured_camera import CameraReport, MeasuredCamera
from unpairaug.degrading.degrade import Degradation, Degrader
from unpairaug.errors import UserError
from unpairaug.losses import Losses
from unpairaug.networks.filters import low_pass
from unpairaug.recipe import load_recipe
from unpairaug.registry import register_translator
from unpairaug.rng import Rng, sample_rng
from unpairaug.testing import ContractBroken, check_translator
from unpairaug.training.build import build_trainer
from unpairaug.training.checkpoint import load_checkpoint, save_checkpoint
from unpairaug.translator import LearnsNoise, Translator, build_translator, measure_camera

SIGMA, NOISE = 1.0, 5.0
"""The true camera: width of its Gaussian blur in pixels, and standard deviation of its noise in 8-bit steps."""
SCENES, SCENE, CROP = 16, 128, 32
"""Scenes of each side, and the sides in pixels of a scene and of a crop."""


@register_translator("toy_without_camera_code")
class Stranger(Translator):
    """Adds a trained convolution, which starts at 0; it has no code for cameras."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.generators["camera"] = nn.Conv2d(3, 3, width, padding=width // 2)
        for parameter in self.generators.parameters():
            nn.init.zeros_(parameter)
        self.difference: Any = lambda one, other: (one - other).abs().mean()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "difference": None}  # no pickle can hold a lambda

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "difference": F.l1_loss})

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        return source + self.generators["camera"](source)

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        return {"low": self.difference(low_pass(fake, 1.0), low_pass(source, 1.0)), "mean": (fake - real).mean() ** 2}


class Halve(Translator):
    """Shrinks clean images itself, and learns no noise."""

    scale = 2

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        return F.avg_pool2d(source, 2)


SPECS: dict[str, dict[str, Any]] = {
    "measured": {"type": "measured"},
    "bicubic": {"type": "bicubic"},
    "classic": {"type": "classic", "pipeline": [{"ToGray": {"p": 0.0}}]},
    "one_sided": small("one_sided"),
    "cut": small("cut", residual=True),
    "stranger": {"type": "toy_without_camera_code"},
    "cyclegan": small("cyclegan"),
}
"""Translators that leave an image as it is before training, but for 8 bits; except CycleGAN, which is published so."""
EVERY = pytest.mark.parametrize("name", SPECS)
UNCHANGED = pytest.mark.parametrize("name", [name for name in SPECS if name != "cyclegan"])
MEASURE = pytest.mark.parametrize("measure", ["all", "noise"])
Behind = Callable[[str, str], Translator]


def build(name: str, measure: str) -> Translator:
    torch.manual_seed(0)
    return build_translator({**SPECS[name], "measure": measure})


def image(count: int = 2, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def degraded(translator: Translator, source: Tensor, seed: int = 0) -> Tensor:
    return copy.deepcopy(translator).eval()(source, sample_rng(seed, range(len(source))))


def cut(scenes: Tensor) -> Tensor:
    """Crops (N, 3, CROP, CROP) side by side of scenes (SCENES, 3, SCENE, SCENE)."""
    return scenes.unfold(2, CROP, CROP).unfold(3, CROP, CROP).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, CROP, CROP)


@pytest.fixture(scope="module")
def crops() -> dict[str, Tensor]:
    """Crops of sources, and for each value of `measure` crops of other scenes as the true camera shows them."""
    source, other = (dead_leaves(seed, SCENES, SCENE) for seed in (0, 1))
    noise = NOISE / 255 * torch.randn(other.shape, generator=torch.Generator().manual_seed(0))
    shown = {"all": low_pass(other, SIGMA) + noise, "noise": other + noise}
    return {"source": cut(source), **{measure: cut(scenes.clamp(0, 1)) for measure, scenes in shown.items()}}


@pytest.fixture(scope="module")
def measured(crops: dict[str, Tensor]) -> dict[str, tuple[MeasuredCamera, CameraReport]]:
    """The camera of `measured` and the figures of its measurement, for each value of `measure`."""
    found = {}
    for measure in ("all", "noise"):
        translator = build("measured", measure)
        report = measure_camera(translator, crops["source"], crops[measure], SCENES)
        assert translator.camera is not None
        found[measure] = translator.camera, report
    return found


@pytest.fixture(scope="module")
def behind(crops: dict[str, Tensor], measured: dict[str, Any]) -> Behind:
    """Builds a translator behind the measured camera, a new one at each call."""

    @cache
    def once(name: str, measure: str) -> Translator:
        translator = build(name, measure)
        if isinstance(translator, LearnsNoise):
            measure_camera(translator, crops["source"], crops[measure], SCENES)
        else:
            assert translator.camera is not None
            translator.camera.load_state_dict(measured[measure][0].state_dict())
        return translator

    return lambda name, measure: copy.deepcopy(once(name, measure))


@pytest.mark.parametrize("name", ["stranger", "one_sided"])
def test_the_measurement_does_not_depend_on_the_translator(name: str, crops: dict[str, Tensor], measured: Any):
    translator = build(name, "all")
    report = measure_camera(translator, crops["source"], crops["all"], SCENES)
    assert report.values() == measured["all"][1].values()
    assert translator.camera is not None
    for key, tensor in translator.camera.state_dict().items():
        assert torch.equal(tensor, measured["all"][0].state_dict()[key]), key


@UNCHANGED
def test_with_measure_all_the_image_has_the_blur_and_the_noise_of_the_camera(name: str, behind: Behind):
    translator, source = behind(name, "all"), dead_leaves(2, 6, 64)
    true = low_pass(source, SIGMA)
    draws = torch.stack([degraded(translator, source, seed) for seed in range(24)])
    blurred = draws.mean(0)
    assert (blurred - true).abs().mean() < 0.4 * (source - true).abs().mean()
    assert (draws - blurred).std() * 255 == pytest.approx(NOISE, rel=0.25)


@UNCHANGED
def test_with_measure_noise_the_image_has_the_noise_of_the_camera_and_keeps_its_sharpness(name: str, behind: Behind):
    translator, source = behind(name, "noise"), dead_leaves(2, 6, 64)
    draws = torch.stack([degraded(translator, source, seed) for seed in range(24)])
    assert (draws.mean(0) - source).abs().mean() * 255 < 2 * NOISE / 24**0.5
    assert (draws - draws.mean(0)).std() * 255 == pytest.approx(NOISE, rel=0.25)


@EVERY
@MEASURE
def test_the_class_itself_gets_the_source_as_the_camera_shows_it(name: str, measure: str, behind: Behind):
    translator, plain, rng = behind(name, measure), build(name, "none"), sample_rng(0, range(2))
    plain.generators.load_state_dict(translator.generators.state_dict())
    assert plain.camera is None and translator.camera is not None
    with torch.no_grad():
        seen = translator.camera.apply_optics(image())
        if not isinstance(translator, LearnsNoise):
            seen = seen + translator.camera.noise(seen, rng)
        expected = plain.eval()(seen, rng)
    assert torch.equal(degraded(translator, image()), expected)
    assert not torch.allclose(seen, image(), atol=1e-3) or (name, measure) == ("one_sided", "noise")


@EVERY
@MEASURE
def test_a_camera_that_is_not_measured_yet_changes_nothing(name: str, measure: str):
    assert torch.equal(degraded(build(name, measure), image()), degraded(build(name, "none"), image()))
    large = (torch.rand(1, 3, 130, 140) * 255).round() / 255
    assert torch.allclose(degraded(build(name, measure), large), degraded(build(name, "none"), large), atol=1e-5)


@EVERY
@MEASURE
def test_a_translator_behind_a_camera_keeps_the_contract(name: str, measure: str, behind: Behind):
    check_translator(behind(name, measure), stochastic=True)


@EVERY
@MEASURE
def test_copies_and_saved_folders_degrade_alike(name: str, measure: str, behind: Behind, tmp_path: Path):
    translator = behind(name, measure)
    expected = degraded(translator, image())
    translator.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["translator"]["measure"] == measure
    twins = [copy.deepcopy(translator), pickle.loads(pickle.dumps(translator)), Translator.from_pretrained(tmp_path)]
    for twin in twins:
        assert type(twin) is type(translator) and twin.config == translator.config
        assert torch.equal(degraded(twin, image()), expected)
        assert twin.camera is not translator.camera, "changing the copy must leave the first one as it is"
    twins[-1].save_pretrained(tmp_path / "again")
    assert torch.equal(degraded(Translator.from_pretrained(tmp_path / "again"), image()), expected)


@EVERY
def test_a_batch_is_degraded_as_its_images_are_alone(name: str, behind: Behind):
    translator, source = behind(name, "all"), image(3)
    alone = [translator.eval()(source[i : i + 1], sample_rng(0, [i])).detach() for i in range(3)]
    assert torch.allclose(degraded(translator, source), torch.cat(alone), atol=1 / 255 + 1e-6)
    far = (degraded(translator, source) - torch.cat(alone)).abs() > 1e-5
    assert far.float().mean() < 1e-3, "only where 8 bits round the other way"


def test_losses_compare_with_the_source_as_the_camera_shows_it(behind: Behind):
    translator, source = behind("one_sided", "all").train(), image()
    fake = translator(source, sample_rng(0, range(2)))
    losses = translator.losses_g(source, image(), fake)
    assert losses["low_degrade"] < 1e-6, "before training the content is what the camera shows"
    assert F.l1_loss(low_pass(source, 2.0), low_pass(fake, 2.0)) > 1e-4


def test_losses_before_a_call_are_an_error():
    with pytest.raises(AssertionError, match="losses follow a call on the same batch"):
        build("stranger", "all").losses_g(image(), image(), image())


@pytest.mark.parametrize("name", ["stranger", "cyclegan", "measured"])
def test_jpeg_files_are_written_in_use_and_left_to_the_bridge_in_training(name: str, behind: Behind, tmp_path: Path):
    translator, source = behind(name, "all"), dead_leaves(3, 8, 64)
    assert translator.camera is not None
    translator.camera.jpeg.set(60)
    assert quality_of(degraded(translator, source)) == 60
    translator.save_pretrained(tmp_path)
    assert quality_of(degraded(Translator.from_pretrained(tmp_path), source)) == 60
    assert quality_of(translator.train()(source, sample_rng(0, range(8))).detach()) is None


@pytest.mark.parametrize("name", ["stranger", "cyclegan", "one_sided", "cut"])
def test_the_averaged_translator_shares_the_camera_which_no_step_changes(name: str, crops: dict[str, Tensor]):
    trainer = make_trainer({**SPECS[name], "measure": "all"})
    camera = trainer.translator.camera
    assert camera is not None and trainer.ema_translator.camera is camera
    assert not any("camera.optics" in key for key in trainer.average.state_dict())
    clean = F.interpolate(crops["source"], scale_factor=2)
    report = trainer.measure_camera(clean, crops["all"], SCENES)
    assert report.noise.level > 1
    before = copy.deepcopy(camera.state_dict())
    averaged, learning = (degraded(one, image()) for one in (trainer.ema_translator, trainer.translator))
    assert torch.equal(averaged, learning)
    for step in range(2):
        trainer.train_step([make_batch(4 * step)], step)
    for key, tensor in camera.state_dict().items():
        assert torch.equal(tensor, before[key]), key


@pytest.mark.parametrize("name", ["stranger", "cyclegan", "one_sided"])
def test_a_resumed_run_has_the_camera_of_its_checkpoint(name: str, measured: Any, tmp_path: Path):
    spec = {**SPECS[name], "measure": "all"}
    trainer, resumed = make_trainer(spec), make_trainer(spec)
    assert trainer.translator.camera is not None and resumed.translator.camera is not None
    trainer.translator.camera.load_state_dict(measured["all"][0].state_dict())
    trainer.train_step([make_batch()], 0)
    save_checkpoint(tmp_path, 1, *trainer.state(), keep=1)
    resumed.load_state(*load_checkpoint(tmp_path / "step_1"))
    assert resumed.translator.camera.noise.ends.any()
    for one in (trainer, resumed):
        one.train_step([make_batch(4)], 1)
    expected, found = trainer.state()[0], resumed.state()[0]
    for file in expected:
        for key in expected[file]:
            assert torch.equal(expected[file][key], found[file][key]), f"{file}: {key}"


def test_an_augmentation_applies_the_camera_and_keeps_a_copy(behind: Behind):
    translator = behind("stranger", "all")
    augment = TranslatorAugment(translator)
    expected = degraded(translator, image()).clamp(0, 1)
    assert torch.allclose(augment(image(), rng=sample_rng(0, range(2))), expected, atol=1e-6)
    assert augment.translators[0].camera is not translator.camera


def test_the_hash_of_a_model_covers_its_camera(behind: Behind, tmp_path: Path):
    hashes = set()
    for measure in ("all", "noise"):
        behind("measured", measure).save_pretrained(tmp_path / measure)
        hashes.add(Degrader(Degradation(str(tmp_path / measure))).facts["model_sha256"])
        assert sha256((tmp_path / measure / "model.safetensors").read_bytes()).hexdigest() in hashes
    assert len(hashes) == 2


@pytest.mark.parametrize(("measure", "instead"), [("all", "noise or none")])
def test_kernel_noise_that_shrinks_images_cannot_have_measured_optics(measure: str, instead: str):
    message = rf"^translator.measure '{measure}': 'kernel_noise' shrinks clean images by 2 itself, .*; give {instead}$"
    with pytest.raises(UserError, match=message):
        build_translator(small("kernel_noise", scale=2, measure=measure))
    recipe = load_recipe("smoke", [f"translator={{type: kernel_noise, measure: {measure}}}", "task.scale=2"])
    with pytest.raises(UserError, match=message):
        build_trainer(recipe.resolve(steps_per_epoch=1), Accelerator(cpu=True))


def test_kernel_noise_that_shrinks_images_starts_with_the_measured_noise_and_learns(crops: dict[str, Tensor]):
    trainer = make_trainer(small("kernel_noise", measure="noise"))
    clean = F.interpolate(crops["source"], scale_factor=2)
    report = trainer.measure_camera(clean, crops["noise"], SCENES)
    assert isinstance(trainer.translator, LearnsNoise)
    flat = torch.full((1, 3, 128, 128), report.noise.light)
    drawn = trainer.translator.learnt_noise(flat, sample_rng(0, [0])).detach()
    assert drawn.std() * 255 == pytest.approx(report.noise.level, rel=0.1)
    losses = trainer.train_step([make_batch()], 0)
    assert losses.keys() == {"gan_degrade", "low_degrade", "zero_mean", "d_degraded", "task_l1"}
    assert all(loss.isfinite() for loss in losses.values())


@MEASURE
def test_a_translator_that_shrinks_images_and_learns_no_noise_cannot_have_a_camera(measure: str):
    with pytest.raises(UserError, match=rf"measure '{measure}'.* shrinks clean images by 2 itself.*; give none$"):
        build_translator({"type": f"{__name__}:Halve", "measure": measure})


@pytest.mark.parametrize("feed", ["bridge.feed=restore(fake)", "real_path.feed=restore(real)"])
def test_a_way_back_behind_a_camera_cannot_be_fed_to_the_head(feed: str):
    def trainer(translator: str) -> None:
        recipe = load_recipe("smoke", [f"translator={translator}", feed, "schedule={}", "data.crop=64"])
        build_trainer(recipe.resolve(steps_per_epoch=1), Accelerator(cpu=True))

    with pytest.raises(UserError, match=r"needs a way back to sources, .*'cyclegan' .*give translator\.measure=none"):
        trainer("{type: cyclegan, ngf: 4, n_blocks: 1, measure: noise}")
    trainer("{type: cyclegan, ngf: 4, n_blocks: 1, measure: none}")
    trainer("{type: stochastic_cyclegan, width: 4, measure: noise}")


@pytest.mark.parametrize("measure", ["everything", "measured", 3, True])
def test_an_unknown_measurement_is_refused(measure: Any):
    with pytest.raises(UserError, match=r"translator\.measure: given .*, should be all, noise or none"):
        build_translator({"type": "bicubic", "measure": measure})


def test_weights_of_a_camera_that_the_translator_does_not_hold_are_refused(behind: Behind):
    _, weights = behind("stranger", "all").saved()
    with pytest.raises(RuntimeError, match=r"unexpected weights of a measured camera: .*optics\.kernel"):
        build("stranger", "none").load_saved(weights)


@pytest.mark.parametrize("quality", [0, 60])
def test_tiles_of_a_large_image_are_degraded_as_the_whole(quality: int, behind: Behind, tmp_path: Path):
    translator = behind("measured", "all")
    assert translator.camera is not None
    translator.camera.jpeg.set(quality)
    translator.save_pretrained(tmp_path)
    photograph = np.random.default_rng(0).integers(0, 256, (300, 310, 3), dtype=np.uint8)
    whole, tiled = (Degrader(Degradation(str(tmp_path), tile=tile))(photograph, "name") for tile in (None, 128))
    assert (whole != tiled).mean() < 1e-4, "only where 8 bits round the other way"


@register_translator("toy_with_a_name_of_the_base_class")
class AttributeNamedCamera(Translator):
    """Keeps a function where the base class keeps the measured camera."""

    def __init__(self) -> None:
        super().__init__()
        self.camera = low_pass  # type: ignore[assignment]

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        return low_pass(source, 1.0)


def test_another_thing_in_the_place_of_the_camera_is_refused_by_its_name():
    name = "toy_with_a_name_of_the_base_class"
    with pytest.raises(ContractBroken, match=r"Seen: a function as `camera`"):
        check_translator(name)
    recipe = load_recipe("smoke", [f"translator={name}", "schedule={}"]).resolve(steps_per_epoch=1)
    with pytest.raises(UserError, match=r"attribute `camera` is a function, .* keeps a MeasuredCamera .* another name"):
        build_trainer(recipe, Accelerator(cpu=True))


def test_a_translator_that_was_not_built_by_its_name_cannot_be_saved(tmp_path: Path):
    with pytest.raises(UserError, match=r"this Stranger was not built by a name.*build_translator\(\.\.\.\)"):
        Stranger().save_pretrained(tmp_path)
