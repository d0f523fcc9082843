"""TranslatorAugment: what goes in comes out alike but degraded, and every draw belongs to its image."""

from __future__ import annotations

import pickle
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from unpairaug import TranslatorAugment
from unpairaug.augment import PART
from unpairaug.errors import UserError
from unpairaug.rng import Rng, sample_rng
from unpairaug.translator import Translator, build_translator


class Shade(Translator):
    """Multiplies by a number that is trained."""

    def __init__(self, by: float = 0.5) -> None:
        super().__init__()
        self.generators["degrade"] = nn.Conv2d(3, 3, 1, groups=3, bias=False)
        nn.init.constant_(self.generators["degrade"].weight, by)  # type: ignore[arg-type]

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        return self.generators["degrade"](source)


class Halve(Translator):
    """Shrinks by itself, as a learned kernel does."""

    scale = 2

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        return nn.functional.avg_pool2d(source, 2)


@pytest.fixture(scope="module")
def camera() -> Translator:
    """A stochastic translator whose every weight matters."""
    torch.manual_seed(0)
    translator = build_translator({"type": "stochastic_cyclegan", "width": 4, "depth": 2})
    for weight in translator.generators["degrade"].parameters():
        nn.init.normal_(weight, std=0.1)
    return translator


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 12, 10, generator=torch.Generator().manual_seed(1))


def test_the_same_seed_and_calls_give_the_same_images_and_the_next_call_others(camera: Translator, images: Tensor):
    first, second = (TranslatorAugment(camera, p=0.5, strength=(0.2, 0.9), seed=3) for _ in range(2))
    for _ in range(3):
        assert torch.equal(first(images), second(images))
    assert not torch.equal(first(images), first(images))
    assert not torch.equal(TranslatorAugment(camera, seed=4)(images), TranslatorAugment(camera, seed=5)(images))


def test_without_a_seed_the_global_generator_of_torch_decides(camera: Translator, images: Tensor):
    augment = TranslatorAugment(camera, p=0.5)
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(augment(images))
    assert torch.equal(*results)


@pytest.mark.parametrize("options", [{}, {"p": 0.5, "strength": (0.1, 0.9)}])
def test_a_batch_is_its_images_one_by_one(camera: Translator, images: Tensor, options: dict):
    together, one_by_one = (TranslatorAugment([(camera, 1), (Shade(), 2)], seed=3, **options) for _ in range(2))
    singles = torch.stack([one_by_one(image) for image in images])
    torch.testing.assert_close(together(images), singles)
    torch.testing.assert_close(
        together(images, rng=sample_rng(0, range(4))),
        torch.cat([one_by_one(images[i : i + 1], rng=sample_rng(0, [i])) for i in range(4)]),
    )


def test_a_batch_of_large_images_is_computed_in_parts_and_is_the_same(camera: Translator):
    images = torch.rand(5, 3, 512, 300)
    assert images.numel() > 2 * PART
    together = TranslatorAugment(camera)(images, rng=sample_rng(0, range(5)))
    with torch.no_grad():
        at_once = deepcopy(camera).eval()(images, sample_rng(0, range(5)))
    torch.testing.assert_close(together, at_once.clamp(0, 1))


def test_bf16_differs_from_full_precision_by_far_less_than_rounding_to_8_bits(camera: Translator, images: Tensor):
    full, half = (TranslatorAugment(camera, seed=3, mixed_precision=precision)(images) for precision in ("no", "bf16"))
    assert half.dtype == full.dtype and not torch.equal(half, full)
    assert (half - full).square().mean().sqrt() < 0.29 / 255
    with pytest.raises(UserError, match="no or bf16"):
        TranslatorAugment(camera, mixed_precision="fp8")  # type: ignore[arg-type]


def test_a_generator_for_the_call_replaces_the_seed(camera: Translator, images: Tensor):
    augments = [TranslatorAugment(camera, p=0.5, strength=(0, 1), seed=seed) for seed in (0, 1, None)]
    first, second, third = (augment(images, rng=torch.Generator().manual_seed(9)) for augment in augments)
    assert torch.equal(first, second) and torch.equal(second, third)


def test_probability_and_strength_are_those_asked_for():
    white = torch.ones(400, 3, 2, 2)
    shown = TranslatorAugment(Shade(0.5), p=0.25, strength=(0.4, 0.8), seed=0)(white)[:, 0, 0, 0]
    changed = shown[shown != 1]
    assert 70 <= len(changed) <= 130
    assert changed.min() >= 0.6 and changed.max() <= 0.8 and changed.std() > 0.05


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.float16])
def test_probability_0_or_strength_0_leave_every_image_as_it_is(camera: Translator, images: Tensor, dtype: torch.dtype):
    given = (images * 255).round().to(torch.uint8) if dtype == torch.uint8 else images.to(dtype)
    assert torch.equal(TranslatorAugment(camera, p=0)(given), given)
    weak = TranslatorAugment(camera, strength=0)(given)
    torch.testing.assert_close(weak, given)
    assert weak.dtype == dtype


