"""Discriminators, and the adversarial losses of both sides."""

import json
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from unpairaug.errors import UserError
from unpairaug.losses.adversarial import GAMES, GameName, r1_penalty
from unpairaug.recipe import load_recipe
from unpairaug.registry import discriminators, losses
from unpairaug.training.build import build_trainer, make_accelerator
from unpairaug.training.trainer import JointTrainer

PATCH = {"type": "patch", "ndf": 4, "norm": "none"}
TIMM = {"type": "timm", "model": "test_resnet", "layers": [0, 2], "ndf": 4, "weights": "random"}
SMALL = {
    "patch": PATCH,
    "srgan": {"type": "srgan", "ndf": 2, "norm": "none"},
    "texture": {"type": "texture", "ndf": 4},
    "timm": TIMM,
}
VARIANTS = {
    **SMALL,
    "stride 1": {**PATCH, "stride": 1},
    "high-pass": {**PATCH, "view": "high_pass"},
    "haar": {**PATCH, "view": "haar"},
    "spectral norm": {**PATCH, "spectral_norm": True},
    "three scales": {**PATCH, "n_layers": 1, "n_scales": 3},
}
every_discriminator = pytest.mark.parametrize("name", VARIANTS)


def image(height: int = 20, width: int = 20, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def build(spec: str | dict) -> Any:
    torch.manual_seed(0)
    return discriminators.build(spec)


def test_every_built_in_discriminator_is_tried_here():
    assert {entry.name for entry in discriminators.entries() if entry.origin == "built in"} == set(SMALL)


@every_discriminator
def test_its_smallest_side_is_enough_for_one_image(name: str):
    network = build(VARIANTS[name])
    side = network.smallest_side
    logits = network(image(side, side + 1, 1))
    assert logits.isfinite().all() and logits.numel()


@every_discriminator
def test_without_batch_norm_a_batch_is_judged_as_its_images_are_alone(name: str):
    network = build(VARIANTS[name]).eval()
    x = image(48, 48)
    assert torch.allclose(network(x), torch.cat([network(x[:1]), network(x[1:])]), atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("name", ["patch", "srgan"])
def test_the_smallest_side_is_enough_for_a_norm(name: str, norm: str):
    network = build({**SMALL[name], "norm": norm})
    assert network(image(network.smallest_side, network.smallest_side, 1)).isfinite().all()


@pytest.mark.parametrize(("n_layers", "stride", "field"), [(1, 2, 16), (2, 2, 34), (3, 2, 70), (3, 1, 16)])
def test_a_patch_discriminators_depth_and_stride_are_honoured(n_layers: int, stride: int, field: int):
    x = image(96, 96, 1).requires_grad_()
    logits = build({**PATCH, "n_layers": n_layers, "stride": stride})(x)
    assert logits.shape[1] == 1
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    assert x.grad is not None
    rows = x.grad.abs().sum((0, 1, 3)).nonzero()
    assert rows.max() - rows.min() + 1 == field


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("instance", nn.InstanceNorm2d)])
def test_a_patch_discriminators_norm_is_honoured(norm: str, kind: type):
    assert sum(type(m) is kind for m in build({"type": "patch", "ndf": 4, "norm": norm}).modules()) == 3


def test_a_patch_discriminator_has_cyclegans_published_size():
    assert sum(p.numel() for p in build("patch").parameters()) == 2_764_737


@pytest.mark.parametrize("spec", [SMALL["texture"], VARIANTS["high-pass"]])
def test_low_frequencies_are_not_seen_without_the_low_pass(spec: dict):
    discriminator, x = build(spec), image(64, 64)
    ramp = torch.linspace(0, 0.2, 64).expand(2, 3, 64, 64)
    changed = (discriminator(x) - discriminator(x + 0.1 + ramp)).abs()
    middle = changed[..., changed.shape[-1] // 2, changed.shape[-1] // 2]
    assert middle.max() < 1e-3


def test_the_haar_view_does_not_see_colour():
    discriminator, x = build(VARIANTS["haar"]), image(48, 48)
    assert torch.allclose(discriminator(x), discriminator(x + torch.rand(2, 3, 1, 1)), atol=1e-4)


def test_spectral_norm_bounds_what_a_convolution_can_do():
    network = build(VARIANTS["spectral norm"])
    for _ in range(30):  # power iteration, one a pass
        network(image(48, 48))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, rel=0.05)


