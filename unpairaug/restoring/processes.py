"""The process group of a command: its images are divided over the processes."""

from __future__ import annotations

from typing import Any

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def process_state(**options: Any) -> PartialState:
    """The `PartialState` of the processes that `accelerate launch` or `torchrun` started.

    Args:
        options: arguments of `torch.distributed.init_process_group`, such as `timeout`.
    """
    # PartialState() ignores ACCELERATE_USE_CPU; without it each CPU process would believe to be the only one.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), **options)
