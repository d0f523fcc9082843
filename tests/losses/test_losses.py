"""The losses of a task: what each is at equality, where its gradient goes, and where its weights come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from skimage.data import astronaut
from torch import Tensor

from unpairaug.errors import UserError
from unpairaug.evaluation.metrics import ssim
from unpairaug.losses.criterion import Criterion
from unpairaug.registry import losses, register_loss

TINY = {"type": "perceptual", "model": "test_resnet", "layers": [0, 2], "weights": "random"}
AT_EQUALITY = {
    "l1": 0,
    "mse": 0,
    "charbonnier": 1e-3,
    "ssim": 0,
    "frequency": 0,
    "focal_frequency": 0,
    "perceptual": 0,
}
"""Every loss that has its least value where restored and clean are equal, and that value."""


def build(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of that name, at a size for tests; frozen, as a criterion keeps it."""
    small = {"perceptual": TINY, "gan": {"type": "gan", "discriminator": {"type": "srgan", "ndf": 4, "norm": "none"}}}
    torch.manual_seed(0)
    return losses.build(small.get(name, name)).requires_grad_(False)


def image(first: int = 0, size: int = 3) -> Tensor:
    return torch.rand(size, 3, 32, 40, generator=torch.Generator().manual_seed(first))


every = pytest.mark.parametrize("name", [*AT_EQUALITY, "tv", "gan"])


def test_every_built_in_loss_is_tested_here():
    built_in = {name for name in losses.names() if losses.get(name).__module__.startswith("unpairaug.losses.")}
    assert built_in == {*AT_EQUALITY, "tv", "gan"}


@pytest.mark.parametrize("name", AT_EQUALITY)
def test_equal_images_cost_least(name: str):
    loss, clean = build(name), image()
    assert loss(clean, clean).item() == pytest.approx(AT_EQUALITY[name], abs=1e-6)
    assert loss(image(1), clean) > loss(clean + 0.01 * image(1), clean) > AT_EQUALITY[name]


@every
def test_gradients_reach_the_restored_image_and_are_finite_in_bf16(name: str):
    restored = image(1).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = build(name)((restored * 1.0).to(torch.bfloat16), image())
    loss.backward()
    assert loss.shape == () and torch.isfinite(loss)
    assert torch.isfinite(restored.grad).all() and restored.grad.abs().sum() > 0


@every
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_equal_images_have_finite_gradients(name: str, level: float):
    flat = torch.full((2, 3, 32, 32), level, requires_grad=True)
    build(name)(flat, flat.detach().clone()).backward()
    assert torch.isfinite(flat.grad).all()


@every
def test_the_loss_of_a_batch_is_the_mean_of_its_images(name: str):
    loss, restored, clean = build(name), image(1), image()
    singles = torch.stack([loss(restored[i : i + 1], clean[i : i + 1]) for i in range(3)])
    assert loss(restored, clean).item() == pytest.approx(singles.mean().item(), rel=1e-4)


@pytest.mark.parametrize("name", AT_EQUALITY)
def test_a_step_against_the_gradient_comes_nearer(name: str):
    restored, clean = image(1).requires_grad_(), image()
    loss = build(name)(restored, clean)
    loss.backward()
    step = 0.01 * loss.item() / restored.grad.square().sum()  # to first order, 1 % of the loss
    assert build(name)(restored - step * restored.grad, clean) < loss


def test_the_ssim_loss_is_one_less_the_metric_on_8_bit_images():
    clean = astronaut()[60:124, 180:260].copy()
    noise = np.random.default_rng(0).normal(0, 12, clean.shape)
    noisy = np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)
    restored, expected = (torch.from_numpy(x).permute(2, 0, 1)[None] / 255 for x in (noisy, clean))
    found = losses.build("ssim")(restored, expected).item()
    assert found == pytest.approx(1 - ssim(noisy, clean), abs=1e-5)


def test_total_variation_is_the_slope_of_a_ramp_and_ignores_the_clean_image():
    ramp = torch.linspace(0, 1, 33).expand(1, 3, 16, 33)
    assert losses.build("tv")(ramp, torch.zeros(1)).item() == pytest.approx(1 / 32)


def test_the_frequency_loss_is_the_mean_over_both_parts_of_the_transform():
    restored, clean = image(1), image()
    difference = torch.fft.fft2(restored) - torch.fft.fft2(clean)
    expected = (difference.real.abs().mean() + difference.imag.abs().mean()) / 2
    assert losses.build("frequency")(restored, clean).item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_focal_frequency_loss_without_focus_is_the_squared_error():
    loss = losses.build({"type": "focal_frequency", "alpha": 0})
    restored, clean = image(1), image()
    assert loss(restored, clean).item() == pytest.approx(torch.nn.functional.mse_loss(restored, clean).item(), rel=1e-4)
    assert losses.build("focal_frequency")(restored, clean) < loss(restored, clean)


