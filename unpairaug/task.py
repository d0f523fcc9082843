"""The contract of a downstream task."""

from __future__ import annotations

from os import PathLike
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from unpairaug.pretrained import load_pretrained, save_pretrained
from unpairaug.registry import HeadSpec, Spec, heads, tasks

PixelLoss = Literal["l1", "mse"]


class Task(nn.Module):
    """A restoration task: which image is degraded, which head restores it, and how well that went.

    A subclass names itself with `@register_task("name")`, builds `self.head` and sets `self.scale`; it overrides
    `source` where what is degraded is not the clean image itself, and `task_loss` where a pixel loss is not enough.
    """

    config: Spec
    """What the task was built from: `type` and the constructor's options."""

    def __init__(self, scale: int, head: HeadSpec, loss: PixelLoss = "l1") -> None:
        super().__init__()
        self.scale = scale
        """Side of the restored image over the side of the degraded one."""
        self.head = heads.build(head, scale=scale)
        self.pixel_loss = {"l1": F.l1_loss, "mse": F.mse_loss}[loss]

    def source(self, clean: Tensor) -> Tensor:
        """What the translator degrades, (B, C, H / scale, W / scale), of a clean image (B, C, H, W); both in [0, 1]."""
        return clean

    def forward(self, degraded: Tensor) -> Tensor:
        """The restored image (B, C, scale * h, scale * w) from a degraded one (B, C, h, w) in [0, 1]; not clamped."""
        return self.head(degraded)

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        """How far the restored image is from the clean one, both (B, C, H, W): a scalar."""
        return self.pixel_loss(restored, clean)

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write `config.json` and `model.safetensors` into the folder.

        A head made from a file says in `saved_as` from which spec it can be built without that file.
        """
        head = getattr(self.head, "saved_as", None)
        config = self.config if head is None else {**self.config, "head": head}
        save_pretrained(folder, "task", config, self.state_dict())

    @staticmethod
    def from_pretrained(model: str | PathLike[str]) -> Task:
        """The task with a trained head, in evaluation mode, from a run folder, its `head/`, or a hub id.

        Raises:
            UserError: there is no such folder or hub repository, or it holds something else.
        """
        config, weights = load_pretrained(model, "task")
        task = tasks.build(config)
        task.load_state_dict(weights)
        return task.eval()