def test_coarser_scales_are_further_channels():
    assert build(VARIANTS["three scales"])(image(64, 64)).shape[1] == 3


class TestTimm:
    def test_each_layer_has_logits_of_its_own_at_the_size_of_the_finest(self):
        assert build(TIMM)(image(64, 48)).shape == (2, 2, 32, 24)
        assert torch.equal(build({**TIMM, "layers": [2, 0]})(image(64, 48)), build(TIMM)(image(64, 48)))

    def test_only_what_learns_is_a_weight_and_in_its_state(self):
        judge = build(TIMM)
        judge(image(64, 48))
        assert {name.partition(".")[0] for name in judge.state_dict()} == {"heads"}
        assert {name.partition(".")[0] for name, _ in judge.named_parameters()} == {"heads"}

    def test_the_backbone_stays_frozen_whatever_a_trainer_does(self):
        judge = build(TIMM).train().requires_grad_(True)
        before = {name: tensor.clone() for name, tensor in judge.backbone.state_dict().items()}
        optimizer = torch.optim.SGD(judge.parameters(), 1.0)
        first = judge(image(64, 48))
        first.mean().backward()
        optimizer.step()
        assert all(torch.equal(before[name], tensor) for name, tensor in judge.backbone.state_dict().items())
        assert not any(p.requires_grad for p in judge.backbone.parameters())
        assert not any(module.training for module in judge.backbone.modules())
        assert not torch.equal(first, judge(image(64, 48)))

    def test_an_image_gets_its_gradient_through_the_backbone(self):
        x = image(64, 48).requires_grad_()
        build(TIMM).requires_grad_(False)(x).mean().backward()
        assert x.grad is not None and x.grad.any()

    def test_missing_weights_are_refused_when_training_begins_and_are_not_needed_before(self):
        judge = build({**TIMM, "weights": "nowhere.pth"}).eval()
        with pytest.raises(UserError, match=r"^discriminator timm: no file 'nowhere.pth'"):
            judge.train()

    def test_a_run_trains_its_heads_alone_and_is_refused_at_once_where_weights_are_missing(self):
        def trainer(weights: str) -> JointTrainer:
            cut = {"type": "cut", "ngf": 4, "n_blocks": 1, "layers": [1, 3]}
            cut["discriminator"] = {**TIMM, "weights": weights}
            recipe = load_recipe("smoke", [f"translator={json.dumps(cut)}", "schedule={}"]).resolve(steps_per_epoch=1)
            return build_trainer(recipe, make_accelerator(recipe, cpu=True))

        run = trainer("random")
        judge = run.networks["discriminator_degraded"]
        before = [p.clone() for p in judge.parameters()]
        run.train_step([(image(32, 32), image(16, 16), torch.tensor([0, 1]))], 0)
        assert not any(torch.equal(p, old) for p, old in zip(judge.parameters(), before, strict=True))
        assert not any(p.requires_grad for p in judge.backbone.parameters())
        with pytest.raises(UserError, match="discriminator timm: no file"):
            trainer("nowhere.pth")

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [({"model": "test_resnot"}, "discriminator timm: .*did you mean 'test_resnet'"), ({"layers": []}, "layers")],
    )
    def test_wrong_options_are_refused_at_once(self, options: dict, sentence: str):
        with pytest.raises(UserError, match=sentence):
            build({**TIMM, **options})


