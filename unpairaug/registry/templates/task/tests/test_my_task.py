"""my_task keeps unpairaug's contract, and its recipe trains."""

from pathlib import Path

import torch
from unpairaug import Task
from unpairaug.run import train
from unpairaug.testing import check_head, check_task

RECIPE = Path(__file__).resolve().parent.parent / "my_task" / "my_task.yaml"
SHORT = ["train.steps=2", "data.val_clean=null", "data.val_degraded=null"]


def test_the_head_keeps_the_contract() -> None:
    check_head("my_task.task:MyTaskHead", scale=1)


def test_the_task_keeps_the_contract() -> None:
    check_task("my_task.task:MyTask")


def test_two_steps_of_the_recipe_leave_what_can_be_loaded(tmp_path: Path) -> None:
    train(str(RECIPE), [*SHORT, f"output_dir={tmp_path / 'run'}"])
    restored = Task.from_pretrained(tmp_path / "run", trust_code=True)(torch.rand(1, 3, 20, 30))
    assert restored.shape == (1, 3, 20, 30)
