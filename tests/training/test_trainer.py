"""The joint step: where gradients go, what phases train, what accumulation and averages mean."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_trainer import (
    ADAM,
    CYCLEGAN,
    GAN,
    SRGAN,
    STOCHASTIC,
    divisible_translators,
    every_translator,
    make_batch,
    make_trainer,
)

from unpairaug.data import UnpairedBatch
from unpairaug.errors import UserError
from unpairaug.registry import tasks
from unpairaug.training.build import _validate_output_shape
from unpairaug.training.checkpoint import load_checkpoint, save_checkpoint
from unpairaug.training.schedule import Schedule

CHECKOUT = Path(__file__).resolve().parents[2]
STEP_EVERY_TRANSLATOR = CHECKOUT / "tests" / "support" / "step_every_translator.py"


def gradients(feedback: float) -> dict[str, torch.Tensor | None]:
    """Gradients of the task loss alone, by network."""
    trainer = make_trainer(schedule=Schedule(steps=100, feedback=feedback))
    trainer.translator.losses_g = lambda *_: {}
    trainer.translator.losses_d = lambda *_: {}
    trainer.accumulate(make_batch(), 50, "joint", 1.0)
    flat = {}
    for name, network in trainer.networks.items():
        found = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        flat[name] = torch.cat(found) if found else None
    return flat


def test_the_task_loss_reaches_degrade_and_the_head_and_nothing_else():
    found = gradients(feedback=1.0)
    reached = {name for name, gradient in found.items() if gradient is not None and gradient.abs().sum() > 0}
    assert reached == {"generator_degrade", "head"}


def test_feedback_scales_the_gradient_in_degrade_and_not_in_the_head():
    # By a power of two, by which floats are scaled without rounding: so both are equal to the last bit.
    plain, fourfold = gradients(feedback=1.0), gradients(feedback=4.0)
    assert torch.equal(fourfold["generator_degrade"], 4 * plain["generator_degrade"])
    assert torch.equal(fourfold["head"], plain["head"])


def test_feedback_0_keeps_the_task_loss_out_of_degrade():
    found = gradients(feedback=0.0)
    assert found["generator_degrade"] is None
    assert torch.equal(found["head"], gradients(feedback=1.0)["head"])


@pytest.mark.parametrize(
    ("step", "moved"),
    [
        (0, {"generator_degrade", "generator_restore", "discriminator_degraded", "discriminator_clean"}),
        (1, {"head"}),
        (
            2,
            {"generator_degrade", "generator_restore", "discriminator_degraded", "discriminator_clean", "head"},
        ),
        (99, {"head"}),
    ],
    ids=["translator warm-up", "head warm-up", "joint", "head finish"],
)
def test_a_phase_moves_its_networks_and_no_other(step, moved):
    trainer = make_trainer(schedule=Schedule(steps=100, translator_warmup=1, head_warmup=1, head_finish=1))
    before = copy.deepcopy(trainer.networks)
    trainer.train_step([make_batch()], step)
    for name, network in trainer.networks.items():
        same = all(torch.equal(p, q) for p, q in zip(network.parameters(), before[name].parameters(), strict=True))
        assert same != (name in moved), name


@pytest.mark.parametrize("translator", divisible_translators().values(), ids=lambda spec: spec["type"])
def test_two_micro_batches_have_the_gradient_and_the_losses_of_one_batch_of_both(translator):
    whole, halves = make_trainer(translator), make_trainer(translator)
    batch = make_batch(size=4)
    losses = whole.accumulate(batch, 50, "joint", 1.0)
    parts = [UnpairedBatch(*(x[rows] for x in batch)) for rows in (slice(2), slice(2, 4))]
    split = [halves.accumulate(part, 50, "joint", 0.5) for part in parts]
    for name in losses:
        assert torch.allclose(losses[name], (split[0][name] + split[1][name]) / 2, rtol=1e-4), name
    for name, network in whole.networks.items():
        for p, q in zip(network.parameters(), halves.networks[name].parameters(), strict=True):
            assert (p.grad is None) == (q.grad is None), name
            assert p.grad is None or torch.allclose(p.grad, q.grad, rtol=1e-3, atol=1e-6), name


def test_a_discriminator_learns_nothing_from_the_generators_terms():
    trainer = make_trainer()
    trainer.translator.losses_d = lambda *_: {}
    trainer.accumulate(make_batch(), 50, "joint", 1.0)
    assert all(p.grad is None for p in trainer.translator.discriminators.parameters())


def test_generators_learn_nothing_from_the_discriminators_terms():
    trainer = make_trainer()
    batch = make_batch()
    trainer.accumulate(batch, 50, "joint", 1.0)
    with_d = [p.grad.clone() for p in trainer.translator.generators.parameters()]
    trainer = make_trainer()
    trainer.translator.losses_d = lambda *_: {}
    trainer.accumulate(batch, 50, "joint", 1.0)
    without_d = [p.grad for p in trainer.translator.generators.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(with_d, without_d, strict=True))


def test_each_network_is_clipped_by_its_own_norm():
    trainer = make_trainer(clip=1e-3)
    seen = {}
    step = trainer.optimizer.step
    trainer.optimizer.step = lambda: (
        seen.update(
            {n: torch.cat([p.grad.flatten() for p in m.parameters()]).norm() for n, m in trainer.networks.items()}
        ),
        step(),
    )
    trainer.train_step([make_batch()], 50)
    for name, norm in seen.items():
        assert norm == pytest.approx(1e-3, rel=1e-2), name


@pytest.mark.parametrize("translator", divisible_translators().values(), ids=lambda spec: spec["type"])
def test_the_average_is_the_running_average_of_the_weights(translator):
    trainer = make_trainer(translator, ema=0.2)
    pairs = (trainer.task, trainer.ema_task), (trainer.translator, trainer.ema_translator)
    expected: dict[tuple[int, str], torch.Tensor] = {}
    for step in range(3):
        trainer.train_step([make_batch(4 * step)], step)
        for i, (learning, average) in enumerate(pairs):
            weights = dict(learning.named_parameters())
            for name, _ in average.named_parameters():  # what judges is not averaged
                now = weights[name].detach().clone()
                decay = min(0.2, (1 + step) / (10 + step)) if step else 0.0
                expected[i, name] = decay * expected[i, name] + (1 - decay) * now if step else now
    for i, (_, average) in enumerate(pairs):
        for name, found in average.named_parameters():
            assert torch.allclose(found, expected[i, name], atol=1e-6), name


def test_two_processes_with_half_the_batch_step_every_translator_as_one_does(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "ACCELERATE_USE_CPU": "true"}
    for count, launcher in ((1, []), (2, ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"])):
        command = [
            sys.executable,
            *launcher,
            str(STEP_EVERY_TRANSLATOR),
            f"of_{count}",
        ]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    for name in divisible_translators():
        one, two = (load_file(tmp_path / f"of_{count}" / f"{name}.safetensors") for count in (1, 2))
        assert one.keys() == two.keys()
        for key in one:
            assert torch.allclose(one[key], two[key], rtol=1e-4, atol=1e-6), f"{name}: {key}"


OPTIMIZERS = {
    "adam": {},
    "momentum": {kind: {"type": "sgd", "lr": 1e-2, "weight_decay": 1e-2} for kind in ADAM},
    "steps counted in the group": {"head": {"type": "adan", "lr_schedule": {"type": "cosine", "warmup": 2}}},
    "lookahead, half precision, orthogonal": {
        "generator": {"type": "lookahead_lion", "lr": 1e-4},
        "discriminator": {"type": "adafactorbv", "momentum": 0.9},
        "head": {"type": "muon", "lr_schedule": {"type": "step", "decay": 3}},
    },
}
RUNS = {
    **{name: (spec, {}, "l1") for name, spec in every_translator(pool_size=8).items()},
    **{how: (STOCHASTIC, optimizer, "l1") for how, optimizer in OPTIMIZERS.items() if optimizer},
    "gan without norm": (CYCLEGAN, {}, GAN),
    "gan with batch norm": (CYCLEGAN, {}, {"gan": {"discriminator": {"type": "srgan", "ndf": 4}}}),
    "gan and a schedule": (CYCLEGAN, OPTIMIZERS["lookahead, half precision, orthogonal"], GAN),
}


@pytest.mark.parametrize(("translator", "optimizer", "loss"), RUNS.values(), ids=RUNS)
def test_a_trainer_resumes_bit_for_bit_from_its_checkpoint(translator, optimizer, loss, tmp_path):
    batches, schedule = [make_batch(4 * i) for i in range(8)], Schedule(steps=8, head_warmup=2, lr_decay=4)
    never_stopped, stopped, resumed = (make_trainer(translator, schedule, optimizer, loss) for _ in range(3))
    for step, batch in enumerate(batches):
        never_stopped.train_step([batch], step)
        if step < 4:
            stopped.train_step([batch], step)
    save_checkpoint(tmp_path, 4, *stopped.state(), keep=1)
    resumed.load_state(*load_checkpoint(tmp_path / "step_4"))
    for step, batch in enumerate(batches[4:], 4):
        resumed.train_step([batch], step)
    assert never_stopped.state()[1] == resumed.state()[1]
    expected, found = never_stopped.state()[0], resumed.state()[0]
    for file in expected:
        assert expected[file].keys() == found[file].keys()
        for key in expected[file]:
            assert torch.equal(expected[file][key], found[file][key]), f"{file}: {key}"


def test_learning_rates_and_betas_are_the_recipes_also_after_a_resume(tmp_path):
    trainer, other = make_trainer(), make_trainer(optimizer={"head": {"lr": 1e-5, "betas": [0.1, 0.2]}})
    trainer.train_step([make_batch()], 0)
    save_checkpoint(tmp_path, 1, *trainer.state(), keep=1)
    other.load_state(*load_checkpoint(tmp_path / "step_1"))
    other.train_step([make_batch(4)], 1)
    head = next(group for group in other.optimizer.param_groups if group["name"] == "head")
    assert (head["lr"], head["betas"]) == (1e-5, (0.1, 0.2))


def test_weight_decay_may_begin_with_a_resume(tmp_path):
    trainer, other = make_trainer(), make_trainer(optimizer={"head": {"lr": 1e-2, "weight_decay": 0.1}})
    trainer.train_step([make_batch()], 0)
    save_checkpoint(tmp_path, 1, *trainer.state(), keep=1)
    other.load_state(*load_checkpoint(tmp_path / "step_1"))
    before, after = trainer.state()[0]["optimizer"], other.state()[0]["optimizer"]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_translator_without_networks_has_a_warm_up_without_losses():
    trainer = make_trainer({"type": "bicubic"}, Schedule(steps=4, translator_warmup=1))
    assert trainer.train_step([make_batch()], 0) == {}
    assert set(trainer.train_step([make_batch()], 1)) == {"task_l1"}


def test_every_term_of_the_task_is_logged_and_lambda_task_multiplies_all():
    terms = [make_trainer(loss=GAN, lambda_task=weight).train_step([make_batch()], 50) for weight in (1.0, 3.0)]
    named = {"task_l1", "task_ssim", "task_gan"}
    assert {name for name in terms[0] if "task" in name} == {*named, "d_task_gan"}
    for name in named:
        assert terms[1][name].item() == pytest.approx(3 * terms[0][name].item()), name
    assert terms[1]["d_task_gan"] == terms[0]["d_task_gan"]


@pytest.mark.parametrize(
    ("step", "moves"),
    [(0, False), (1, True), (2, True), (99, True)],
    ids=["translator warm-up", "head warm-up", "joint", "head finish"],
)
def test_the_tasks_discriminator_learns_whenever_the_head_does(step, moves):
    schedule = Schedule(steps=100, translator_warmup=1, head_warmup=1, head_finish=1, lr_decay=50)
    trainer = make_trainer(schedule=schedule, loss=GAN)
    judge = trainer.networks["task_discriminator_gan"]
    before = copy.deepcopy(judge)
    trainer.train_step([make_batch()], step)
    assert moves != all(torch.equal(p, q) for p, q in zip(judge.parameters(), before.parameters(), strict=True))


def test_heads_and_generators_learn_nothing_from_the_tasks_discriminator_terms_nor_it_from_theirs():
    whole, alone = make_trainer(loss=GAN), make_trainer(loss=GAN)
    whole.accumulate(make_batch(), 50, "joint", 1.0)
    alone.task.losses_d = lambda *_: {}
    alone.accumulate(make_batch(), 50, "joint", 1.0)
    for name, network in whole.networks.items():
        for p, q in zip(network.parameters(), alone.networks[name].parameters(), strict=True):
            if name == "task_discriminator_gan":
                assert p.grad is not None and q.grad is None
            else:
                assert torch.equal(p.grad, q.grad), name


def test_adversarial_terms_flow_back_into_the_translator_as_the_others_do():
    trainer = make_trainer(loss={"gan": {"discriminator": SRGAN}})
    trainer.translator.losses_g = trainer.translator.losses_d = lambda *_: {}
    trainer.accumulate(make_batch(), 50, "joint", 1.0)
    assert any(p.grad.abs().sum() > 0 for p in trainer.translator.generators["degrade"].parameters())


def test_a_task_without_a_translator_to_train_has_the_gradient_of_its_micro_batches():
    whole, halves = (make_trainer({"type": "bicubic"}, loss={**GAN, "gan": {"discriminator": SRGAN}}) for _ in "ab")
    batch = make_batch(size=4)
    whole.accumulate(batch, 50, "joint", 1.0)
    for rows in (slice(2), slice(2, 4)):
        halves.accumulate(UnpairedBatch(*(x[rows] for x in batch)), 50, "joint", 0.5)
    for name, network in whole.networks.items():
        for p, q in zip(network.parameters(), halves.networks[name].parameters(), strict=True):
            assert torch.allclose(p.grad, q.grad, rtol=1e-3, atol=1e-6), name


def test_what_judges_the_head_is_neither_saved_nor_averaged_with_it():
    trainer, plain = make_trainer(loss=GAN), make_trainer()
    assert trainer.task.state_dict().keys() == plain.task.state_dict().keys()
    assert trainer.average.state_dict().keys() == plain.average.state_dict().keys()
    assert trainer.ema_task._criterion is None
    assert sum(p.numel() for p in trainer.networks["head"].parameters()) == sum(
        p.numel() for p in plain.networks["head"].parameters()
    )


def test_the_head_is_fed_the_real_image_of_a_pair_and_the_translated_one_else():
    trainer = make_trainer(bridge={"pairs": 0.25})
    seen: list[torch.Tensor] = []
    trainer.task.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    batch = make_batch(size=8)
    trainer.accumulate(batch, 50, "joint", 1.0)
    is_real = (seen[0] == batch.degraded).flatten(1).all(1)
    assert is_real.tolist() == [False, False, False, True] * 2


def test_a_translator_that_follows_steps_has_the_step_before_its_losses():
    trainer = make_trainer()
    seen: list[int] = []
    losses_g = trainer.translator.losses_g
    trainer.translator.losses_g = lambda *images: (seen.append(trainer.translator.training_step), losses_g(*images))[1]
    for step in (50, 7):
        trainer.accumulate(make_batch(), step, "joint", 1.0)
    assert seen == [50, 7]


def test_a_head_that_is_not_finite_from_the_start_is_refused_before_training():
    task = tasks.build({"type": "denoise"})
    task.head.register_forward_hook(lambda _head, _inputs, output: output * math.nan)
    with pytest.raises(UserError, match="returns NaN or infinity for a finite image, before any training"):
        _validate_output_shape(task, 16, "denoise")