def test_several_translators_degrade_images_in_proportion_to_their_weights():
    white = torch.ones(600, 3, 2, 2)
    mixed = TranslatorAugment({Shade(0.2): 1, Shade(0.6): 3}, p=0.8, seed=0)(white)[:, 0, 0, 0]
    counts = [int((mixed - value).abs().lt(1e-5).sum()) for value in (0.2, 0.6, 1.0)]
    assert sum(counts) == 600
    assert all(abs(count - expected) < 45 for count, expected in zip(counts, (120, 360, 120), strict=True))


def test_8_bits_in_are_8_bits_out_and_the_nearest_to_what_floats_give(images: Tensor):
    bits = (images * 255).round().to(torch.uint8)
    shown = TranslatorAugment(Shade(0.5))(bits)
    assert shown.dtype == torch.uint8
    assert torch.equal(shown, (bits / 255 * 0.5 * 255).round().to(torch.uint8))


def test_results_stay_in_range_in_the_layout_of_what_was_given(images: Tensor):
    shown = TranslatorAugment(Shade(3.0))(images)
    assert shown.max() == 1 and shown.is_contiguous()
    nhwc = images.contiguous(memory_format=torch.channels_last)
    assert TranslatorAugment(Shade(3.0))(nhwc).is_contiguous(memory_format=torch.channels_last)


def test_grey_images_come_back_grey_and_an_identity_leaves_them(camera: Translator, images: Tensor):
    grey = images[:, :1]
    torch.testing.assert_close(TranslatorAugment(Shade(1.0))(grey), grey)
    assert TranslatorAugment(camera)(grey[0]).shape == grey[0].shape


def test_images_become_smaller_with_a_translator_that_shrinks_them(images: Tensor):
    for p in (0, 0.5, 1):
        assert TranslatorAugment(Halve(), p=p, strength=(0, 1), seed=0)(images).shape == (4, 3, 6, 5)
    grey = torch.full((2, 3, 8, 8), 0.4)
    torch.testing.assert_close(TranslatorAugment(Halve(), p=0.5, strength=0.5, seed=0)(grey), grey[..., :4, :4])
    with pytest.raises(UserError, match=r"\[1, 2\] cannot be mixed"):
        TranslatorAugment([(Halve(), 1), (Shade(), 1)])


def test_a_model_with_it_neither_trains_nor_saves_the_translator(camera: Translator, images: Tensor):
    model = nn.Sequential(TranslatorAugment(camera, seed=0), nn.Conv2d(3, 1, 3)).train()
    augment = model[0]
    assert isinstance(augment, TranslatorAugment) and not augment.translators[0].training
    assert model.state_dict().keys() == {"1.weight", "1.bias"} == dict(model.named_parameters()).keys()
    model(images).sum().backward()
    assert model[1].weight.grad is not None
    assert all(weight.grad is None for weight in augment.translators[0].parameters())
    assert all(weight.requires_grad for weight in camera.parameters()) and camera.training, "a copy is kept"


def test_a_model_in_half_precision_keeps_its_translator_in_full_precision(camera: Translator, images: Tensor):
    augment = TranslatorAugment(camera).half()
    assert augment(images.half()).dtype == torch.float16
    assert {weight.dtype for weight in augment.translators[0].parameters()} == {torch.float32}


def test_it_moves_with_its_model(camera: Translator):
    model = nn.Sequential(TranslatorAugment(camera)).to("meta")
    augment = model[0]
    assert isinstance(augment, TranslatorAugment)
    assert {weight.device.type for weight in augment.translators[0].parameters()} == {"meta"}
    elsewhere = TranslatorAugment(Shade())
    assert elsewhere(torch.empty(2, 3, 8, 8, device="meta")).device.type == "meta", "and with its images"


def test_the_gradient_flows_only_with_gradient_true(images: Tensor):
    given = images.clone().requires_grad_()
    assert not TranslatorAugment(Shade(0.5))(given).requires_grad
    TranslatorAugment(Shade(0.5), p=0.999, gradient=True)(given).sum().backward()
    assert given.grad is not None
    torch.testing.assert_close(given.grad, torch.full_like(given, 0.5))


