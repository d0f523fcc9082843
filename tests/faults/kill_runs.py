"""Kill runs at random moments, resume them until they are done, and compare them with runs that nobody killed.

    python tests/faults/kill_runs.py --kills 100 --signals 40 --seed 0

Translators, data (a folder, shards), loader workers, and one or two processes take turns; the number of workers may
change with every resume. A kill is SIGKILL: at a random time, or at a random file operation while the run saves. A stop
is SIGTERM, SIGINT or SIGUSR1 to the process, to its group, or to its launcher alone. In the end weights, optimisers,
image pool, best step, metrics, warnings, events and sample sheets must be equal, to the last bit.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import os
import random
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from run_differences import read_metrics, read_warnings, run_differences
from warm_runs import WarmRun, count_writes, die_at_write

STEPS = 12
PATCH, TEXTURE = "{type: patch, ndf: 4, n_layers: 2}", "{type: texture, ndf: 4}"
TRANSLATORS = {
    "cyclegan": f"{{type: cyclegan, ngf: 4, n_blocks: 1, pool_size: 8, discriminator: {PATCH}}}",
    "stochastic_cyclegan": f"{{type: stochastic_cyclegan, width: 4, depth: 3, pool_size: 8, discriminator: {TEXTURE}}}",
    "one_sided": f"{{type: one_sided, width: 4, depth: 3, discriminator: {TEXTURE}}}",
    "cut": f"{{type: cut, ngf: 4, n_blocks: 1, layers: [0, 1, 3], num_patches: 16, discriminator: {PATCH}}}",
}
OPTIONS = [
    "data.crop=32",
    "task.head={type: vdsr, depth: 3, width: 4}",
    "optimizer.generator.lr=0.01",  # colours drift, so that guards have something to warn of
    f"train.steps={STEPS}",
    "train.log_every=2",
    "train.sample_every=1",
    "train.validate_every=3",
    "train.checkpoint_every=3",
    "output_dir=run",
]
STOPS = ("SIGTERM", "SIGINT", "SIGUSR1")
EXIT_CODES = {"SIGTERM": 1, "SIGINT": 1, "SIGUSR1": 75, "launcher": 1}


@dataclass(frozen=True)
class Case:
    """What runs that must be equal have in common; the number of workers is not among it."""

    translator: str
    data: str
    processes: int

    def arguments(self, images: Path, workers: int) -> list[str]:
        """Recipe and overrides."""
        kind = "{}/{}" if self.data == "folder" else "{}/{}.tar"
        sources = [f"data.{side}={kind.format(images, side)}" for side in ("clean", "degraded")]
        pairs = [f"data.val_{side}={images}/val_{side}" for side in ("clean", "degraded")]
        sizes = [f"data.batch_size={4 // self.processes}", f"data.num_workers={workers}"]
        return ["smoke", f"translator={TRANSLATORS[self.translator]}", *sources, *pairs, *sizes, *OPTIONS]


class Attack:
    """Counts what was done, and holds the runs that were not killed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.images = folder / "images"
        _make_images(self.images)
        self.whole: dict[Case, tuple[Path, float, int]] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.failures: list[str] = []

    def total(self, kind: str) -> int:
        """How many kills or stops there have been."""
        return sum(number for what, number in self.counts.items() if what.startswith(kind))

    def reference(self, case: Case) -> tuple[Path, float, int]:
        """The folder of the run that nobody killed, its seconds, and the file operations of its saves."""
        if case not in self.whole:
            folder = self.folder / f"whole_{len(self.whole)}"
            folder.mkdir()
            began = time.monotonic()
            run = WarmRun(case.arguments(self.images, 0), folder, case.processes, count_writes(folder / "writes"))
            _expect(run.wait() == [0] * case.processes, folder, "the uninterrupted run fails")
            self.counts["lines of metrics compared"] += len(read_metrics(folder / "run"))
            self.counts["warnings compared"] += len(read_warnings(folder / "run"))
            self.whole[case] = folder / "run", time.monotonic() - began, int((folder / "writes").read_text())
        return self.whole[case]

    def kill_one_run(self, case: Case, kills: int) -> None:
        """Kill a run so many times at most, let it end, and compare."""
        whole, seconds, writes = self.reference(case)
        folder = self._new_folder()
        for _ in range(kills):
            arguments = case.arguments(self.images, self.random.choice((0, 2)))
            if at_write := self.random.random() < 0.4:
                number = self.random.randint(1, writes)
                run = WarmRun(arguments, folder, case.processes, die_at_write(number))
                while run.is_running() and not run.codes:
                    time.sleep(0.002)
            else:
                run = WarmRun(arguments, folder, case.processes)
                time.sleep(self.random.uniform(0, 1.1 * seconds))
                if run.is_running():
                    os.kill(self.random.choice([pid for pid in run.pids if pid not in run.codes]), signal.SIGKILL)
            time.sleep(self.random.uniform(0, 0.2))  # a launcher kills the others a little later
            run.signal(signal.SIGKILL)
            codes = run.wait()
            if -signal.SIGKILL in codes:
                self.counts["kills while saving" if at_write else "kills at a random time"] += 1
            _expect({0, 1, -signal.SIGKILL} >= set(codes), folder, f"exit codes {codes} of a killed run")
        self._finish(case, folder, whole)

    def stop_one_run(self, case: Case, stops: int) -> None:
        """Stop a run so many times at most by signals, let it end, and compare."""
        whole, seconds, _ = self.reference(case)
        folder = self._new_folder()
        for _ in range(stops):
            name, target = self.random.choice(STOPS), self.random.choice(("process", "group", "launcher"))
            arguments = case.arguments(self.images, self.random.choice((0, 2)))
            launcher = None if target != "launcher" else _Launcher()
            run = WarmRun(arguments, folder, case.processes, launcher.watch if launcher else None)
            log, moment = folder / "run" / "metrics.jsonl", self.random.uniform(0, 0.7 * seconds)
            before = log.stat().st_size if log.exists() else 0
            said_before = len((folder / "output.txt").read_text()) if (folder / "output.txt").exists() else 0
            while run.is_running() and not (log.exists() and log.stat().st_size > before):
                time.sleep(0.002)  # a signal before the first step has nothing to save
            time.sleep(moment)
            if launcher:
                launcher.end()
            elif run.is_running():
                run.signal(getattr(signal, name), group=target == "group")
            codes = run.wait()
            said = (folder / "output.txt").read_text()[said_before:]
            if any(codes) and f"completed {STEPS} of {STEPS} steps" in said:
                number = getattr(signal, name)  # ended the process after the run
                _expect({0, -number} >= set(codes), folder, f"{name} after the last step: exit codes {codes}")
            elif any(codes):
                self._expect_stop(name, target, codes, said, folder)
        self._finish(case, folder, whole)

    def _expect_stop(self, name: str, target: str, codes: list[int], said: str, folder: Path) -> None:
        cause = name if target != "launcher" else "launcher"
        self.counts[f"stops, {cause} to {target}"] += 1
        _expect(set(codes) == {EXIT_CODES[cause]}, folder, f"{name} to {target}: exit codes {codes}")
        last = said.splitlines()[-1]
        _expect("and saved a checkpoint" in last or "before the first step" in last, folder, last)

    def _new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))

    def _finish(self, case: Case, folder: Path, whole: Path) -> None:
        arguments = case.arguments(self.images, self.random.choice((0, 2)))
        codes = WarmRun(arguments, folder, case.processes).wait()
        _expect(codes == [0] * case.processes, folder, f"the resumed run ends with {codes}")
        self.counts["runs"] += 1
        if differences := run_differences(whole, folder / "run"):
            self.failures.append(f"{case}, {folder}: {'; '.join(differences)}")
            print(f"DIFFERS: {self.failures[-1]}", flush=True)
        else:
            self.counts["identical runs"] += 1
            shutil.rmtree(folder)
        print(f"{self.total('kills')} kills, {self.total('stops')} stops, {self.counts['runs']} runs", file=sys.stderr)


