"""Print the digest of the sequence that `data.order: exact` gives, for several ways of dividing the work.

    python tests/scale/compare_exact_order.py

Two sets are read from a disk, from moto's S3 server on the loopback interface image by image, and from there by copies
of whole shards: 150 images in 3 shards, which are permuted as a whole, and 66 000 in 66 shards, which are read in
lanes. Each is read by 1, 2 and 4 loader workers of one process, by two processes of one agent of `torchrun`, and by two
agents of one process each, all with 16 samples a step.
The digest covers the number and the pixels of each sample, in order. All digests of a set must be equal.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests" / "support")]

from sample_digests import STEP, digest_samples, join_processes, write_shards  # noqa: E402

SETS = {"permuted": (3, 50), "lanes": (66, 1000)}
"""Shards, and images in each, by the kind of order."""
WAYS = {
    "1 worker": (1, 1, 1),
    "2 workers": (1, 1, 2),
    "4 workers": (1, 1, 4),
    "1 node of 2 processes": (1, 2, 2),
    "2 nodes of 1 process": (2, 1, 2),
}
"""Nodes, processes on each, and loader workers of each process."""
SOURCES = ("disk", "S3", "copies")


def read_in_this_process(folder: Path, source: str, steps: int, workers: int, copies: bool) -> None:
    """Read both sets as `torchrun` asks for, and write the digests to a file that is named after the rank."""
    import torch

    torch.set_num_threads(1)
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    found = {kind: digest_samples(f"{source}/{kind}", steps, workers, rank, processes, copies) for kind in SETS}
    (folder / f"{rank}.json").write_text(json.dumps(found))


def run_way(way: str, source: str, steps: int, copies: bool) -> dict[str, str]:
    """Read both sets in one of the ways; the digest of each."""
    nodes, processes, workers = WAYS[way]
    with tempfile.TemporaryDirectory() as name, socket.socket() as free:
        words = [__file__, "--read", name, source, str(steps), str(workers), *["copies"] * copies]
        if nodes * processes > 1:
            free.bind(("127.0.0.1", 0))
            agent = ["--nnodes", str(nodes), "--nproc-per-node", str(processes), "--rdzv-backend", "c10d"]
            agent += ["--rdzv-endpoint", f"127.0.0.1:{free.getsockname()[1]}", "--rdzv-id", "order"]
            words = ["-m", "torch.distributed.run", *agent, "--local-addr", "127.0.0.1", *words]
        free.close()
        agents = [subprocess.Popen([sys.executable, *words]) for _ in range(nodes)]
        if any([agent.wait() for agent in agents]):
            sys.exit(f"{way}, {source}: exit codes {[agent.returncode for agent in agents]}")
        found = [json.loads((Path(name) / f"{rank}.json").read_text()) for rank in range(nodes * processes)]
    return {kind: join_processes([one[kind] for one in found]) for kind in SETS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help=f"steps of {STEP} samples that are read")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES, help="only these")
    parser.add_argument("--read", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        folder, source, steps, workers, *copies = options.read
        read_in_this_process(Path(folder), source, int(steps), int(workers), bool(copies))
        return
    from s3_server import serve_bucket, upload

    os.environ["OMP_NUM_THREADS"] = "1"
    found: dict[str, set[str]] = {kind: set() for kind in SETS}
    with tempfile.TemporaryDirectory() as name, serve_bucket("bucket"):
        for kind, (shards, each) in SETS.items():
            write_shards(Path(name) / "sets" / kind, shards, each)
        upload(Path(name) / "sets", "s3://bucket/sets")
        for where in options.sources:
            source = f"{name}/sets" if where == "disk" else "s3://bucket/sets"
            for way in WAYS:
                os.environ["XDG_CACHE_HOME"] = f"{name}/{where}/{way}"  # each way makes its own copies
                digests = run_way(way, source, options.steps, where == "copies")
                print(f"{where}, {way}: " + ", ".join(f"{kind} {digests[kind]}" for kind in SETS), flush=True)
                for kind, digest in digests.items():
                    found[kind].add(digest)
    if any(len(digests) > 1 for digests in found.values()):
        sys.exit("the sequences differ")


if __name__ == "__main__":
    main()
