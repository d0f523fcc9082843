"""Runs in forked processes. They start in a moment, because this process has imported torch already."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Imported once, for all forked runs.
import torch._dynamo
import torch.distributed.fsdp
import torch.utils.tensorboard

import unpairaug.training.run_recipe  # noqa: F401
from unpairaug.errors import run_cli
from unpairaug.run import train
from unpairaug.training import launcher

WRITTEN = ("checkpoints", "translator", "head", "best")
"""Folders of a run that are written when it saves."""


class WarmRun:
    """A run of one process or of several, each in a session of its own, as torchrun starts them."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, processes: int = 1, in_child: Callable[[], Any] | None = None
    ) -> None:
        """Start the run.

        Args:
            arguments: recipe and overrides.
            folder: the working directory; standard output and error go to `output.txt` in it.
            processes: how many train together.
            in_child: called in each process before it trains.
        """
        port = str(_free_port())
        self.pids = [self._fork(arguments, folder, rank, processes, port, in_child) for rank in range(processes)]
        self.codes: dict[int, int] = {}

    def _fork(
        self,
        arguments: Sequence[str],
        folder: Path,
        rank: int,
        processes: int,
        port: str,
        in_child: Callable[[], Any] | None,
    ) -> int:
        sys.stdout.flush()
        if pid := os.fork():
            return pid
        try:
            os.setsid()
            os.chdir(folder)
            output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            # pytest may have replaced these objects.
            sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
            launcher.PARENT = os.getppid()
            torch.set_num_threads(1)
            os.environ.update(ACCELERATE_USE_CPU="true", NO_ALBUMENTATIONS_UPDATE="1")
            if processes > 1:
                world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
                os.environ.update({key: str(value) for key, value in world.items()})
                os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
            if in_child is not None:
                in_child()
            run_cli(lambda: train(arguments[0], arguments[1:]))
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            traceback.print_exc()
            code = 70
        sys.stdout.flush()
        os._exit(code)

    def is_running(self) -> bool:
        """Whether any process of the run is."""
        for pid in [pid for pid in self.pids if pid not in self.codes]:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self.codes[pid] = os.waitstatus_to_exitcode(status)
        return len(self.codes) < len(self.pids)

    def wait(self, seconds: float = 300.0) -> list[int]:
        """The exit code of each process, negative for a signal; the run is killed after so many seconds."""
        deadline = time.monotonic() + seconds
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(0.005)
        if self.is_running():
            self.signal(signal.SIGKILL)
            raise TimeoutError(f"the run has not ended within {seconds} s")
        return [self.codes[pid] for pid in self.pids]

    def signal(self, number: int, group: bool = False) -> None:
        """Send a signal to each process that runs, or to its group, which holds its loader workers."""
        for pid in self.pids:
            if self.is_running() and pid not in self.codes:
                (os.killpg if group else os.kill)(pid, number)


def die_at_write(number: int) -> Callable[[], None]:
    """For `in_child`: kill the process at its nth opening, renaming or removal below the folders that a save writes."""
    seen = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"):
            path = arguments[0]
            if isinstance(path, str | Path) and any(part in WRITTEN for part in Path(path).parts[:-1]):
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)

    return lambda: sys.addaudithook(watch)


def count_writes(file: Path) -> Callable[[], None]:
    """For `in_child`: keep in a file how many such events there have been."""
    seen = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"):
            path = arguments[0]
            if isinstance(path, str | Path) and any(part in WRITTEN for part in Path(path).parts[:-1]):
                seen += 1
                os.pwrite(descriptor, str(seen).encode(), 0)

    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    return lambda: sys.addaudithook(watch)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
