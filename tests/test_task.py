"""The contract of a task: its network, its loss, and what a trained one needs."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from unpairaug.data import UnpairedBatch
from unpairaug.errors import UserError
from unpairaug.export import export
from unpairaug.losses import Losses
from unpairaug.recipe import load_recipe
from unpairaug.registry import register_task, tasks
from unpairaug.task import Task
from unpairaug.testing import ContractBroken, check_task
from unpairaug.training.build import build_trainer
from unpairaug.training.trainer import JointTrainer

HEAD = {"type": "vdsr", "depth": 3, "width": 4}


@register_task("toy_own_network")
class OwnNetwork(Task):
    """A task with its own network, as short as it can be."""

    def __init__(self, width: int = 3) -> None:
        super().__init__(scale=1)
        self.network = nn.Conv2d(3, 3, width, padding=width // 2)

    def forward(self, degraded: Tensor) -> Tensor:
        return degraded + self.network(degraded)


@register_task("toy_head_as_module")
class HeadAsModule(Task):
    """A task whose head is a module that no registry has built."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__(scale, head=nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale)))

    def source(self, clean: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(clean, self.scale)


@register_task("toy_no_network")
class NoNetwork(Task):
    """A task that its author forgot to give a network."""


@register_task("toy_one_number")
class OneNumber(Task):
    """A task with a loss of its own, beside what the recipe names."""

    def __init__(self, loss: str = "l1") -> None:
        super().__init__(scale=1, head=HEAD, loss=loss)

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        return super().loss(restored, clean) + 1


@register_task("toy_own_terms")
class OwnTerms(Task):
    def __init__(self) -> None:
        super().__init__(scale=1, head=HEAD)

    def losses(self, restored: Tensor, clean: Tensor) -> Losses:
        return {"one": torch.tensor(1.0), **super().losses(restored, clean)}


def image(first: int = 0) -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(first))


def sr(**options) -> Task:
    return tasks.build({"type": "sr", "scale": 2, "head": HEAD, **options})


def test_the_loss_is_the_sum_of_the_terms():
    task = sr(loss={"l1": 1.0, "mse": 2.0})
    terms = task.losses(image(1), image())
    assert list(terms) == ["l1", "mse"]
    assert task.loss(image(1), image()).item() == pytest.approx(sum(terms.values()).item())


def test_a_task_may_have_one_number_as_its_loss_and_it_is_called_task():
    task = tasks.build("toy_one_number")
    expected = torch.nn.functional.l1_loss(image(1), image()) + 1
    assert task.loss(image(1), image()) == expected
    assert task.losses(image(1), image()) == {"task": expected}


def test_a_task_may_add_terms_of_its_own():
    task = tasks.build("toy_own_terms")
    assert list(task.losses(image(1), image())) == ["one", "l1"]
    assert task.loss(image(1), image()) == 1 + torch.nn.functional.l1_loss(image(1), image())


def test_a_head_for_grey_images_is_refused():
    with pytest.raises(UserError, match="'vdsr': given channels 1, but images have 3"):
        sr(head={**HEAD, "channels": 1})


def test_copies_restore_alike_and_have_no_discriminators():
    task = sr(loss={"l1": 1, "gan": {"discriminator": {"type": "srgan", "ndf": 2}}})
    assert list(task.discriminators) == ["gan"]
    for twin in (copy.deepcopy(task), pickle.loads(pickle.dumps(task))):
        assert twin._criterion is None
        assert torch.equal(twin(image()), task(image()))
    assert not any("discriminator" in name for name, _ in task.named_parameters())


