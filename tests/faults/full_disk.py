"""Train on a disk of every size that is too small, enlarge it, and resume: the run ends with the same bits.

    python tests/faults/full_disk.py --from-kb 100 --to-kb 2000 --every-kb 50

Mounts a small file system for each budget, which needs Linux and root. Then disks without room for a single file, or
for a few, are filled.
"""

from __future__ import annotations

import argparse
import resource
import signal
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from run_differences import run_differences
from warm_runs import WarmRun

from unpairaug.training.checkpoint import find_checkpoint_damage, list_checkpoints

STEPS, EVERY = 6, 2
ROOM = "size=64m,nr_inodes=10000"
"""Of a disk with room enough."""
FEW_FILES = tuple(f"nr_inodes={number}" for number in (1, 2, 3, 4, 6, 9))
"""Of disks on which the folder of the run, its lock, or its first files cannot be made; the root of the disk counts."""


def arguments(output_dir: Path) -> list[str]:
    return [
        *("smoke", f"output_dir={output_dir}", f"train.steps={STEPS}", f"train.checkpoint_every={EVERY}"),
        *(
            "train.log_every=1",
            "train.sample_every=2",
            "train.validate_every=3",
            "data.batch_size=2",
            "data.val_clean=null",
        ),
        *("translator.ngf=8", "translator.pool_size=8", "data.val_clean=null", "data.val_degraded=null"),
    ]


def train(folder: Path, output_dir: Path, in_child: Callable[[], None] | None = None) -> tuple[int, str]:
    """Exit code and output of a run; the output lies on another disk than the run."""
    folder.mkdir(exist_ok=True)
    (folder / "output.txt").unlink(missing_ok=True)
    (code,) = WarmRun(arguments(output_dir), folder, in_child=in_child).wait()
    return code, (folder / "output.txt").read_text(errors="replace")


def find_failures(
    folder: Path,
    output_dir: Path,
    reference: Path,
    fill: Callable[[], None] | None = None,
    free: Callable[[], object] = lambda: None,
) -> tuple[str, list[str]]:
    """Train until the disk is full, free it, resume; how the first run ended, and what is not as it must be.

    Args:
        folder: for the output of the programs.
        output_dir: of the run, on the small disk.
        reference: an uninterrupted run.
        fill: called in the process of the first run, before it trains.
        free: makes room.
    """
    code, output = train(folder, output_dir, fill)
    wrong = []
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    if code not in (0, 1) or "Traceback" in output or "Logging error" in output or len(errors) != (code != 0):
        wrong.append(f"exit code {code} and {len(errors)} messages:\n{output[-3000:]}")
    whole = list_checkpoints(output_dir / "checkpoints")
    wrong += [f"{path.name}: {damage}" for path in whole if (damage := find_checkpoint_damage(path))]
    free()
    resumed, output = train(folder, output_dir)
    if resumed or "Traceback" in output:
        wrong.append(f"exit code {resumed} after freeing:\n{output[-3000:]}")
    elif differences := run_differences(reference, output_dir):
        wrong.append(f"the resumed run differs: {differences}")
    last = whole[-1].name if whole else "no checkpoint"
    return f"exit code {code}, {last}: {errors[0] if errors else 'completed'}", wrong


def limit_files(size: int) -> Callable[[], None]:
    """For `fill`: no file of the process may be larger than so many bytes."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return limit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from-kb", type=int, default=100)
    parser.add_argument("--to-kb", type=int, default=2000)
    parser.add_argument("--every-kb", type=int, default=50)
    options = parser.parse_args()
    sizes = range(options.from_kb, options.to_kb + 1, options.every_kb)
    budgets = [f"size={kb}k,nr_inodes=10000" for kb in sizes] + ["size=64m," + few for few in FEW_FILES]
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        disk = root / "disk"
        disk.mkdir()
        for budget in (ROOM, *budgets):
            subprocess.run(["mount", "-t", "tmpfs", "-o", budget, "tmpfs", str(disk)], check=True)
            try:
                if budget == ROOM:
                    code, output = train(root / "programs", disk / "run")
                    assert code == 0, output
                    subprocess.run(["cp", "-r", str(disk / "run"), str(root / "reference")], check=True)
                    continue
                free = partial(subprocess.run, ["mount", "-o", f"remount,{ROOM}", str(disk)], check=True)
                places = root / "programs", disk / "run", root / "reference"
                ended, wrong = find_failures(*places, free=free)
                failed += bool(wrong)
                print(f"{budget}: {ended}" + "".join(f"\n  FAILED {line}" for line in wrong), flush=True)
            finally:
                subprocess.run(["umount", str(disk)], check=True)
    print(f"{len(budgets)} budgets, {failed} failed")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
