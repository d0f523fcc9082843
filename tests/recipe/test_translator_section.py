"""A trained translator in another recipe: as it is, or trained further."""

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from unpairaug.data import create_loader
from unpairaug.data.streams import StepBatches
from unpairaug.errors import UserError
from unpairaug.recipe import Recipe, load_recipe, to_yaml
from unpairaug.registry import translators
from unpairaug.run import train
from unpairaug.training.build import build_trainer, make_accelerator
from unpairaug.training.step_reader import to_device
from unpairaug.training.trainer import JointTrainer
from unpairaug.training.training_data import open_data, resolve_lengths
from unpairaug.translator import Translator

SMALL = ["task.head.width=4", "task.head.depth=3", "data.batch_size=2", "schedule={}", "data.val_clean=null"]
SMALL += ["data.val_degraded=null", "train.steps=2"]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A translator's folder; its generators are wide awake."""
    torch.manual_seed(7)
    camera = translators.build({"type": "stochastic_cyclegan", "width": 4, "depth": 2, "pool_size": 0})
    for p in camera.generators.parameters():
        torch.nn.init.normal_(p, std=0.05)
    camera.save_pretrained(tmp_path / "camera")
    return tmp_path / "camera"


def recipe_with(section: str, *more: str) -> Recipe:
    return load_recipe("smoke", [*SMALL, f"translator={section}", *more])


def trainer_of(recipe: Recipe, steps: int = 2) -> JointTrainer:
    """A trainer that has taken some steps."""
    data = open_data(recipe)
    recipe = resolve_lengths(recipe, data, 1)
    trainer = build_trainer(recipe, make_accelerator(recipe, cpu=True))
    for step, batch in enumerate(create_loader(data.crops, StepBatches(0, steps, 2))):
        trainer.train_step([to_device(batch, trainer.accelerator)], step)
    return trainer


def moved(trainer: JointTrainer, start: Path) -> bool:
    before = Translator.from_pretrained(start).generators.state_dict()
    return any(not torch.equal(before[name], now) for name, now in trainer.translator.generators.state_dict().items())


def test_a_frozen_translator_feeds_the_head_and_never_changes(trained: Path):
    trainer = trainer_of(recipe_with(f"{{from: {trained}, train: false}}"))
    assert not moved(trainer, trained)
    assert not [name for name in trainer.networks if "degrade" in name or name.startswith("discriminator")]
    source = torch.rand(1, 3, 12, 12)
    camera = Translator.from_pretrained(trained)
    rng = torch.Generator()
    fakes = [part.degrade(source, rng.manual_seed(3)) for part in (trainer.ema_translator, camera)]
    assert torch.equal(*fakes)


def test_the_head_of_a_frozen_translator_learns_what_it_makes(trained: Path):
    frozen, plain = (trainer_of(recipe_with(s)) for s in (f"{{from: {trained}, train: false}}", "bicubic"))
    same = [torch.equal(p, q) for p, q in zip(frozen.task.parameters(), plain.task.parameters(), strict=True)]
    assert not all(same)


def test_a_trained_translator_learns_on_from_its_weights(trained: Path):
    recipe = recipe_with(f"{{from: {trained}}}")
    assert moved(trainer_of(recipe), trained) and not moved(trainer_of(recipe, steps=0), trained)


def test_the_recipe_says_all_of_it_and_options_beside_it_count_first(trained: Path):
    recipe = recipe_with(f"{{from: {trained}, lambda_cycle: 3.0}}")
    assert recipe.translator["lambda_cycle"] == 3.0
    assert (recipe.translator["type"], recipe.translator["width"]) == ("stochastic_cyclegan", 4)
    again = load_recipe(_written(trained.parent / "again.yaml", recipe))
    assert again == recipe


def test_a_run_keeps_a_copy_of_what_it_started_from_and_goes_on_without_the_original(trained: Path, tmp_path: Path):
    options = [*SMALL, f"translator={{from: {trained}, train: false}}", f"output_dir={tmp_path / 'run'}"]
    train("smoke", options)
    kept = load_file(tmp_path / "run" / "translator" / "model.safetensors")
    start = load_file(trained / "model.safetensors")
    assert all(torch.equal(start[name], tensor) for name, tensor in kept.items())
    (trained / "model.safetensors").unlink()
    (trained / "config.json").unlink()
    train(str(tmp_path / "run" / "recipe.yaml"), ["train.steps=3"])
    assert (tmp_path / "run" / "checkpoints" / "step_3").is_dir()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{from: nowhere, train: false}", "translator.from: no folder 'nowhere' here"),
        ("{type: stochastic_cyclegan, train: false}", "translator.train: false needs a trained translator"),
        ("{from: CAMERA, train: maybe}", "translator.train: given 'maybe', should be true or false"),
        ("{from: CAMERA, type: cyclegan}", "translator.type: given 'cyclegan', but"),
        ("{from: CAMERA, widht: 4}", "translator.widht: unknown key; did you mean 'width'?"),
        ("{from: 3}", "translator.from: given 3, should be a run folder"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(trained: Path, section: str, message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError) as refused:
        recipe_with(section.replace("CAMERA", str(trained)))
    assert message in str(refused.value)


def test_a_warm_up_of_a_frozen_translator_is_refused(trained: Path):
    with pytest.raises(UserError, match=r"schedule\.translator_warmup: 1 steps have nothing to train"):
        recipe_with(f"{{from: {trained}, train: false}}", "schedule.translator_warmup=1")


def test_domain_weights_of_an_untrained_discriminator_are_refused(trained: Path):
    with pytest.raises(UserError, match=r"bridge\.domain_weights: true needs a trained discriminator"):
        recipe_with(f"{{from: {trained}, train: false}}", "bridge.domain_weights=true")


def test_a_run_with_another_real_path_is_not_continued(tmp_path: Path):
    options = [*SMALL, "translator=bicubic", f"output_dir={tmp_path / 'run'}"]
    train("smoke", options)
    with pytest.raises(
        UserError, match=r"is of another run and cannot be resumed: real_path\.lambda_cycle: 0\.0 → 1\.0"
    ):
        train("smoke", [*options, "train.steps=3", "real_path.lambda_cycle=1"])


def test_weights_that_do_not_fit_the_options_are_refused(trained: Path):
    recipe = recipe_with(f"{{from: {trained}, width: 8}}")
    with pytest.raises(UserError, match=r"translator\.from .*: its weights do not fit the options given"):
        build_trainer(resolve_lengths(recipe, open_data(recipe), 1), make_accelerator(recipe, cpu=True))


def _written(path: Path, recipe: Recipe) -> str:
    path.write_text(to_yaml(recipe), encoding="utf-8")
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["translator"]["from"]
    return str(path)