def test_autocast_changes_little_and_no_type(camera: Translator, images: Tensor):
    full = TranslatorAugment(camera, seed=0)(images)
    with torch.autocast("cpu", torch.bfloat16):
        half = TranslatorAugment(camera, seed=0)(images)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("backend", "options", "fullgraph"),
    [
        ("eager", {}, True),
        ("aot_eager", {}, True),
        ("aot_eager", {"gradient": True}, True),
        ("aot_eager", {"p": 0.5}, False),
        ("eager", {"seed": 0}, False),
    ],
)
def test_it_compiles(camera: Translator, images: Tensor, backend: str, options: dict, fullgraph: bool):
    torch.compiler.reset()
    plain, compiled = (TranslatorAugment(camera, strength=(0.5, 1), **options) for _ in range(2))
    fast = torch.compile(compiled, backend=backend, fullgraph=fullgraph)
    for seed in range(2):
        torch.manual_seed(seed)
        expected = plain(images)
        torch.manual_seed(seed)
        torch.testing.assert_close(fast(images), expected)


def test_it_chains_with_torchvision_and_kornia(camera: Translator, images: Tensor):
    from kornia.augmentation import AugmentationSequential, RandomHorizontalFlip
    from torchvision.transforms import v2

    for chain in (
        v2.Compose([v2.RandomHorizontalFlip(1.0), TranslatorAugment(camera, seed=0)]),
        AugmentationSequential(RandomHorizontalFlip(p=1.0), TranslatorAugment(camera, seed=0), data_keys=["input"]),
        nn.Sequential(v2.RandomHorizontalFlip(1.0), TranslatorAugment(camera, seed=0)),
    ):
        torch.testing.assert_close(chain(images), TranslatorAugment(camera, seed=0)(images.flip(-1)))


@pytest.mark.parametrize("seed", [None, 0])
def test_workers_draw_different_numbers_and_the_same_ones_again(camera: Translator, seed: int | None):
    def noises() -> Tensor:
        torch.manual_seed(5)
        augment = TranslatorAugment(camera, seed=seed)
        white = TensorDataset(torch.full((4, 3, 8, 8), 0.5))
        loader = DataLoader(white, num_workers=2, collate_fn=lambda rows: augment(rows[0][0]))
        return torch.stack([image for _ in range(2) for image in loader])

    first = noises()
    assert len({tuple(image.flatten().tolist()) for image in first}) == 8, "no image and no epoch repeats another"
    assert torch.equal(first, noises())


def test_a_pickled_or_copied_one_continues_with_the_same_draws(camera: Translator, images: Tensor):
    augment = TranslatorAugment(camera, seed=0)
    augment(images)
    twins = [pickle.loads(pickle.dumps(augment)), deepcopy(augment)]
    expected = augment(images)
    assert all(torch.equal(twin(images), expected) for twin in twins)


def test_a_folder_gives_the_same_images_as_the_translator_in_it(camera: Translator, images: Tensor, tmp_path: Path):
    camera.save_pretrained(tmp_path / "camera")
    loaded = TranslatorAugment(tmp_path / "camera", seed=0)
    assert torch.equal(loaded(images), TranslatorAugment(camera, seed=0)(images))
    assert str(tmp_path / "camera") in repr(loaded)


def test_a_translator_in_the_middle_of_its_training_can_be_copied(camera: Translator, images: Tensor):
    camera.rng = sample_rng(0, range(2))
    try:
        assert TranslatorAugment(camera)(images).shape == images.shape
    finally:
        camera.rng = None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 1.5}, "p 1.5 should be a probability"),
        ({"strength": (0.9, 0.1)}, r"strength \(0.9, 0.1\) should be"),
        ({"strength": 2}, "strength 2 should be"),
        ({"seed": -1}, "seed -1 should be"),
        ({"model": []}, r"a list of \(model, weight\)"),
        ({"model": [Shade(), Shade()]}, r"a list of \(model, weight\)"),
        ({"model": {Shade(): 0}}, "weight 0 of a translator should be above 0"),
        ({"model": 3}, r"given 3; give a translator"),
    ],
)
def test_wrong_options_are_refused_at_once(options: dict, message: str):
    with pytest.raises(UserError, match=message):
        TranslatorAugment(**{"model": Shade(), **options})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.rand(2, 4, 8, 8), r"given \(2, 4, 8, 8\), should be"),
        (torch.rand(8, 8), r"given \(8, 8\), should be"),
        (torch.ones(2, 3, 8, 8, dtype=torch.int64), r"images of torch.int64"),
        ("a photograph", "given str, should be"),
    ],
)
def test_inputs_other_than_images_are_refused(given: Tensor, message: str):
    with pytest.raises(UserError, match=message):
        TranslatorAugment(Shade())(given)


def test_another_number_of_generators_is_refused(images: Tensor):
    with pytest.raises(UserError, match="given 2 generators for 4 images"):
        TranslatorAugment(Shade())(images, rng=sample_rng(0, range(2)))


def test_an_empty_batch_stays_empty(camera: Translator):
    for p in (0.5, 1):
        assert TranslatorAugment(camera, p=p, seed=0)(torch.empty(0, 3, 8, 8)).shape == (0, 3, 8, 8)