class _Launcher:
    """A process that a run takes for its launcher."""

    def __init__(self) -> None:
        self.has_ended, self.pipe = False, os.pipe()

    def watch(self) -> None:
        """In the run: its launcher has ended when the pipe is closed."""
        from unpairaug.training import stopping

        os.close(self.pipe[1])
        os.set_blocking(self.pipe[0], False)

        def has_ended() -> bool:
            try:
                return os.read(self.pipe[0], 1) == b""
            except BlockingIOError:
                return False

        stopping.has_launcher_ended = has_ended

    def end(self) -> None:
        os.close(self.pipe[1])


def _make_images(folder: Path) -> None:
    """Photograph-like images: two unpaired sets, each as a folder and as a shard, and validation pairs."""
    draw = np.random.default_rng(0)
    for side, size, count in (("clean", 64, 6), ("degraded", 32, 6), ("val_clean", 32, 2), ("val_degraded", 16, 2)):
        (folder / side).mkdir(parents=True)
        for i in range(count):
            small_image = Image.fromarray(draw.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8))
            small_image.resize((size, size), Image.Resampling.BICUBIC).save(folder / side / f"{side[-8:]}_{i}.png")
        for image in folder.glob("val_*/*.png"):
            image.rename(image.with_name(f"pair_{image.stem[-1]}.png"))
        with tarfile.open(folder / f"{side}.tar", "w") as shard:
            for image in sorted((folder / side).iterdir()):
                shard.add(image, image.name)


def _expect(holds: Any, folder: Path, what: str) -> None:
    if not holds:
        tail = "\n".join((folder / "output.txt").read_text().splitlines()[-25:])
        sys.exit(f"{folder}: {what}\n{tail}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--signals", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, help="use the first so many cases only")
    options = parser.parse_args()
    cases = [Case(*one) for one in itertools.product(TRANSLATORS, ("folder", "shards"), (1, 2))]
    random.Random(options.seed).shuffle(cases)
    turns = itertools.cycle(cases[: options.cases])
    folder = Path(tempfile.mkdtemp())
    attack = Attack(folder, options.seed)
    while attack.total("kills") < options.kills:
        attack.kill_one_run(next(turns), attack.random.randint(1, 5))
    while attack.total("stops") < options.signals:
        attack.stop_one_run(next(turns), attack.random.randint(1, 3))
    for what, number in sorted(attack.counts.items()):
        print(f"{what}: {number}")
    if attack.failures:
        sys.exit(f"{len(attack.failures)} runs differ; their folders are in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
