"""What is restored, by which head, and how well that went."""

from __future__ import annotations

from torch import Tensor, nn
from unpairaug import Task, register_head, register_task
from unpairaug.registry import HeadSpec, LossSpec


@register_head("my_task_head")
class MyTaskHead(nn.Module):
    """A few convolutions whose result is added to the image: (B, 3, h, w) in [0, 1] -> the same shape."""

    def __init__(self, depth: int = 5, width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, degraded: Tensor) -> Tensor:
        return degraded + self.body(degraded)


@register_task("my_task")
class MyTask(Task):
    """Restores at the size it is given: what is degraded is the clean photograph itself."""

    def __init__(self, head: HeadSpec = "my_task_head", loss: LossSpec = "l1") -> None:
        super().__init__(scale=1, head=head, loss=loss)

    def source(self, clean: Tensor) -> Tensor:
        """What the translator degrades, of a clean image (B, 3, H, W) in [0, 1]."""
        return clean
