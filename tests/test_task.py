"""The contract of a task: what says how well it went, and what a trained one needs."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from unpairaug.errors import UserError
from unpairaug.losses import Losses
from unpairaug.registry import register_task, tasks
from unpairaug.task import Task

HEAD = {"type": "vdsr", "depth": 3, "width": 4}


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


def test_a_task_may_say_one_number_and_it_is_called_task():
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


def test_copies_restore_alike_and_leave_the_judge_behind():
    task = sr(loss={"l1": 1, "gan": {"discriminator": {"type": "srgan", "ndf": 2}}})
    assert list(task.discriminators) == ["gan"]
    for twin in (copy.deepcopy(task), pickle.loads(pickle.dumps(task))):
        assert twin._criterion is None
        assert torch.equal(twin(image()), task(image()))
    assert not any("discriminator" in name for name, _ in task.named_parameters())


def test_a_trained_head_needs_nothing_of_what_judged_it(tmp_path: Path):
    spec = {"l1": 1, "perceptual": {"model": "test_resnet", "weights": "was_there_once.pth"}}
    task = sr(loss=spec)
    task.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["task"]["loss"]["perceptual"]["weights"] == "was_there_once.pth"
    config["task"]["loss"]["own"] = {"type": "a_module_of_another_machine:Loss", "weight": 1.0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = Task.from_pretrained(tmp_path)
    assert torch.equal(loaded(image()), task.eval()(image()))
    assert loaded.config == config["task"], "saved again, it still says what it was trained with"
