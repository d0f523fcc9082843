"""Run the program in a process of its own; on Linux it is forked from one that has imported torch, to save seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
LIMIT = 300
"""Seconds after which a program is killed."""
FORKING = Path(__file__).with_name("forking_program.py")


def run_program(
    *arguments: object,
    cwd: Path | None = None,
    module: str = "unpairaug",
    max_kib: int | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE ARGUMENTS` to its end, on the CPU, and return its exit code and what it printed.

    Args:
        max_kib: limit of the size of a file that it writes, as `ulimit -f` sets it; only on POSIX.
        environment: further variables, on top of those of this process.
    """
    place = str(cwd or Path.cwd())
    variables = {**os.environ, "PYTHONPATH": str(CHECKOUT), "ACCELERATE_USE_CPU": "true", **environment}
    words = [str(argument) for argument in arguments]
    if sys.platform != "linux":
        limit = (lambda: _limit_files(max_kib)) if max_kib is not None else None
        command = [sys.executable, "-m", module, *words]
        return subprocess.run(
            command, cwd=place, env=variables, preexec_fn=limit, capture_output=True, text=True, timeout=LIMIT
        )
    wanted = {"module": module, "words": words, "cwd": place, "environment": variables}
    wanted |= {"max_kib": max_kib, "seconds": LIMIT}
    with _Pipe() as out, _Pipe() as errors:
        code = _ask({**wanted, "out": out.path, "errors": errors.path})
    return subprocess.CompletedProcess([module, *words], code, out.text, errors.text)


class _Pipe:
    """What another process writes to `path` while this block lasts is `text` behind it."""

    def __enter__(self) -> _Pipe:
        reading, self.writing = os.pipe()
        self.path = f"/proc/{os.getpid()}/fd/{self.writing}"
        self.reader = ThreadPoolExecutor(1)
        self.found = self.reader.submit(lambda: os.fdopen(reading).read())
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self.writing)  # that of the program has closed with it
        self.text = self.found.result()
        self.reader.shutdown()


def _limit_files(max_kib: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * max_kib, 1024 * max_kib))


def _ask(wanted: dict[str, object]) -> int:
    if _servers and _servers[-1].poll() is not None:  # a test that kills what others left behind has killed it
        _servers.pop()
    if not _servers:
        _servers.append(_start_server())
    server = _servers[-1]
    assert server.stdin and server.stdout
    server.stdin.write(json.dumps(wanted) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


_servers: list[subprocess.Popen[str]] = []
"""The process from which this test process forks all its programs, once it is started."""


def _start_server() -> subprocess.Popen[str]:
    command, pipe = [sys.executable, str(FORKING)], subprocess.PIPE
    # A session of its own: a signal to the group of a test is none of its business.
    server = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=CHECKOUT, start_new_session=True)
    return server
