"""Let an S3 server fail 20 times in a training and in a `degrade` job, and compare with undisturbed jobs.

    python tests/faults/fail_storage.py --faults 20

The faults take turns: answers 500 and 503, connections that are reset, slow answers, and a server that is away for two
seconds. They are spread over the job. Data, run folder and outputs are in the bucket. Weights and shards must be equal,
to the last bit, and no output and no file may contain the secret key.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests" / "support")]

from degrade_model import save_photographs, save_run  # noqa: E402
from s3_server import FAULTS, SECRET, S3Server, download, serve_bucket, upload  # noqa: E402

TRAIN = ["train", "smoke", "data.num_workers=2", "data.order=stream", "train.steps=24", "train.checkpoint_every=3"]
TRAIN += [f"data.{side}=s3://bucket/shards" for side in ("clean", "degraded")]
TRAIN += ["task.scale=2", "data.val_clean=null", "data.val_degraded=null", "data.batch_size=2", "train.log_every=6"]


def run_command(server: S3Server, folder: Path, *words: str) -> str:
    """Run a command as on a fresh machine; its output."""
    environment = {**os.environ, **server.environment, "PYTHONPATH": str(CHECKOUT), "XDG_CACHE_HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "unpairaug", *words], env=environment, capture_output=True, text=True, cwd=folder
    )
    output = done.stdout + done.stderr
    if done.returncode or SECRET in output:
        sys.exit(f"{' '.join(words)}: exit code {done.returncode}, secret shown: {SECRET in output}\n{output[-3000:]}")
    return output


def compare_jobs(server: S3Server, folder: Path, name: str, words: list[str], target: str, faults: int) -> None:
    """Run a job undisturbed and with faults, and compare the files at the target that its results are."""
    kinds = list(itertools.islice(itertools.cycle(FAULTS), faults))
    (folder / "whole").mkdir(parents=True)
    (folder / "failing").mkdir()
    before = server.requests.total()
    run_command(server, folder / "whole", *words, target.format("whole"))
    every = (server.requests.total() - before) // (faults + 2)
    before = server.requests.total()
    with server.failing(kinds, every=max(2, every)):
        output = run_command(server, folder / "failing", *words, target.format("failing"))
    requests, said = server.requests.total() - before, output.count("requests are repeated")
    whole, failing = (download(f"s3://bucket/{name}_{way}") for way in ("whole", "failing"))
    kept = (".tar", "model.safetensors", ".png")
    results = {path for path in whole if path.endswith(kept) and not path.startswith(("samples", "best"))}
    different = [path for path in results if whole[path] != failing.get(path)]
    if shown := [path for path, content in {**whole, **failing}.items() if SECRET.encode() in content]:
        sys.exit(f"the secret key is in {shown}")
    print(
        f"{name}: {dict(server.failed)} in {requests} requests, said {said} times, {len(results)} files, "
        f"{len(different)} differ",
        flush=True,
    )
    if different or server.failed.total() != faults:
        sys.exit(f"{different} differ, or only {server.failed.total()} of {faults} faults were met")
    server.failed.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serve_bucket("bucket") as server:
        home = Path(name)
        save_photographs(home / "photos", 24, 150, 150)
        save_run(home / "run")
        words = ["prepare", str(home / "photos"), str(home / "shards"), "--size", "64", "--shards", "--shard-size", "1"]
        run_command(server, home, *words, "--workers", "1")
        upload(home / "shards", "s3://bucket/shards")
        target = "s3://bucket/degrade_{}"
        degrade = ["degrade", str(home / "run"), "s3://bucket/shards"]
        compare_jobs(server, home / "degrade", "degrade", degrade, target, options.faults)
        compare_jobs(server, home / "train", "train", TRAIN, "output_dir=s3://bucket/train_{}", options.faults)


if __name__ == "__main__":
    main()
