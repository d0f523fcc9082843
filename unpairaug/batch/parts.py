"""The words of a job in parts: what a part, its result and its worker are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")
MakeWorker = Callable[[str | None], Callable[[Part], Result]]
"""Creates the worker of a process, for example by loading a model. It is pickled, so it is no lambda.

Its argument is the device, such as `cuda`, or None for the default one.
"""

ATTEMPTS = 3
"""How often a part is tried in workers that die."""
AHEAD = 4
"""Parts per worker that are handed out before the first result of them is taken."""
