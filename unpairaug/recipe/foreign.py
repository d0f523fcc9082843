"""Configurations of other training programs: recognised where a recipe is expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VEGA, BASICSR = "CycleSR in Vega", "BasicSR"


def recognise(values: Mapping[str, Any]) -> str | None:
    """The program whose configuration the values are; None for a recipe, and for what is unknown."""
    train = values.get("fully_train")
    if isinstance(train, Mapping) and {"dataset", "trainer"} <= train.keys():
        return VEGA
    if isinstance(values.get("network_g"), Mapping) and isinstance(values.get("datasets"), Mapping):
        return BASICSR
    return None