class TestPerceptual:
    def test_the_features_are_those_of_the_file_of_weights(self, tmp_path: Path):
        torch.manual_seed(7)
        whole = timm.create_model("test_resnet", pretrained=False).eval()
        save_file(whole.state_dict(), tmp_path / "weights.safetensors")
        torch.save(whole.state_dict(), tmp_path / "weights.pth")
        normalised = (image() - 0.5) / 0.5  # the mean and deviation that timm says test_resnet was trained with
        expected = whole.forward_intermediates(normalised, indices=[0, 2], intermediates_only=True)
        for file in ("weights.safetensors", "weights.pth"):
            loss = losses.build({**TINY, "weights": str(tmp_path / file)})
            found = loss.features(image())
            assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))

    def test_layers_may_have_any_order_each_with_its_weight(self):
        one, other = ({**TINY, "layers": [layer]} for layer in (0, 2))
        both = {**TINY, "layers": [2, 0], "layer_weights": [3.0, 0.5]}
        parts = [losses.build(spec)(image(1), image()) for spec in (other, one, both)]
        assert parts[2].item() == pytest.approx((3 * parts[0] + 0.5 * parts[1]).item(), rel=1e-5)

    def test_nothing_in_it_learns_or_follows_a_batch(self):
        loss = losses.build(TINY)
        assert not any(p.requires_grad for p in loss.parameters())
        assert not any(module.training for module in loss.modules())

    def test_random_weights_are_the_same_in_every_run_and_leave_other_draws_alone(self):
        torch.manual_seed(1)
        first = losses.build(TINY)(image(1), image())
        drawn = torch.rand(3)
        torch.manual_seed(1)
        assert torch.equal(drawn, torch.rand(3))
        assert losses.build(TINY)(image(1), image()) == first

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"weights": "nowhere.pth"}, "no file 'nowhere.pth'.*'hub' to download"),
            ({"weights": "hub"}, "test_resnet' cannot be had from the hub .*weights: random"),
            ({"model": "vgg91"}, "no model 'vgg91'; did you mean 'vgg"),
            ({"layers": [9]}, r"'test_resnet' has no features of layers \[9\]"),
            ({"layer_weights": [1.0]}, "2 layers and 1 layer_weights"),
            ({"layers": [-1]}, "layers"),
        ],
    )
    def test_missing_models_and_wrong_options_are_refused(
        self, options: dict, sentence: str, tmp_path: Path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(UserError, match=sentence):
            losses.build({**TINY, **options})

    def test_a_file_of_another_model_or_of_none_is_refused(self, tmp_path: Path):
        save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
        (tmp_path / "broken.safetensors").write_bytes(b"not weights")
        (tmp_path / "broken.pth").write_bytes(b"not weights")
        for name, sentence in (("other", "lacks .* is it another model"), ("broken", "does not hold the weights")):
            for file in tmp_path.glob(f"{name}.*"):
                with pytest.raises(UserError, match=sentence):
                    losses.build({**TINY, "weights": str(file)})


class TestCriterion:
    def test_terms_have_the_names_and_weights_of_the_recipe(self):
        restored, clean = image(1), image()
        found = Criterion({"l1": 1.0, "sharp": {"type": "frequency", "weight": 0.1}}).losses(restored, clean)
        assert list(found) == ["l1", "sharp"]
        assert found["l1"] == losses.build("l1")(restored, clean)
        assert found["sharp"].item() == pytest.approx(0.1 * losses.build("frequency")(restored, clean).item())
        tripled = Criterion({"l1": 3.0}).losses(restored, clean)["l1"]
        assert tripled.item() == pytest.approx(3 * found["l1"].item())

    def test_a_loss_that_is_no_scalar_is_refused_by_its_name(self):
        with pytest.raises(UserError, match=r"task\.loss\.Pixels returns a tensor of shape \(3, 3, \d+, \d+\)"):
            Criterion(f"{__name__}:Pixels").losses(image(1), image())

    def test_a_name_alone_is_one_term_of_weight_1(self):
        assert Criterion("mse").weights == {"mse": 1.0}
        assert Criterion(f"{__name__}:Edge").weights == {"Edge": 1.0}

    def test_a_weight_of_0_leaves_the_term_out_and_builds_nothing(self):
        left_out = {"weight": 0, "model": "test_resnet", "weights": "nowhere.pth"}
        assert list(Criterion({"l1": 1, "mse": 0, "perceptual": left_out}).terms) == ["l1"]

    def test_only_discriminators_can_learn(self):
        criterion = Criterion(
            {"l1": 1, "edge": {"type": f"{__name__}:Edge"}, "gan": {"discriminator": {"type": "srgan", "ndf": 2}}}
        )
        assert list(criterion.discriminators) == ["gan"]
        assert list(criterion.losses_d(image(1), image())) == ["gan"]
        criterion.discriminators.requires_grad_(True)
        learning = [p for module in criterion.modules for p in module.parameters() if p.requires_grad]
        assert len(learning) == len([*criterion.discriminators.parameters()])
        assert not criterion.terms["edge"].training

    def test_it_says_what_size_of_images_each_term_needs(self):
        assert Criterion({"l1": 1, "ssim": 1, "gan": {"discriminator": {"type": "srgan", "ndf": 2}}}).smallest_side == {
            "l1": 1,
            "ssim": 11,
            "gan": 17,
        }


class Pixels(torch.nn.Module):
    """Forgets to take the mean."""

    def forward(self, restored: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        return (restored - clean).abs()


@register_loss("toy_edge")
class Edge(torch.nn.Module):
    """A loss of a user's own, with a layer in it."""

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.filter = torch.nn.Conv2d(3, width, 3)

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        return (self.filter(restored) - self.filter(clean)).abs().mean()
