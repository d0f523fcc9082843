"""Stop requests: signals, and a launcher that has ended. A run saves a checkpoint at the end of the step, and stops."""

from __future__ import annotations

import math
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator

from unpairaug.data.worker_signals import STOP_SIGNALS
from unpairaug.errors import RunPreempted, RunStopped
from unpairaug.training.launcher import has_launcher_ended

PREEMPTION = getattr(signal, "SIGUSR1", None)
"""The signal that schedulers are told to send before they take the machine away."""
LAUNCHER_ENDED = 1000
"""The reason that is no signal: larger than every signal's number."""
AGREE_EVERY = 2.0
"""Seconds between two checks at which several processes agree whether to stop."""
SECOND_SIGINT = 1.0
"""Seconds after which another SIGINT ends the program at once. Launchers repeat signals within less."""


class StopRequests:
    """The stop requests of one process, and what all processes of a run agree on.

    Before `defer` a request ends the program at once, since there is nothing to save yet.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.reason = 0
        """The first signal received, or LAUNCHER_ENDED; 0 without a request."""
        self.received_at = 0.0
        self.is_deferred = False
        self.next_check = 0

    @contextmanager
    def handlers(self) -> Iterator[StopRequests]:
        """Handle the stop signals. Outside the main thread Python cannot, and they keep their effect."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before: dict[int, Any] = {}
        for number in STOP_SIGNALS:
            if number != getattr(signal, "SIGHUP", None) or signal.getsignal(number) is signal.SIG_DFL:  # nohup
                before[number] = signal.signal(number, self.receive)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def defer(self) -> None:
        """From now on record requests, so that the step is completed, and what follows the last step too."""
        self.is_deferred = True

    def receive(self, number: int, _: object = None) -> None:
        """Handle a signal.

        Raises:
            RunStopped: no step is taken yet.
            KeyboardInterrupt: SIGINT came again.
        """
        if not self.is_deferred:
            raise stop_error(number, "before the first step; nothing is saved")
        if not self.reason:
            self.reason, self.received_at = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self.received_at > SECOND_SIGINT:
            raise KeyboardInterrupt

    def agree(self, step: int, steps_per_second: float) -> int:
        """The reason to stop after `step` steps, the same on all processes; 0 to go on.

        Collective: every process must call it after every step. Several processes exchange their reasons about every
        `AGREE_EVERY` seconds, because each exchange waits for the device.
        """
        if not self.reason and has_launcher_ended():
            self.reason = LAUNCHER_ENDED
        if self.accelerator.num_processes == 1:
            return self.reason
        if step < self.next_check:
            return 0
        own = torch.tensor([[self.reason, steps_per_second]], dtype=torch.float32, device=self.accelerator.device)
        reasons, speeds = self.accelerator.gather(own).T.tolist()  # pyright: ignore[reportAttributeAccessIssue]
        self.next_check = step + max(1, math.floor(min(speeds) * AGREE_EVERY))
        return int(max(reasons))


def stop_error(reason: int, what: str) -> RunStopped:
    """The error that ends a run for a reason; `what` says when, and what is saved."""
    cause = "because its launcher has ended" if reason == LAUNCHER_ENDED else f"by {signal.Signals(reason).name}"
    return (RunPreempted if reason == PREEMPTION else RunStopped)(f"stopped {cause} {what}")


@contextmanager
def explain_lost_processes(processes: int) -> Iterator[None]:
    """Turn the error of a collective whose other side has ended into a message.

    Raises:
        RunStopped: another process of the run has ended or cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error).split("\n")[0]
        if processes == 1 or not re.search(r"\b(gloo|NCCL)\b", text, re.IGNORECASE):
            raise
        stopped = RunStopped(
            f"another process of the run has ended or cannot be reached ({text}); the same command resumes from the "
            f"last checkpoint"
        )
        stopped.is_of_one_process = True
        raise stopped from error
