"""Deblurring: the sharp image from one that the camera shook or did not focus."""

from __future__ import annotations

from unpairaug.registry import HeadSpec, LossSpec, register_task
from unpairaug.task import Task

NAFNET = {
    "type": "spandrel",
    "arch": "NAFNet",
    "width": 32,
    "enc_blk_nums": [1, 1, 1, 28],
    "middle_blk_num": 1,
    "dec_blk_nums": [1, 1, 1, 1],
}
"""The network that was published for GoPro's motion blur."""


@register_task("deblur")
class Deblurring(Task):
    """Deblurring at the size given, blind; NAFNet (Chen et al., 2022) unless another head is named.

    What is degraded is the clean image itself, (B, C, H, W) in [0, 1]; metrics are those of RGB without a border.
    """

    def __init__(self, head: HeadSpec = NAFNET, loss: LossSpec = "l1") -> None:
        super().__init__(scale=1, head=head, loss=loss)
