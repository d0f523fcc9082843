"""Stop runs by every signal, under every launcher, sent to one process, to its group, or to all processes.

    python tests/faults/stop_runs.py

Each run must end, leave no process behind, release its folder, and keep a checkpoint of the step it has reached. The
exit code of the process that was started must be the one in `CODES`, which docs/explanation/reliability.md explains.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
ACCELERATE = ["--cpu", "--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no"]
LAUNCHERS = {
    "python -m unpairaug.run": ["-m", "unpairaug.run"],
    "unpairaug train": ["-m", "unpairaug", "train"],
    "accelerate launch": [
        "-m",
        "accelerate.commands.launch",
        *ACCELERATE,
        "--dynamo_backend",
        "no",
        "-m",
        "unpairaug.run",
    ],
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "unpairaug.run"],
}
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
TARGETS = ("started", "training", "group", "all")
"""The process that was started; the one that trains; the group of the former; every process of the run."""
RECIPE = ["smoke", "train.steps=100000", "train.log_every=1", "data.num_workers=1", "output_dir=run"]


def exit_code(launcher: str, name: str, target: str) -> int:
    """The exit code of the process that was started; negative for the signal that killed it."""
    if launcher in ("python -m unpairaug.run", "unpairaug train"):
        return 75 if name == "SIGUSR1" else 1
    is_handled = launcher == "torchrun" and name != "SIGUSR1"
    return 1 if target == "training" or is_handled else -getattr(signal, name)


def table() -> list[tuple[str, str, str]]:
    """Every launcher, signal and target; without a launcher, the process that was started is the one that trains."""
    rows = itertools.product(LAUNCHERS, SIGNALS, TARGETS)
    return [row for row in rows if row[2] != "training" or row[0] in ("accelerate launch", "torchrun")]


def stop_run(launcher: str, name: str, target: str, folder: Path) -> list[str]:
    """Start a run, stop it after its first steps, and say what is wrong with the way it ended."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true", "HOME": str(folder)}
    command = [sys.executable, *LAUNCHERS[launcher], *RECIPE]
    with (folder / "output.txt").open("wb") as output:
        started = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    metrics = folder / "run" / "metrics.jsonl"
    if not _wait(lambda: started.poll() is not None or (metrics.exists() and '"train"' in metrics.read_text()), 180):
        return ["it does not start"]
    processes = [psutil.Process(started.pid), *psutil.Process(started.pid).children(recursive=True)]
    number = getattr(signal, name)
    if target == "group":
        os.killpg(started.pid, number)
    for process in {"started": processes[:1], "training": _training(processes), "all": processes}.get(target, []):
        process.send_signal(number)
    wrong = []
    if not _wait(lambda: started.poll() is not None and not any(map(_is_alive, processes)), 120):
        wrong.append(f"left behind: {[p.cmdline()[:6] for p in processes if _is_alive(p)]}")
        for process in filter(_is_alive, processes):
            process.kill()
    code = started.wait()
    if code != (expected := exit_code(launcher, name, target)):
        wrong.append(f"exit code {code} instead of {expected}")
    said = (folder / "output.txt").read_text(errors="replace")
    if not (found := re.search(r"error: stopped .* after step (\d+), and saved a checkpoint", said)):
        wrong.append(f"no word of a checkpoint: {said[-1500:]}")
    elif not (folder / "run" / "checkpoints" / f"step_{found[1]}" / "state.json").is_file():
        wrong.append(f"no checkpoint of step {found[1]}")
    if launcher in ("python -m unpairaug.run", "unpairaug train") and "Traceback" in said:
        wrong.append("a traceback")
    with FileLock(folder / "run" / ".lock", timeout=0):
        return wrong


def _training(processes: list[psutil.Process]) -> list[psutil.Process]:
    """The first process that trains; its loader workers have the same command line, and come after it."""
    return [process for process in processes[1:] if "unpairaug.run" in process.cmdline()][:1]


def _is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _wait(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether it holds within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


def main() -> None:
    rows = [row for row in table() if all(word in " ".join(row) for word in sys.argv[1:])]
    failures = 0
    for row in rows:
        with tempfile.TemporaryDirectory() as folder:
            wrong = stop_run(*row, Path(folder))
        failures += bool(wrong)
        print(f"{' | '.join(row)} | {exit_code(*row)} | {'; '.join(wrong) or 'checkpoint saved'}", flush=True)
    print(f"{len(rows) - failures} of {len(rows)} ended as they should")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
