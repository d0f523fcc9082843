"""The process group of a command: its images are divided over the processes."""

from __future__ import annotations

import os
from typing import Any

import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from unpairaug.errors import UserError, escape

OF_A_PROCESS = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
OF_A_GROUP = (*OF_A_PROCESS, "MASTER_ADDR", "MASTER_PORT")
"""Variables that `torchrun` and `accelerate launch` set in every process; a process group needs all of them."""
OF_MPI = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Variables of MPI launchers, which `accelerate` completes by itself."""


def process_state(**options: Any) -> PartialState:
    """The `PartialState` of the processes that `accelerate launch` or `torchrun` started.

    Args:
        options: arguments of `torch.distributed.init_process_group`, such as `timeout`.

    Raises:
        UserError: the environment is that of several processes, but incomplete.
    """
    ignore_incomplete_launcher()
    # PartialState() ignores ACCELERATE_USE_CPU; without it each CPU process would believe to be the only one.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), **options)


def ignore_incomplete_launcher() -> None:
    """Make this a single process if the environment has only some of a launcher's variables and one process.

    Schedulers and interactive shells on clusters leave such variables; `accelerate` would wait for a process group.

    Raises:
        UserError: the environment is that of several processes, but incomplete.
    """
    missing = [name for name in OF_A_GROUP if not os.environ.get(name)]
    has_some = any(name in os.environ for name in OF_A_PROCESS)
    if not missing or not has_some or dist.is_initialized() or any(name in os.environ for name in OF_MPI):
        return
    size = os.environ.get("WORLD_SIZE") or "1"
    if size != "1":
        raise UserError(
            f"WORLD_SIZE is {escape(size)}, but the launcher did not set {' and '.join(missing)}; "
            f"start the processes with `accelerate launch` or `torchrun`, or unset {', '.join(OF_A_PROCESS)}"
        )
    for name in OF_A_PROCESS:
        os.environ.pop(name, None)
