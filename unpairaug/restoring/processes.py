"""The processes that share the images of one command."""

from __future__ import annotations

from typing import Any

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def processes(**options: Any) -> PartialState:
    """This process among those that `accelerate launch` or `torchrun` started; options are of their process group."""
    # Left to itself, PartialState overlooks accelerate's flag for the CPU, and takes each process for the only one.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), **options)