class TestGames:
    logits = torch.randn(2, 8, 1, generator=torch.Generator().manual_seed(0)).unbind()

    @pytest.mark.parametrize("kind", GAMES)
    def test_each_side_pays_less_the_better_it_plays(self, kind: GameName):
        game, undecided = GAMES[kind], torch.full((8, 1), 0.5)
        assert game.loss_d(undecided - 0.3, undecided + 0.3) < game.loss_d(undecided, undecided)
        assert game.loss_g(undecided + 0.3, undecided) < game.loss_g(undecided, undecided)

    def test_in_the_relativistic_game_the_head_is_the_discriminator_with_sides_exchanged(self):
        restored, clean = self.logits
        game = GAMES["relativistic"]
        assert game.loss_g(restored, clean) == game.loss_d(clean, restored)
        assert game.loss_d(restored + 5, clean + 5).item() == pytest.approx(game.loss_d(restored, clean).item())
        undecided = torch.zeros(8, 1)
        assert game.loss_d(undecided, undecided).item() == pytest.approx(math.log(2))

    def test_the_nonsaturating_game_is_cross_entropy(self):
        restored, clean = self.logits
        entropy = torch.nn.functional.binary_cross_entropy_with_logits
        ones, zeros = torch.ones(8, 1), torch.zeros(8, 1)
        expected = (entropy(clean, ones) + entropy(restored, zeros)) / 2
        assert GAMES["nonsaturating"].loss_d(restored, clean).item() == pytest.approx(expected.item())
        assert GAMES["nonsaturating"].loss_g(restored, None).item() == pytest.approx(entropy(restored, ones).item())

    @pytest.mark.parametrize("kind", GAMES)
    @pytest.mark.parametrize("discriminator", ["srgan", "patch"])
    def test_a_discriminator_learns_to_distinguish_the_two(self, kind: GameName, discriminator: str):
        torch.manual_seed(0)
        loss = losses.build({"type": "gan", "game": kind, "discriminator": {"type": discriminator, "ndf": 8}})
        optimizer = torch.optim.Adam(loss.discriminator.parameters(), 1e-3)
        clean, restored = image(32, 32), image(32, 32) / 2
        first = loss.loss_d(restored, clean).item()
        for _ in range(10):
            optimizer.zero_grad()
            loss.loss_d(restored, clean).backward()
            optimizer.step()
        assert loss.loss_d(restored, clean).item() < 0.8 * first


@pytest.mark.parametrize("kind", GAMES)
def test_the_losses_of_both_sides_use_the_discriminator(kind: GameName):
    game, judge, made = GAMES[kind], build(SMALL["texture"]), image(32, 32).requires_grad_()
    game.generator_loss(judge, made, image(32, 32)).backward()
    assert made.grad is not None and made.grad.any()
    plain, punished = (game.discriminator_loss(judge, image(32, 32), image(32, 32), r1) for r1 in (0.0, 2.0))
    assert (punished - plain).item() == pytest.approx(2 * r1_penalty(judge, image(32, 32)).item(), rel=1e-3)


def test_r1_is_half_the_squared_gradient_of_an_images_logits():
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 3 * x.sum((1, 2, 3))[:, None]

    assert r1_penalty(Sum(), image(4, 5)).item() == pytest.approx(9 * 3 * 4 * 5 / 2)


def test_r1_teaches_the_discriminator_to_be_flat():
    judge = build(PATCH)
    r1_penalty(judge, image(32, 32)).backward()
    assert any(p.grad is not None and p.grad.any() for p in judge.parameters())


@pytest.mark.parametrize("side", [1, 16, 17, 40, 96])
def test_srgans_discriminator_gives_one_logit_for_images_of_any_size(side: int):
    assert build(SMALL["srgan"])(torch.rand(2, 3, side, side + 3)).shape == (2, 1)


def test_srgans_discriminator_has_its_published_layers():
    with torch.device("meta"):
        network = discriminators.build("srgan")
    widths = [3, 64, 64, 128, 128, 256, 256, 512, 512]
    convolutions = sum(9 * before * after + after for before, after in pairwise(widths))
    norms = 2 * sum(widths[2:])
    linear = (512 * 6 * 6 + 1) * 1024 + 1025
    assert sum(p.numel() for p in network.parameters()) == convolutions + norms + linear
