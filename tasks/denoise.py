"""Denoising: the clean image from one with noise."""

from __future__ import annotations

from unpairaug.registry import HeadSpec, LossSpec, register_task
from unpairaug.task import Task


@register_task("denoise")
class Denoising(Task):
    """Denoising at the size given, blind; DnCNN (Zhang et al., 2017) unless another head is named.

    What is degraded is the clean image itself, (B, C, H, W) in [0, 1]; metrics are those of RGB without a border.
    """

    def __init__(self, head: HeadSpec = "dncnn", loss: LossSpec = "l1") -> None:
        super().__init__(scale=1, head=head, loss=loss)
