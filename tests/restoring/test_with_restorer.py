"""A head that was trained on restored images has a restorer before it, wherever it is used, saved or loaded."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor, nn

from unpairaug.bridge import Bridge
from unpairaug.data import UnpairedBatch
from unpairaug.errors import UserError
from unpairaug.evaluation.evaluate import evaluate
from unpairaug.export import export
from unpairaug.recipe import TrainSection, load_recipe
from unpairaug.recipe.optimizer_sections import OptimizerSection
from unpairaug.registry import register_task, tasks
from unpairaug.restoring.restore import receptive_margin, restore_image
from unpairaug.run import train
from unpairaug.task import Task
from unpairaug.training.build import build_trainer
from unpairaug.training.checkpoint import load_checkpoint, save_checkpoint
from unpairaug.training.real_path import RealFeed, RealPath
from unpairaug.training.schedule import Schedule
from unpairaug.training.trainer import JointTrainer
from unpairaug.translator import Translator, build_translator

PATCH = {"type": "patch", "ndf": 4, "n_layers": 1, "norm": "none"}
CINCGAN = {"type": "cincgan", "width": 4, "n_blocks": 1, "discriminator": PATCH}
SR = {"type": "sr", "scale": 2, "head": {"type": "edsr", "n_blocks": 1, "width": 4}}


@register_task("toy_with_a_forward_of_its_own")
class Sharpen(Task):
    """Adds what its head makes to the image."""

    def __init__(self) -> None:
        super().__init__(1, {"type": "dncnn", "depth": 3, "width": 4})

    def forward(self, degraded: Tensor) -> Tensor:
        return degraded + self.head(degraded)


def make(task: str | dict = SR, translator: dict = CINCGAN) -> tuple[Task, Translator]:
    torch.manual_seed(0)
    return tasks.build(task).eval(), build_translator(translator).eval()


def image(side: int = 16) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [SR, "toy_with_a_forward_of_its_own"], ids=["sr", "own forward"])
@torch.no_grad()
def test_a_task_with_a_restorer_restores_what_that_restores(kind: str | dict):
    task, translator = make(kind)
    expected = task(translator.restore(image()))
    assert torch.equal(task.with_restorer(translator)(image()), expected)
    assert not torch.allclose(task(image()), expected, atol=1e-3)


def test_the_task_itself_and_the_translator_stay_as_they_are():
    task, translator = make()
    weights, networks = list(task.state_dict()), list(translator.state_dict())
    task.with_restorer(translator)
    assert task.restorer is None and list(task.state_dict()) == weights
    assert list(translator.state_dict()) == networks


@pytest.mark.parametrize("translator", [CINCGAN, {"type": "stochastic_cyclegan", "width": 4, "depth": 3}], ids=str)
@torch.no_grad()
def test_saved_equals_loaded_and_saved_again(tmp_path: Path, translator: dict):
    task = Task.with_restorer(*make(translator=translator))
    task.save_pretrained(tmp_path / "head")
    loaded = Task.from_pretrained(tmp_path / "head")
    assert torch.equal(loaded(image()), task(image()))
    loaded.save_pretrained(tmp_path / "again")
    assert torch.equal(Task.from_pretrained(tmp_path / "again")(image()), task(image()))


def test_a_saved_head_holds_the_way_back_and_no_other_network_of_the_translator(tmp_path: Path):
    task = Task.with_restorer(*make())
    task.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())["task"]
    assert (saved["type"], saved["translator.restore"]["type"]) == ("sr", "cincgan")
    networks = {".".join(name.split(".")[:3]) for name in load_file(tmp_path / "model.safetensors")}
    assert {name for name in networks if not name.startswith("head.")} == {"restorer.generators.restore"}


def test_a_loaded_task_moves_as_a_whole(tmp_path: Path):
    Task.with_restorer(*make()).save_pretrained(tmp_path)
    task = Task.from_pretrained(tmp_path).double()
    assert task(image().double()).dtype == torch.float64
    assert not any(module.training for module in task.modules())


def test_tiles_overlap_by_the_receptive_fields_of_both_networks():
    task, translator = make()
    for p in (*task.parameters(), *translator.parameters()):
        nn.init.normal_(p, std=0.15)  # lively enough for a missing margin to show
    task = task.with_restorer(translator)
    assert receptive_margin(task) == (2 * 1 + 5) + (2 * 1 + 10)
    photograph = np.random.default_rng(0).integers(256, size=(60, 70, 3), dtype=np.uint8)
    apart = restore_image(task, photograph, tile=24).astype(int) - restore_image(task, photograph)
    assert np.abs(apart).max() <= 1


def test_tiles_overlap_widely_where_the_way_back_does_not_state_its_receptive_field():
    residual = {"type": "cyclegan", "ngf": 4, "n_blocks": 1, "norm": "none", "discriminator": PATCH}
    assert receptive_margin(Task.with_restorer(*make(translator=residual))) == 32


@pytest.mark.parametrize("format", ["onnx", "safetensors"])
def test_an_export_says_that_a_head_alone_is_not_enough(tmp_path: Path, format: str):
    Task.with_restorer(*make()).save_pretrained(tmp_path / "head")
    with pytest.raises(UserError, match=r"needs translator 'cincgan' in front"):
        export(str(tmp_path / "head"), tmp_path / f"head.{format}", format)


def make_trainer(feed: RealFeed) -> JointTrainer:
    torch.manual_seed(0)
    task, translator = tasks.build(SR), build_translator(CINCGAN)
    optimizer = OptimizerSection.model_validate({kind: {"lr": 1e-2} for kind in OptimizerSection.model_fields})
    parts = translator, task, Bridge(feed="source"), RealPath(task.scale, feed)
    return JointTrainer(Accelerator(cpu=True), *parts, Schedule(100), TrainSection(steps=100, ema=0.5), optimizer)


def make_batch() -> UnpairedBatch:
    return UnpairedBatch(image(32), image(16), torch.arange(2))


def test_the_averaged_task_has_the_averaged_translator_as_its_restorer_where_the_real_path_has():
    plain, restored = make_trainer("real"), make_trainer("restore(real)")
    assert plain.ema_task.restorer is None and restored.task.restorer is None
    before = restored.ema_task(image())
    for step in (50, 51):
        restored.train_step([make_batch()], step)
    with torch.no_grad():
        _, averaged = restored.average.module.children()
        assert torch.equal(restored.ema_task(image()), averaged(restored.ema_translator.restore(image())))
        assert not torch.equal(restored.ema_task(image()), before), "averages that stood still"


def test_a_checkpoint_holds_no_network_twice_and_resumes(tmp_path: Path):
    plain, restored = make_trainer("real"), make_trainer("restore(real)")
    assert plain.state()[0]["average"].keys() == restored.state()[0]["average"].keys()
    restored.train_step([make_batch()], 50)
    save_checkpoint(tmp_path, 51, *restored.state(), keep=1)
    resumed = make_trainer("restore(real)")
    resumed.load_state(*load_checkpoint(tmp_path / "step_51"))
    with torch.no_grad():
        assert torch.equal(resumed.ema_task(image()), restored.ema_task(image()))


def test_a_runs_head_folder_restores_as_the_run_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    small = "translator={type: cincgan, width: 4, n_blocks: 1, discriminator: {type: patch, ndf: 4, n_layers: 1}}"
    train("smoke", [small, "bridge.feed=source", "real_path.feed=restore(real)", "train.steps=4", "output_dir=run"])
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    measured = [line for line in lines if line["split"] == "val"][-1]
    found = evaluate("run/head", "sample", "sample")
    assert {name: found[name] for name in ("psnr_rgb", "ssim_rgb")} == pytest.approx(
        {name: measured[name] for name in ("psnr_rgb", "ssim_rgb")}, abs=1e-4
    )
    assert Task.from_pretrained("run").restorer is not None


@pytest.mark.parametrize(
    ("override", "method"),
    [
        ("real_path.feed=restore(real)", "restore"),
        ("bridge.feed=restore(fake)", "restore"),
        ("bridge.domain_weights=true", "realness"),
    ],
)
def test_a_recipe_that_needs_an_ability_its_translator_lacks_is_refused(override: str, method: str):
    recipe = load_recipe("smoke", ["translator=bicubic", override, "schedule={}"])
    with pytest.raises(UserError, match=rf"{override.partition('=')[0]}.* needs a translator with `{method}`"):
        build_trainer(recipe, Accelerator(cpu=True))


def test_true_pairs_are_of_real_images_as_they_are():
    overrides = ["bridge.feed=real", "data.ceiling_clean=sample", "real_path.feed=restore(real)"]
    with pytest.raises(UserError, match=r"real_path.feed: .*give 'real'"):
        load_recipe("smoke", overrides)
