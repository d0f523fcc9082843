"""Kill a worker of `prepare` and `restore`, and compare what they write with what one process writes.

    python tests/faults/kill_workers.py PHOTOGRAPHS
    python tests/faults/kill_workers.py PHOTOGRAPHS --command restore --model runs/cyclesr_sr

Each command works in process, in two local processes of which one is killed, and in two Ray actors of which one is
killed. The trees of files must be equal, byte for byte. `restore` enlarges by bicubic interpolation unless a model is
given.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

CHECKOUT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "prepare": (
        "prepare",
        "{source}",
        "{target}",
        "--size",
        "480",
        "--stride",
        "240",
        "--shards",
        "--shard-size",
        "16",
    ),
    "restore": ("restore", "{model}", "{source}", "{target}"),
}
WAYS = {"in process": ("--workers", "1"), "2 processes": ("--workers", "2"), "2 Ray actors": ("--ray", "2")}
MARKS = {"2 processes": "multiprocessing.spawn", "2 Ray actors": "ray::_Actor"}
"""What the command line of a worker contains."""


def digest_tree(folder: Path) -> tuple[int, str]:
    """The number of files of a folder, and a digest of their names and bytes; hidden files are left out."""
    digest, count = hashlib.sha256(), 0
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            digest.update(f"{path.relative_to(folder).as_posix()}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
            count += 1
    return count, digest.hexdigest()


def run_command(name: str, way: str, source: Path, target: Path, model: str) -> int:
    """Run a command and kill one of its workers once outputs appear; the number of killed workers."""
    words = [word.format(source=source, target=target, model=model) for word in (*COMMANDS[name], *WAYS[way])]
    words += ["--scale", "2"] if name == "restore" and model == "bicubic" else []
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "unpairaug", *words], env=environment, stderr=subprocess.PIPE, text=True
    )
    killed = 0
    while process.poll() is None and way in MARKS and not killed:
        time.sleep(0.02)
        if any(path.is_file() and path.suffix in (".png", ".parts", ".tar") for path in target.rglob("*")):
            killed = _kill_one_worker(process.pid, MARKS[way])
    _, errors = process.communicate()
    if process.returncode or (killed and "done again" not in errors):
        sys.exit(f"{name}, {way}: exit code {process.returncode}\n{errors[-3000:]}")
    return killed


def _kill_one_worker(pid: int, mark: str) -> int:
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if mark in " ".join(child.cmdline()) and child.cpu_times().user > 0:
                child.send_signal(signal.SIGKILL)
                return 1
        except psutil.Error:  # ended meanwhile
            continue
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--command", choices=COMMANDS, help="only this one")
    parser.add_argument("--way", choices=WAYS, help="only this one; compare its digest with that of an earlier call")
    parser.add_argument("--model", default="bicubic", help="what `restore` uses, such as the folder of a run")
    options = parser.parse_args()
    source, model = options.photographs.resolve(), options.model
    model = str(Path(model).resolve()) if Path(model).exists() else model
    differs = False
    for name in [options.command] if options.command else COMMANDS:
        expected = ""
        for way in [options.way] if options.way else WAYS:
            with tempfile.TemporaryDirectory() as folder:
                began = time.monotonic()
                killed = run_command(name, way, source, Path(folder) / "out", model)
                count, digest = digest_tree(Path(folder) / "out")
            expected = expected or digest
            differs |= digest != expected
            seconds = time.monotonic() - began
            print(f"{name}, {way}: {killed} killed, {count} files, {seconds:.0f} s, {digest}", flush=True)
    if differs:
        sys.exit("the trees differ")


if __name__ == "__main__":
    main()
