"""Gradients: norms and clipping as torch has them, and the weights that get none are counted."""

import json

import torch
from small_trainer import CYCLEGAN, make_batch, make_trainer
from torch import distributed, nn

from unpairaug.training.averaging import GradientAveraging
from unpairaug.training.gradients import Gradients
from unpairaug.training.schedule import Schedule


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 3))


def backward(net: nn.Module) -> None:
    torch.manual_seed(7)
    net(torch.rand(2, 2, 8, 8)).square().mean().backward()


def test_norms_and_clipping_are_those_of_torch():
    ours, theirs = network(0), network(0)
    for net in (ours, theirs):
        backward(net)
    gradients = Gradients({"head": ours, "other": network(1)})
    gradients.measure()
    gradients.clip(0.01)
    norm = nn.utils.clip_grad_norm_(theirs.parameters(), 0.01)
    assert torch.equal(gradients.norms["head"], norm) and "other" not in gradients.norms
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs)  # type: ignore[arg-type]


def idle(gradients: Gradients) -> dict[str, int]:
    names, steps = gradients.idle_steps["head"]
    return dict(zip(names, steps.tolist(), strict=True))


def test_weights_without_a_gradient_are_counted_and_the_count_is_saved():
    net = network(0)
    gradients = Gradients({"head": net})
    for _ in range(2):
        backward(net)
        gradients.measure()
    assert set(idle(gradients).values()) == {0}
    nn.init.constant_(net[0].bias, -100.0)  # type: ignore[arg-type]  # every unit of the ReLU is dead from here on
    for _ in range(3):
        net.zero_grad()
        backward(net)
        gradients.measure()
    expected = {"0.weight": 3, "0.bias": 3, "2.weight": 3, "2.bias": 0}
    assert idle(gradients) == expected
    resumed = Gradients({"head": net})
    resumed.load_state_dict(json.loads(json.dumps(gradients.state_dict())))
    resumed.measure()
    assert idle(resumed) == {name: steps + bool(steps) for name, steps in expected.items()}


def test_networks_that_do_not_learn_in_a_phase_have_no_norm():
    trainer = make_trainer(CYCLEGAN, schedule=Schedule(steps=9, translator_warmup=1, head_warmup=1))
    found = []
    for step in range(3):
        trainer.train_step([make_batch(4 * step)], step)
        found.append(set(trainer.gradients.norms))
    everything = {"generator_degrade", "generator_restore", "discriminator_degraded", "discriminator_clean", "head"}
    assert found == [everything - {"head"}, {"head"}, everything]


def gradients_of(net: nn.Module) -> list[torch.Tensor]:
    return [p.grad for p in net.parameters() if p.grad is not None]


class HalvedAccelerator:
    """Stands for two processes of which the other one has gradients of zero."""

    num_processes = 2

    def reduce(self, flat: torch.Tensor, reduction: str) -> torch.Tensor:
        return flat / 2


def test_a_gradient_is_averaged_once_whether_it_is_early_late_or_changed_meanwhile(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        early, late, changed = (network(seed) for seed in range(3))
        averaging = GradientAveraging(HalvedAccelerator(), {"a": early, "b": late, "c": changed})  # type: ignore[arg-type]
        for net in (early, changed):
            backward(net)
        averaging.begin()
        for net in (late, changed):
            backward(net)
        expected = [grad / 2 for net in (early, late, changed) for grad in gradients_of(net)]
        averaging.finish()
    finally:
        distributed.destroy_process_group()
    found = [grad for net in (early, late, changed) for grad in gradients_of(net)]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
