"""The process that launched this one. Imported before torch, so that a launcher that ends meanwhile is noticed."""

from __future__ import annotations

import os

PARENT = os.getppid()
"""Process id of the parent at the start of the program."""

_SET_BY_LAUNCHERS = ("TORCHELASTIC_RUN_ID", "ACCELERATE_DYNAMO_BACKEND")
"""Environment variables that torchrun and `accelerate launch` set for the processes they start."""


def has_launcher_ended() -> bool:
    """Whether torchrun or `accelerate launch` started this process and has ended since.

    A process that a shell has started goes on without it, as with `nohup`.
    """
    return any(name in os.environ for name in _SET_BY_LAUNCHERS) and os.getppid() != PARENT
