"""No degradation beyond the task's own: the head learns on plain sources. This is the floor."""

from __future__ import annotations

from torch import Tensor

from unpairaug.registry import register_translator
from unpairaug.rng import Rng
from unpairaug.translator import Translator


@register_translator("bicubic")
class Bicubic(Translator):
    """Leaves the source as it is: for super-resolution, the antialiased bicubic low-resolution image."""

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        """The source itself."""
        return source
