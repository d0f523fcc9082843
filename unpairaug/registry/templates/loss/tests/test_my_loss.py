"""my_loss does what every loss must do, and its recipe trains."""

from pathlib import Path

import torch
from unpairaug.run import train

from my_loss.loss import MyLoss

RECIPE = Path(__file__).resolve().parent.parent / "my_loss" / "my_loss.yaml"
SHORT = ["train.steps=2", "data.val_clean=null", "data.val_degraded=null"]


def test_the_loss_is_a_scalar_that_is_zero_for_equal_images_and_has_a_gradient() -> None:
    clean = torch.rand(2, 3, 16, 16)
    assert MyLoss()(clean, clean) == 0
    restored = torch.rand(2, 3, 16, 16, requires_grad=True)
    value = MyLoss()(restored, clean)
    value.backward()
    assert value.shape == () and value > 0
    assert restored.grad is not None and restored.grad.abs().sum() > 0


def test_two_steps_of_the_recipe_log_the_loss(tmp_path: Path) -> None:
    run = train(str(RECIPE), [*SHORT, f"output_dir={tmp_path / 'run'}"])
    assert "task_my_loss" in (run.folder / "metrics.jsonl").read_text(encoding="utf-8")
