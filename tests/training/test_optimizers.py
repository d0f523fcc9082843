"""Optimisers by name: adam is torch's own, several step together, and each resumes from its state."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from unpairaug.errors import UserError
from unpairaug.recipe import load_recipe, to_yaml
from unpairaug.recipe.optimizer_sections import NetworkOptimizer, OptimizerSection
from unpairaug.registry.options import mistakes
from unpairaug.training.learning_rates import learning_rate, learning_rates
from unpairaug.training.optimizer_state import StepTogether
from unpairaug.training.optimizers import NetworkOptimizers, kind_of
from unpairaug.training.resume import MUST_NOT_CHANGE
from unpairaug.training.schedule import Schedule

CPU = torch.device("cpu")


def toy_networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    made = {
        name: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))
        for name in ("generator_degrade", "discriminator_clean", "task_discriminator_gan", "head")
    }
    return {name: network.to(memory_format=torch.channels_last) for name, network in made.items()}


def section(**kinds: Any) -> OptimizerSection:
    return OptimizerSection.model_validate(kinds)


def give_gradients(network: nn.Module, step: int) -> None:
    network.zero_grad()
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
    (network(images) - images).square().mean().backward()


def steps(networks: dict[str, nn.Module], optimizers: NetworkOptimizers, first: int, end: int) -> None:
    for step in range(first, end):
        for network in networks.values():
            give_gradients(network, step)
        optimizers.optimizer.step()


def weights(network: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in network.parameters()]


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(weights(one), weights(other), strict=True))


def said(kind: type, values: Any) -> str:
    with pytest.raises(ValidationError) as error:
        kind.model_validate(values)
    return "\n".join(f"{'.'.join(map(str, path))}: {sentence}" for path, sentence in mistakes(error.value, values))


def test_without_a_word_every_network_is_stepped_by_torchs_fused_adam_bit_for_bit():
    networks, others = toy_networks(), toy_networks()
    optimizers = NetworkOptimizers(networks, section(), CPU)
    settings = {"generator": (2e-4, (0.5, 0.999)), "discriminator": (2e-4, (0.5, 0.999)), "head": (1e-4, (0.9, 0.999))}
    plain = torch.optim.Adam(
        [
            {"params": list(network.parameters()), "lr": lr, "betas": betas}
            for name, network in others.items()
            for lr, betas in [settings[kind_of(name)]]
        ],
        fused=True,
    )
    assert type(optimizers.optimizer) is torch.optim.Adam
    for step in range(5):
        for network in (*networks.values(), *others.values()):
            give_gradients(network, step)
        optimizers.optimizer.step()
        plain.step()
    assert all(same(networks[name], others[name]) for name in networks)


def test_adam_is_checked_and_built_without_timm():
    code = (
        "import sys, torch; from unpairaug.training.optimizers import NetworkOptimizers;"
        "from unpairaug.recipe import load_recipe;"
        "how = load_recipe('smoke', ['optimizer.head.eps=1e-7']).optimizer;"
        "NetworkOptimizers({'head': torch.nn.Linear(2, 2)}, how, torch.device('cpu')); sys.exit('timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_several_optimisers_that_step_as_one_equal_each_alone():
    how = section(generator={"type": "sgd", "lr": 0.1}, discriminator={"type": "lamb", "lr": 1e-2}, head={"lr": 1e-2})
    together = toy_networks()
    optimizers = NetworkOptimizers(together, how, CPU)
    assert isinstance(optimizers.optimizer, StepTogether)
    steps(together, optimizers, 0, 4)
    for name in together:
        alone = {name: toy_networks()[name]}
        steps(alone, NetworkOptimizers(alone, how, CPU), 0, 4)
        assert same(alone[name], together[name]), name


def test_timms_optimiser_of_that_name_is_what_steps():
    from timm.optim import create_optimizer_v2

    networks, other = {"head": toy_networks()["head"]}, toy_networks()["head"]
    how = {"type": "adan", "lr": 1e-2, "betas": [0.9, 0.8, 0.7], "weight_decay": 0.1}
    steps(networks, NetworkOptimizers(networks, section(head=how), CPU), 0, 4)
    plain = create_optimizer_v2(other, "adan", lr=1e-2, betas=(0.9, 0.8, 0.7), weight_decay=0.1)
    for step in range(4):
        give_gradients(other, step)
        plain.step()
    assert same(networks["head"], other)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_weights_decay_and_biases_and_norms_do_not(name: str):
    network = toy_networks()["head"]
    optimizer = NetworkOptimizers({"head": network}, section(head={"type": name, "weight_decay": 0.3}), CPU).optimizer
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decays[id(p)] for p in network.parameters()] == [0.3, 0.0, 0.0, 0.0, 0.3, 0.0]


HOW = {
    "adam": {"type": "adam", "amsgrad": True},
    "sgd": {"type": "sgd", "weight_decay": 0.1},
    "lion": {"type": "lion"},
    "adan": {"type": "adan"},
    "lamb": {"type": "lamb"},
    "adafactorbv": {"type": "adafactorbv", "momentum": 0.9},
    "muon": {"type": "muon"},
    "lookahead_radam": {"type": "lookahead_radam"},
}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_any_optimiser_goes_on_from_its_state_as_if_never_stopped(how: dict):
    whole, stopped = toy_networks(), toy_networks()
    spec = section(head=how, generator={"type": "sgd"})
    steps(whole, never := NetworkOptimizers(whole, spec, CPU), 0, 13)
    steps(stopped, before := NetworkOptimizers(stopped, spec, CPU), 0, 4)
    tensors, values = before.state()
    resumed = copy.deepcopy(stopped)
    after = NetworkOptimizers(resumed, spec, CPU)
    after.load_state({k: t.clone(memory_format=torch.contiguous_format) for k, t in tensors.items()}, as_json(values))
    steps(resumed, after, 4, 13)
    assert all(same(whole[name], resumed[name]) for name in whole)
    assert never.state()[0].keys() == after.state()[0].keys() and never.state()[1] == after.state()[1]


def as_json(values: dict) -> dict:
    return json.loads(json.dumps(values))


def test_moments_lie_in_memory_as_their_weights_do():
    networks = toy_networks()
    optimizers = NetworkOptimizers(networks, section(), CPU)
    steps(networks, optimizers, 0, 1)
    tensors, values = optimizers.state()
    optimizers.load_state({key: tensor.contiguous() for key, tensor in tensors.items()}, values)
    weight = networks["head"][0].weight
    assert weight.stride() != weight.contiguous().stride()
    assert optimizers.optimizer.state[weight]["exp_avg"].stride() == weight.stride()


def test_a_gradient_that_is_not_finite_leaves_out_the_step_of_every_part():
    networks = toy_networks()
    before = copy.deepcopy(networks)
    optimizer = NetworkOptimizers(networks, section(head={"type": "sgd"}), CPU).optimizer
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(torch.ones(()))
    for network in networks.values():
        give_gradients(network, 0)
    gradient = networks["generator_degrade"][0].weight.grad.clone()
    networks["head"][0].weight.grad[0] = torch.inf
    scaler.unscale_(optimizer)
    assert torch.equal(networks["generator_degrade"][0].weight.grad, gradient / 4)
    scaler.step(optimizer)
    scaler.update()
    assert all(same(networks[name], before[name]) for name in networks)
    assert scaler.get_scale() == 2.0


@pytest.mark.filterwarnings("ignore:It is highly recommended to have 'opt_einsum'")
@pytest.mark.parametrize("name", ["kron", "kronw"])
def test_an_optimiser_that_a_checkpoint_cannot_hold_is_refused_before_training(name: str):
    with pytest.raises(UserError, match=rf"optimizer\.head\.type: '{name}' cannot .*rng_state.*choose another"):
        NetworkOptimizers(toy_networks(), section(head=name), CPU)


def test_an_optimiser_that_draws_at_random_is_refused(monkeypatch):
    sgd_step = torch.optim.SGD.step

    def with_noise(self, closure=None):
        self.param_groups[0]["params"][0].grad += torch.rand(())
        return sgd_step(self, closure)

    monkeypatch.setattr("torch.optim.SGD.step", with_noise)
    with pytest.raises(UserError, match="would differ from an uninterrupted one"):
        NetworkOptimizers(toy_networks(), section(head="sgd"), CPU)


def test_options_that_an_optimiser_refuses_itself_are_told_with_the_section():
    with pytest.raises(UserError, match=r"optimizer\.head: 'sgd' cannot be built with these options: .*dampening"):
        NetworkOptimizers(toy_networks(), section(head={"type": "sgd", "dampening": 0.5}), CPU)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"type": "lionn"}, "type: timm has no optimiser 'lionn'; did you mean 'lion'? Known: adabelief, "),
        ({"type": "lbfgs"}, "type: timm has no optimiser 'lbfgs'; known: "),
        ({"type": "adahessian"}, "type: 'adahessian' needs second derivatives"),
        ({"epss": 1e-7}, "epss: unknown key of optimiser 'adam'; did you mean 'eps'?"),
        ({"wieght_decay": 1}, "wieght_decay: unknown key of optimiser 'adam'; did you mean 'weight_decay'?"),
        ({"betas": [0.9]}, "betas.1: required, and not given"),
        ({"betas": [0.9, 0.9, 0.9]}, "betas: "),
        ({"type": "adan", "betas": [0.9, 0.9]}, "betas.2: required, and not given"),
        ({"type": "sgd", "betas": [0.9, 0.9]}, "betas: optimiser 'sgd' takes none; its own options: momentum, "),
        ({"type": "sgd", "momentmu": 0.9}, "momentmu: unknown key of optimiser 'sgd'; did you mean 'momentum'?"),
        ({"type": "sgd", "momentum": "much"}, "momentum: given 'much', should be a number"),
        ({"type": "lion", "eps": 1e-8}, "eps: unknown key of optimiser 'lion'; "),
        ({"type": "sgd", "maximize": True}, "maximize: unknown key of optimiser 'sgd'; "),
        ({"lr_schedule": "cosin"}, "lr_schedule.type: given 'cosin', should be a learning-rate schedule; did you mean"),
        ({"lr_schedule": {"warmup": 3}}, "lr_schedule.type: given nothing, should be"),
        ({"lr_schedule": "plateau"}, "lr_schedule.type: 'plateau' depends on the metrics"),
        ({"lr_schedule": {"type": "step"}}, "lr_schedule.decay: required"),
        ({"lr_schedule": {"type": "step", "decay": 0}}, "lr_schedule.decay: given 0, should be 1 step or more"),
        ({"lr_schedule": {"type": "cosine", "warmpu": 1}}, "lr_schedule.warmpu: unknown key; did you mean 'warmup'?"),
        ({"lr_schedule": {"type": "multistep", "milestones": []}}, "lr_schedule.milestones: "),
        ({"lr_schedule": {"type": "multistep", "milestones": ["9%", "7%"]}}, "lr_schedule.milestones: given ['9%', '7"),
        ({"lr_schedule": 7}, "lr_schedule: given 7, should be a name"),
    ],
)
def test_a_mistake_is_told_with_its_key_before_anything_is_built(values: dict, sentence: str):
    assert said(NetworkOptimizer, values).startswith(sentence)


def test_a_name_alone_stands_for_an_optimiser_or_a_schedule():
    how = section(generator="lion", head={"lr_schedule": "cosine"})
    assert how == section(generator={"type": "lion"}, head={"lr_schedule": {"type": "cosine"}})
    assert how.generator.betas is None, "those of adam are not lion's"


def test_another_type_keeps_the_learning_rate_and_its_schedule():
    overrides = ["optimizer.head.lr=3e-3", "optimizer.head.lr_schedule=cosine", "optimizer.generator=sgd"]
    how = load_recipe("cyclesr_sr", [*overrides, "optimizer.head=lion"]).optimizer
    assert (how.head.type, how.head.betas, how.head.lr, how.head.lr_schedule.type) == ("lion", None, 3e-3, "cosine")
    assert (how.generator.type, how.generator.betas, how.generator.lr) == ("sgd", None, 1e-4)


@pytest.mark.parametrize(
    ("key", "may_change"),
    [("lr", True), ("lr_schedule.type", True), ("betas", True), ("type", False), ("momentum", False), ("lr_x", False)],
)
def test_a_resumed_run_may_have_other_rates_and_no_other_optimiser(key: str, may_change: bool):
    assert (MUST_NOT_CHANGE.match(f"optimizer.head.{key}") is None) == may_change


def test_the_lengths_of_a_schedule_become_steps_and_the_recipe_runs_again_as_it_is(tmp_path):
    overrides = [
        "train.steps=200",
        "optimizer.head.lr_schedule={type: multistep, milestones: [10, 2 epochs, 50%], warmup: 5%}",
        "optimizer.generator.lr_schedule={type: step, decay: 0.1%}",
    ]
    recipe = load_recipe("smoke", overrides).resolve(steps_per_epoch=20)
    schedule = recipe.optimizer.head.lr_schedule
    assert (schedule.milestones, schedule.warmup, recipe.optimizer.generator.lr_schedule.decay) == (
        (10, 40, 100),
        10,
        1,
    )
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe), encoding="utf-8")
    assert load_recipe(str(tmp_path / "recipe.yaml")) == recipe


def rates(schedule: dict | None, lr: float = 0.1, begin: int = 0, end: int = 100, lr_decay: int = 0) -> list[float]:
    how = NetworkOptimizer.model_validate({"lr": lr, "lr_schedule": schedule})
    rate = learning_rate(how, Schedule(steps=end, lr_decay=lr_decay), begin, end)
    return [rate(step) for step in range(end)]


def test_without_a_schedule_the_learning_rate_follows_lr_decay():
    schedule = Schedule(steps=100, lr_decay=30)
    assert rates(None, lr_decay=30) == [0.1 * schedule.lr_factor(step, 100) for step in range(100)]


@pytest.mark.parametrize(
    ("ours", "timms", "options"),
    [
        ({"type": "cosine", "warmup": 7, "min_lr": 1e-3}, "CosineLRScheduler", {"t_initial": 100, "lr_min": 1e-3}),
        ({"type": "tanh", "warmup": 7}, "TanhLRScheduler", {"t_initial": 100}),
        ({"type": "poly", "warmup": 7, "power": 0.9}, "PolyLRScheduler", {"t_initial": 100, "power": 0.9}),
        ({"type": "step", "warmup": 7, "decay": 30}, "StepLRScheduler", {"decay_t": 30, "decay_rate": 0.5}),
        (
            {"type": "multistep", "warmup": 7, "milestones": [20, 70], "decay_rate": 0.1},
            "MultiStepLRScheduler",
            {"decay_t": [21, 71], "decay_rate": 0.1},
        ),
    ],
    ids=["cosine", "tanh", "poly", "step", "multistep"],
)
def test_a_schedule_has_the_values_of_timms(ours: dict, timms: str, options: dict):
    import timm.scheduler

    optimizer = torch.optim.SGD([torch.zeros(())], lr=0.1)
    kind = getattr(timm.scheduler, timms)
    scheduler = kind(optimizer, **options, warmup_t=7, warmup_prefix=False, t_in_epochs=False)
    expected = []
    for step in range(100):
        scheduler.step_update(step)
        expected.append(optimizer.param_groups[0]["lr"])
    assert rates(ours) == expected


def test_milestones_fall_where_regular_steps_do():
    assert rates({"type": "multistep", "milestones": [25, 50, 75]}) == rates({"type": "step", "decay": 25})


def test_cincgan_and_edsr_halve_again_and_again():
    halving = rates({"type": "step", "decay": 40}, lr=1e-4)
    assert halving == pytest.approx([1e-4] * 40 + [5e-5] * 40 + [2.5e-5] * 20)


@pytest.mark.parametrize("kind", ["cosine", "tanh", "poly", "step", "multistep"])
def test_a_schedule_is_a_function_of_the_step_alone(kind: str):
    more = {"step": {"decay": 9}, "multistep": {"milestones": [9, 30]}}.get(kind, {})
    how = NetworkOptimizer.model_validate({"lr_schedule": {"type": kind, "warmup": 5, **more}})
    rate = learning_rate(how, Schedule(steps=40), 0, 40)
    forwards = [rate(step) for step in range(40)]
    assert [rate(step) for step in reversed(range(40))] == forwards[::-1]
    assert len(set(forwards)) > 2


def test_each_network_follows_its_schedule_from_its_first_step_to_its_last():
    cosine = {"lr": 1.0, "lr_schedule": {"type": "cosine", "warmup": 4}}
    schedule = Schedule(steps=40, translator_warmup=10, head_finish=10)
    at = learning_rates(section(generator=cosine, discriminator=cosine, head=cosine), schedule)
    course = rates(cosine["lr_schedule"], lr=1.0, end=30)
    assert [at["generator"](step) for step in range(30)] == course
    assert [at["discriminator"](step) for step in range(30)] == course
    assert [at["head"](step) for step in range(10, 40)] == course
    assert course[0] == 0 and course[-1] < 0.01
