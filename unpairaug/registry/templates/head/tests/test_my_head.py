"""my_head keeps unpairaug's contract, and its recipe trains."""

from pathlib import Path

import pytest
import torch
from unpairaug import Task
from unpairaug.run import train
from unpairaug.testing import check_head

RECIPE = Path(__file__).resolve().parent.parent / "my_head" / "my_head.yaml"
SHORT = ["train.steps=2", "data.val_clean=null", "data.val_degraded=null"]


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_head_keeps_the_contract(scale: int) -> None:
    check_head("my_head.head:MyHead", scale)


def test_two_steps_of_the_recipe_leave_what_can_be_loaded(tmp_path: Path) -> None:
    train(str(RECIPE), [*SHORT, f"output_dir={tmp_path / 'run'}"])
    restored = Task.from_pretrained(tmp_path / "run", trust_code=True)(torch.rand(1, 3, 20, 30))
    assert restored.shape == (1, 3, 40, 60)
