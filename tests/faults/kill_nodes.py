"""Train on two nodes, kill one of them at random moments, and compare the weights with those of one node.

    python tests/faults/kill_nodes.py --kills 5 --seed 0

A node is an agent of `torchrun` with its processes, on the loopback interface. The reference is one node with as many
processes. A kill is SIGKILL to all processes of a node. The processes of the other node must end within 30 seconds with
the reason; their agent starts them again (`--max-restarts`), and the killed agent is started again, as a scheduler
does. In the end the weights must be equal, to the last bit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

CHECKOUT = Path(__file__).resolve().parents[2]
STEPS = 40
OPTIONS = [
    f"train.steps={STEPS}",
    "train.checkpoint_every=4",
    "train.log_every=4",
    "train.sample_every=1000",
    "train.validate_every=1000",
    "data.batch_size=2",
    "data.num_workers=0",
    "output_dir=run",
]
LIMIT = 30.0
"""Seconds in which the processes of the other node must end."""


class Node:
    """One agent of `torchrun`, in a process group of its own."""

    def __init__(self, folder: Path, port: int, number: int) -> None:
        self.log = folder / f"node_{number}.txt"
        words = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3", "--rdzv-backend", "c10d"]
        words += ["--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "run", "--local-addr", "127.0.0.1"]
        words += ["--rdzv-conf", f"is_host={int(number == 0)}"]
        self.process = _start(words, folder, self.log)

    def workers(self) -> list[psutil.Process]:
        """The training processes."""
        try:
            children = psutil.Process(self.process.pid).children()
            return [one for one in children if "unpairaug.run" in " ".join(one.cmdline())]
        except psutil.Error:  # ended meanwhile
            return []

    def kill(self) -> None:
        """End all processes of the node at once, as a loss of power does; the workers have sessions of their own."""
        for process in (*self.workers(), self.process):
            process.kill()
        self.process.wait()


def _start(words: list[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    # torch 2.14 shares the store of the rendezvous with the processes, and a new agent then waits for an address that
    # the others set in their first round only.
    environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    command = [sys.executable, "-m", "torch.distributed.run", *words, "-m", "unpairaug.run", "smoke", *OPTIONS]
    with log.open("ab") as output:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )


def digest_weights(folder: Path) -> str:
    """The SHA-256 of the trained head and translator."""
    digest = hashlib.sha256()
    for part in ("head", "translator"):
        digest.update((folder / "run" / part / "model.safetensors").read_bytes())
    return digest.hexdigest()


def train_on_one_node(folder: Path) -> str:
    """Train with two processes of one node."""
    folder.mkdir()
    process = _start(["--standalone", "--nproc-per-node", "2"], folder, folder / "node.txt")
    if process.wait():
        sys.exit(f"one node: exit code {process.returncode}\n{(folder / 'node.txt').read_text()[-3000:]}")
    return digest_weights(folder)


def train_on_two_nodes(folder: Path, kills: int, draw: random.Random) -> str:
    """Train on two nodes, of which one is killed so many times."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = [Node(folder, port, number) for number in range(2)]
    for _ in range(kills):
        before = _newest_step(folder)
        at = draw.randint(before + 4, max(before + 4, STEPS - 8))
        while _newest_step(folder) < at and all(node.process.poll() is None for node in nodes):
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 0.5))
        if any(node.process.poll() is not None for node in nodes):
            break
        number = draw.randrange(2)
        _kill_and_measure(nodes, number)
        if number == 0:  # it keeps the rendezvous, so its loss ends the other agent, too
            nodes[1].kill()
            nodes = [Node(folder, port, 0), Node(folder, port, 1)]
        else:
            nodes[1] = Node(folder, port, 1)
    codes = [node.process.wait() for node in nodes]
    if any(codes):
        sys.exit(
            f"two nodes: exit codes {codes}\n{nodes[0].log.read_text()[-3000:]}\n{nodes[1].log.read_text()[-3000:]}"
        )
    return digest_weights(folder)


def _kill_and_measure(nodes: list[Node], number: int) -> None:
    other = nodes[1 - number]
    workers, seen = other.workers(), other.log.stat().st_size
    began = time.monotonic()
    nodes[number].kill()
    _, alive = psutil.wait_procs(workers, timeout=LIMIT)
    if alive:
        sys.exit(f"node {number} was killed, and processes of the other node are alive after {LIMIT:.0f} s")
    with other.log.open("rb") as log:
        log.seek(seen)
        lines = log.read().decode().splitlines()
    said = next((line for line in lines if line.startswith("error: ")), "")
    if not said:
        sys.exit("\n".join(["the other node does not say why it ends:", *lines]))
    print(f"node {number} killed: the other ends after {time.monotonic() - began:.1f} s: {said}", flush=True)


def _newest_step(folder: Path) -> int:
    steps = [int(path.name[5:]) for path in folder.glob("run/checkpoints/step_*") if path.name[5:].isdigit()]
    return max(steps, default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5, help="runs that are killed once each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        expected = train_on_one_node(Path(name) / "one")
        print(f"one node, two processes: {expected}", flush=True)
        for turn in range(options.kills + 1):
            found = train_on_two_nodes(Path(name) / f"two_{turn}", int(turn > 0), draw)
            print(f"two nodes, {'one kill' if turn else 'no kill'}: {found}", flush=True)
            if found != expected:
                sys.exit("the weights differ")


if __name__ == "__main__":
    main()