def test_a_trained_head_is_loaded_without_its_losses(tmp_path: Path):
    spec = {"l1": 1, "perceptual": {"model": "test_resnet", "weights": "was_there_once.pth"}}
    task = sr(loss=spec)
    task.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["task"]["loss"]["perceptual"]["weights"] == "was_there_once.pth"
    config["task"]["loss"]["own"] = {"type": "a_module_of_another_machine:Loss", "weight": 1.0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = Task.from_pretrained(tmp_path)
    assert torch.equal(loaded(image()), task.eval()(image()))
    assert loaded.config == config["task"], "saved again, it still names the losses of its training"


def make_trainer(task: str) -> JointTrainer:
    recipe = load_recipe("smoke", [f"task={task}", "schedule={}"]).resolve(steps_per_epoch=1)
    return build_trainer(recipe, Accelerator(cpu=True))


OWN = pytest.mark.parametrize("spec", ["toy_own_network", "toy_head_as_module"])


@OWN
def test_a_task_with_its_own_network_keeps_the_contract(spec: str):
    check_task(spec)


@OWN
def test_a_task_with_its_own_network_is_loaded_as_it_was_saved(spec: str, tmp_path: Path):
    task = tasks.build(spec).eval()
    task.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["task"] == tasks.complete(spec)
    with torch.no_grad():
        assert torch.equal(Task.from_pretrained(tmp_path)(image()), task(image()))


@OWN
def test_a_task_with_its_own_network_is_exported_to_onnx_and_refused_as_plain_weights(spec: str, tmp_path: Path):
    tasks.build(spec).save_pretrained(tmp_path / "head")
    assert export(str(tmp_path / "head"), tmp_path / "head.onnx", "onnx").difference < 1e-4
    with pytest.raises(UserError, match=r"brings its own network.* export --format onnx or ncnn"):
        export(str(tmp_path / "head"), tmp_path / "head.safetensors", "safetensors")


def test_a_task_with_its_own_network_learns_in_the_joint_step():
    trainer = make_trainer("toy_own_network")
    before = [p.clone() for p in trainer.task.parameters()]
    rng = torch.Generator().manual_seed(0)
    trainer.train_step([UnpairedBatch(*torch.rand(2, 2, 3, 32, 32, generator=rng), torch.arange(2))], 0)
    assert len(before) == 2
    assert not any(torch.equal(p, old) for p, old in zip(trainer.task.parameters(), before, strict=True))


def test_a_task_without_a_network_is_refused_in_one_message():
    message = r"NoNetwork must pass a head to Task.__init__, or override forward$"
    with pytest.raises(NotImplementedError, match=message):
        tasks.build("toy_no_network")(image())
    with pytest.raises(UserError, match=rf"^task 'toy_no_network': its head cannot restore an image .*: {message}"):
        make_trainer("toy_no_network")


@pytest.mark.parametrize("make", [OwnNetwork, lambda: Task(head=nn.Conv2d(3, 3, 1))], ids=["own network", "module"])
def test_a_task_that_was_not_built_by_its_name_cannot_be_saved(make: Callable[[], Task], tmp_path: Path):
    check_task(make())
    with pytest.raises(UserError, match=r"was not built by a name.*@register_task\(\.\.\.\).*tasks\.build\(\.\.\.\)"):
        make().save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("head", [3, lambda degraded: degraded], ids=["number", "function"])
def test_a_head_that_is_neither_a_name_nor_a_module_is_refused(head: Any):
    with pytest.raises(UserError, match="should be a name, or a section with `type` and options"):
        Task(head=head)


@register_task("toy_with_a_name_of_the_base_class")
class NetworkNamedRestorer(Task):
    """Keeps its network where the base class keeps the translator that restores first."""

    def __init__(self) -> None:
        super().__init__()
        self.restorer = nn.Conv2d(3, 3, 1)  # type: ignore[assignment]

    def forward(self, degraded: Tensor) -> Tensor:
        return self.restorer(degraded)  # type: ignore[misc]


def test_a_network_in_the_place_of_the_restorer_is_refused_by_its_name():
    with pytest.raises(ContractBroken, match=r"`restorer` is None or a translator\. Seen: a Conv2d as `restorer`"):
        check_task("toy_with_a_name_of_the_base_class")
    with pytest.raises(UserError, match=r"attribute `restorer` is a Conv2d, .* keeps a Translator .* another name"):
        make_trainer("toy_with_a_name_of_the_base_class")
