"""The measured camera alone: no networks, nothing trained."""

from __future__ import annotations

from torch import Tensor

from unpairaug.registry import register_translator
from unpairaug.rng import Rng
from unpairaug.translator import Translator


@register_translator("measured")
class Measured(Translator):
    """The source as the measured camera shows it: optics, noise and JPEG files, as far as they were measured."""

    default_measure = "all"

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        """The source itself: the measured camera stands in front."""
        return source
