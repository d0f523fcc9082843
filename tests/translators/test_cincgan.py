"""What `cincgan` does beyond the contract of `unpairaug.testing`, and its recipes in each of their phases."""

import json
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from unpairaug.bridge import Bridge
from unpairaug.data import UnpairedBatch
from unpairaug.losses import Losses
from unpairaug.recipe import TrainSection, load_recipe
from unpairaug.recipe.optimizer_sections import OptimizerSection
from unpairaug.registry import tasks, translators
from unpairaug.run import train
from unpairaug.task import Task
from unpairaug.training.build import make_schedule
from unpairaug.training.real_path import RealPath
from unpairaug.training.schedule import Schedule
from unpairaug.training.trainer import JointTrainer
from unpairaug.translator import Phase, Translator

PATCH = {"type": "patch", "ndf": 4, "n_layers": 1, "norm": "none"}


def make(**options) -> Translator:
    torch.manual_seed(0)
    return translators.build({"type": "cincgan", "width": 4, "n_blocks": 1, "discriminator": PATCH, **options})


def images() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 16, 16, generator=rng), torch.rand(2, 3, 16, 16, generator=rng)


def terms(translator: Translator, phase: Phase = "joint") -> Losses:
    source, real = images()
    translator.phase = phase
    return translator.losses_g(source, real, translator.degrade(source))


def test_stage_2_weighs_the_identity_less_and_nothing_else():
    translator = make()
    first, second = terms(translator, "translator_warmup"), terms(translator, "joint")
    assert first.pop("identity_restore").item() == pytest.approx(5 * second.pop("identity_restore").item())
    assert {name: value.item() for name, value in first.items()} == pytest.approx(
        {name: value.item() for name, value in second.items()}
    )


def test_the_trainer_sets_the_translators_phase():
    schedule = Schedule(steps=4, translator_warmup=1, head_warmup=1, head_finish=1)
    task = tasks.build({"type": "sr", "scale": 2, "head": {"type": "edsr", "n_blocks": 1, "width": 4}})
    parts = make(), task, Bridge(feed="source"), RealPath(2)
    trainer = JointTrainer(Accelerator(cpu=True), *parts, schedule, TrainSection(steps=4), OptimizerSection())
    batch = UnpairedBatch(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 16, 16), torch.arange(2))
    for step in range(4):
        trainer.train_step([batch], step)
        assert trainer.translator.phase == schedule.phase(step)


@pytest.mark.parametrize(
    ("term", "learners"),
    [
        ("gan_restore", {"restore"}),
        ("cycle_degraded", {"restore", "degrade"}),
        ("identity_restore", {"restore"}),
        ("tv_restore", {"restore"}),
    ],
)
def test_each_term_teaches_its_generators(term: str, learners: set[str]):
    translator = make()
    terms(translator)[term].backward()
    reached = {
        name
        for name, network in translator.generators.items()
        if any(p.grad is not None and p.grad.any() for p in network.parameters())
    }
    assert reached == learners


@pytest.mark.parametrize(("power", "mean"), [(1, 0.5), (2, 0.25)])
def test_the_cycle_loss_is_of_differences_or_of_their_squares(power: int, mean: float):
    translator = make(cycle_power=power)
    translator.restore = lambda real: real
    translator.generators["degrade"].forward = lambda image: image + 0.5
    assert terms(translator)["cycle_degraded"].item() == pytest.approx(10 * mean)


def test_residual_generators_start_as_the_identity():
    source, real = images()
    residual, plain = make(residual=True), make()
    assert torch.equal(residual.restore(real), real) and torch.equal(residual.degrade(source), source)
    assert not torch.allclose(plain.restore(real), real, atol=0.1)


def test_its_own_discriminator_judges_patches_of_16_pixels_at_every_place():
    judge = translators.build("cincgan").discriminators["clean"].eval()
    image = torch.rand(1, 3, 40, 40, requires_grad=True)
    logits = judge(image)
    assert min(logits.shape[-2:]) > 30
    logits[0, 0, 17, 17].backward()
    assert image.grad is not None
    rows = image.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows.max() - rows.min() + 1 == 16


