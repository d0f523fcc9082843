"""Super-resolution: the clean image from one of lower resolution."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from unpairaug.bridge import round_to_8_bits
from unpairaug.networks.resize import shrink
from unpairaug.registry import HeadSpec, LossSpec, register_task
from unpairaug.task import Task

Scale = Annotated[int, Field(ge=1, le=16)]


@register_task("sr")
class SuperResolution(Task):
    """Single-image super-resolution by a whole `scale`; VDSR (Kim et al., 2016) unless another head is named."""

    def __init__(self, scale: Scale = 4, head: HeadSpec = "vdsr", loss: LossSpec = "l1") -> None:
        super().__init__(scale, head, loss)

    def source(self, clean: Tensor) -> Tensor:
        """Antialiased bicubic 1/scale, in the 8 bits that a file would hold: (B, C, H / scale, W / scale) in [0, 1]."""
        return round_to_8_bits(shrink(clean, self.scale).clamp(0, 1))
