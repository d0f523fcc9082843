"""A loss of the restored image."""

from __future__ import annotations

from torch import Tensor, nn
from unpairaug import register_loss


@register_loss("my_loss")
class MyLoss(nn.Module):
    """Absolute difference of horizontal and vertical gradients: (restored, clean), both (B, 3, H, W) -> a scalar.

    The arguments are options of the term in `task.loss` of a recipe; its `weight` is the recipe's own.
    """

    smallest_side = 2
    """Side in pixels of the smallest images that it can be computed on."""

    def __init__(self, power: int = 1) -> None:
        super().__init__()
        self.power = power

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        difference = restored - clean
        rows, columns = difference.diff(dim=2), difference.diff(dim=3)
        return rows.abs().pow(self.power).mean() + columns.abs().pow(self.power).mean()