def test_a_pool_keeps_restored_images_of_earlier_steps_and_none_is_kept_without():
    source, real = images()
    fresh, pooled = make(), make(pool_size=4)
    for translator in (fresh, pooled):
        translator.losses_g(source, real, real)
        translator.losses_d(source, real, real)
    assert not fresh.image_pool()
    assert torch.equal(pooled.image_pool()["images"][:, 0], pooled.restore(real))


SMALL_GAN = "real_path.loss.gan.discriminator={type: patch, ndf: 4, n_layers: 2, norm: batch}"
INNER = ["translator.width=4", "translator.n_blocks=1", "task.head={type: edsr, n_blocks: 1, width: 4}"]
RECIPES = {
    "cincgan": [*INNER, SMALL_GAN, "real_path.cycle_width=4"],
    "cincgan_inner": INNER,
    "cincgan_one_cycle": ["task.head={type: edsr, n_blocks: 1, width: 4}", SMALL_GAN, "real_path.cycle_width=4"],
    "cincgan_paper": [*INNER, SMALL_GAN, "real_path.cycle_width=4", "translator.discriminator.ndf=4", "data.crop=96"],
    "pseudo_supervision": ["translator.width=4", "task.head={type: vdsr, depth: 3, width: 4}"],
    "domain_distance": ["translator.width=4", "task.head={type: vdsr, depth: 3, width: 4}"],
}
WITH_RESTORER = {"cincgan", "cincgan_inner", "cincgan_paper", "pseudo_supervision"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_takes_steps_in_every_phase_and_leaves_a_head_that_restores(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    sample = [f"data.{side}=sample" for side in ("clean", "degraded")]
    quick = ["data.val_clean=null", "data.val_degraded=null", "data.batch_size=2", "data.num_workers=0"]
    train(name, [*sample, *quick, *RECIPES[name], "train.steps=6", "train.log_every=1", "output_dir=run"])
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    seen = set().union(*(line for line in lines if line["split"] == "train"))
    wanted = load_recipe(name, [*sample])
    assert ("real_gan" in seen) == ("d_real_gan" in seen) == (wanted.real_path.loss is not None)
    assert ("real_cycle" in seen) == (wanted.real_path.lambda_cycle > 0)
    restored = Task.from_pretrained("run")(images()[1])
    assert restored.isfinite().all() and restored.shape[-1] == 16 * wanted.task["scale"]
    assert (Task.from_pretrained("run").restorer is not None) == (name in WITH_RESTORER)


def test_the_paper_recipe_carries_the_published_settings():
    recipe = load_recipe("cincgan_paper")
    weights = {"lambda_cycle": 10.0, "lambda_identity": 5.0, "lambda_identity_joint": 1.0, "lambda_tv": 0.5}
    networks = {"width": 64, "n_blocks": 6, "residual": False, "pool_size": 0, "game": "lsgan", "cycle_power": 2}
    assert recipe.translator.items() >= {**weights, **networks}.items()
    judges = {"type": "patch", "ndf": 64, "n_layers": 3, "norm": "batch"}
    assert recipe.translator["discriminator"].items() >= {**judges, "stride": 1}.items()
    outer = recipe.real_path
    assert (recipe.bridge.feed, outer.feed) == ("source", "restore(real)")
    assert (outer.lambda_cycle, outer.cycle_power) == (10.0, 2)
    assert outer.loss is not None and outer.loss["tv"].items() >= {"weight": 2.0, "power": 2}.items()
    assert outer.loss["gan"]["weight"] == 1.0
    assert outer.loss["gan"]["discriminator"].items() >= {**judges, "stride": 2}.items()
    assert recipe.task["head"].items() >= {"type": "edsr", "n_blocks": 32, "width": 256, "res_scale": 0.1}.items()
    assert (recipe.task["scale"], list(recipe.task["loss"]), recipe.train.lambda_task) == (4, ["mse"], 5.0)
    assert (recipe.data.batch_size, recipe.data.crop) == (16, 128)
    schedule = make_schedule(recipe.resolve(steps_per_epoch=10))
    assert (schedule.translator_warmup, schedule.head_warmup, schedule.steps) == (400_000, 200_000, 1_000_000)
