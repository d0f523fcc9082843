"""Loss terms on restored real images: which are allowed, which networks they train, and that none costs nothing."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from unpairaug.bridge import Bridge
from unpairaug.data import UnpairedBatch
from unpairaug.errors import UserError
from unpairaug.recipe import TrainSection
from unpairaug.recipe.optimizer_sections import OptimizerSection
from unpairaug.registry import tasks
from unpairaug.training.checkpoint import load_checkpoint, save_checkpoint
from unpairaug.training.real_path import RealPath
from unpairaug.training.schedule import Schedule
from unpairaug.training.trainer import JointTrainer
from unpairaug.translator import build_translator

PATCH = {"type": "patch", "ndf": 4, "n_layers": 1, "norm": "none"}
CYCLEGAN = {"type": "cyclegan", "ngf": 4, "n_blocks": 1, "norm": "none", "discriminator": PATCH, "pool_size": 0}
GAN = {"gan": {"weight": 0.1, "discriminator": PATCH}}
PATHS = {
    "gan": {"loss": GAN},
    "tv": {"loss": {"tv": 0.5}},
    "cycle": {"lambda_cycle": 2.0, "cycle_width": 4},
    "consistency": {"lambda_consistency": 3.0},
}


def make_trainer(path: dict, bridge: dict | None = None, schedule: Schedule = Schedule(steps=100)) -> JointTrainer:  # noqa: B008
    torch.manual_seed(0)
    task = tasks.build({"type": "sr", "scale": 2, "head": {"type": "edsr", "n_blocks": 1, "width": 4}})
    optimizer = OptimizerSection.model_validate({kind: {"lr": 1e-2} for kind in OptimizerSection.model_fields})
    parts = build_translator(CYCLEGAN), task, Bridge(**(bridge or {})), RealPath(task.scale, **path)
    return JointTrainer(Accelerator(cpu=True), *parts, schedule, TrainSection(steps=100), optimizer)


def make_batch() -> UnpairedBatch:
    rng = torch.Generator().manual_seed(0)
    return UnpairedBatch(*(torch.rand(2, 3, side, side, generator=rng) for side in (32, 16)), torch.arange(2))


def learners(trainer: JointTrainer, phase: str = "joint") -> set[str]:
    """The networks that the real path's terms alone reach, on either side of the game."""
    trainer.translator.losses_g = trainer.translator.losses_d = lambda source, real, fake: {}
    trainer.task.losses = lambda restored, clean: {"none": 0 * restored.sum().detach()}
    trainer.accumulate(make_batch(), 50, phase, 1.0)
    return {
        name
        for name, network in trainer.networks.items()
        if any(p.grad is not None and p.grad.any() for p in network.parameters())
    }


@pytest.mark.parametrize(
    ("path", "reached"),
    [
        ("gan", {"head", "task_discriminator_real_gan"}),
        ("tv", {"head"}),
        ("cycle", {"head", "generator_real_cycle"}),
        ("consistency", {"head"}),
    ],
)
def test_each_term_trains_the_head_and_its_own_judge_and_no_other_network(path: str, reached: set[str]):
    assert learners(make_trainer(PATHS[path])) == reached


def test_after_restore_real_the_terms_reach_the_translators_way_back_as_far_as_feedback_allows():
    path = {"feed": "restore(real)", **PATHS["tv"]}
    assert learners(make_trainer(path)) == {"head", "generator_restore"}
    assert learners(make_trainer(path, schedule=Schedule(steps=100, feedback=0.0))) == {"head"}
    assert learners(make_trainer(path), phase="head_finish") == {"head"}


def test_an_empty_path_adds_no_term_and_no_network():
    trainer = make_trainer({"feed": "restore(real)"})
    terms = trainer.accumulate(make_batch(), 50, "joint", 1.0)
    assert not [name for name in (*terms, *trainer.networks) if "real_" in name]


def test_terms_are_logged_with_their_weights_and_joint_phases_alone_have_them():
    trainer = make_trainer({"loss": {"tv": 0.5, **GAN}, "lambda_cycle": 1.0, "cycle_width": 4, "lambda_consistency": 1})
    names = {"real_tv", "real_gan", "real_cycle", "real_consistency", "d_real_gan"}
    for phase in ("joint", "head_finish"):
        assert names <= set(trainer.accumulate(make_batch(), 50, phase, 1.0))
    for phase in ("translator_warmup", "head_warmup"):
        assert not names & set(trainer.accumulate(make_batch(), 50, phase, 1.0))


def test_a_term_that_needs_ground_truth_is_refused():
    message = r"real_path.loss.l1 needs ground truth, which real images do not have; possible here: gan, tv"
    with pytest.raises(UserError, match=message):
        RealPath(2, loss={"l1": 1.0, "tv": 1.0})


def test_the_path_resumes_from_a_checkpoint_as_if_never_stopped(tmp_path: Path):
    path = {"loss": GAN, "lambda_cycle": 1.0, "cycle_width": 4}
    first, second = make_trainer(path), make_trainer(path)
    first.train_step([make_batch()], 50)
    save_checkpoint(tmp_path, 51, *first.state(), keep=1)
    second.load_state(*load_checkpoint(tmp_path / "step_51"))
    for trainer in (first, second):
        trainer.train_step([make_batch()], 51)
    for name, network in first.networks.items():
        for p, q in zip(network.parameters(), second.networks[name].parameters(), strict=True):
            assert torch.equal(p, q), name


def test_pseudo_supervision_feeds_what_the_translator_restores_of_the_fake():
    trainer, batch = make_trainer({}, bridge={"feed": "restore(fake)"}), make_batch()
    fed: list[torch.Tensor] = []
    trainer.task.head.register_forward_hook(lambda module, given, result: fed.append(given[0].detach()))
    trainer.accumulate(batch, 50, "joint", 1.0)
    with torch.no_grad():
        fake = trainer.translator(trainer.task.source(batch.clean))
        rounded = (fake.clamp(0, 1) * 255).round() / 255
        assert torch.allclose(fed[0], trainer.translator.restore(rounded).clamp(0, 1), atol=1e-5)


def test_domain_weights_weigh_a_place_by_its_realness():
    plain, weighed = make_trainer({}), make_trainer({}, bridge={"domain_weights": True})
    batch = make_batch()
    for realness, share in ((0.0, 0.0), (0.25, 0.25), (1.0, 1.0)):
        weighed.translator.realness = lambda image, r=realness: torch.full((2, 1, 4, 4), r)
        expected = plain.accumulate(batch, 50, "joint", 1.0)["task_l1"] * share
        assert weighed.accumulate(batch, 50, "joint", 1.0)["task_l1"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_realness_is_a_map_of_one_channel_in_0_1():
    realness = make_trainer({}).translator.realness(make_batch().degraded)
    assert realness.shape[1] == 1 and realness.min() >= 0 and realness.max() <= 1


def test_in_the_head_finish_the_averaged_translator_restores_the_fake():
    trainer = make_trainer({}, bridge={"feed": "restore(fake)"})
    trainer.translator.restore = lambda real: pytest.fail("the translator that is no longer trained restored")
    trainer.accumulate(make_batch(), 99, "head_finish", 1.0)
