"""From photographs to a trained head: whatever the data lie in, whoever reads them, however often a run was stopped."""

import filecmp
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from unpairaug.batch.executor import IN_PROCESS
from unpairaug.data import write_image
from unpairaug.errors import UserError
from unpairaug.prepare.cut import Cut
from unpairaug.prepare.run import Preparation
from unpairaug.run import train

STEPS = 4
SMALL = [
    "translator={type: cyclegan, ngf: 4, n_blocks: 1, norm: none, pool_size: 8}",
    "translator.discriminator={type: patch, ndf: 4, n_layers: 1, norm: none}",
    "schedule={}",
    "data.val_clean=null",
    "data.val_degraded=null",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Photographs of both sides, prepared as `shards` (several of each side) and as `files`."""
    root = tmp_path_factory.mktemp("end_to_end")
    draw = np.random.default_rng(0)
    for side, pixels in (("clean", 72), ("degraded", 36)):
        for i in range(5):
            write_image(root / "photographs" / side / f"{i}.png", draw.integers(0, 256, (pixels, pixels, 3), np.uint8))
        for kind, bound in (("shards", 60_000), ("files", None)):
            cut = Cut.from_options(48, 24, 1 if side == "clean" else 2, 0.0)
            preparation = Preparation(root / "photographs" / side, root / kind / side, cut, shard_bytes=bound)
            with preparation.lock_target():
                assert all(done.problem is None for done in preparation.cut_photographs(IN_PROCESS))
                preparation.finish("raise")
    assert all(len(list((root / "shards" / side).glob("*.tar"))) > 1 for side in ("clean", "degraded"))
    return root


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What a run adds to the log of its process goes when it ends."""
    log = logging.getLogger("unpairaug")
    before = log.level, log.propagate, list(log.handlers)
    yield
    log.level, log.propagate, log.handlers[:] = before


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options(data: Path, output: Path, batch: int = 4, steps: int = STEPS) -> list[str]:
    own = [f"data.clean={data}/clean", f"data.degraded={data}/degraded", f"output_dir={output}"]
    return [*SMALL, *own, f"data.batch_size={batch}", f"train.steps={steps}", "train.checkpoint_every=2"]


@pytest.fixture(scope="module")
def reference(home: Path) -> Path:
    """What a run over shards leaves that reads them in its own process and is not stopped."""
    train("smoke", [*options(home / "shards", home / "reference"), "data.num_workers=0"])
    return home / "reference"


def parts(run: Path) -> dict[str, Path]:
    found = {path.name: path for path in (run / "checkpoints" / f"step_{STEPS}").glob("*.safetensors")}
    assert len(found) > 1
    return found


def assert_same_bytes(run: Path, other: Path) -> None:
    a, b = parts(run), parts(other)
    assert a.keys() == b.keys()
    for name in a:
        assert filecmp.cmp(a[name], b[name], shallow=False), name


@pytest.mark.parametrize("kind", ["shards", "files"])
def test_shards_and_files_read_by_workers_stopped_and_resumed_leave_the_same_bytes(
    home: Path, reference: Path, place: Path, kind: str
):
    run = place / kind
    train("smoke", [*options(home / kind, run, steps=2), "data.num_workers=2"])
    train("smoke", [*options(home / kind, run), "data.num_workers=2" if kind == "shards" else "data.num_workers=0"])
    assert "resumed from" in (run / "log.txt").read_text()
    assert_same_bytes(reference, run)


def test_other_images_leave_other_bytes(home: Path, reference: Path, place: Path):
    turned = [f"data.clean={home}/shards/clean", f"data.degraded={home}/photographs/degraded", "data.num_workers=0"]
    train("smoke", [*options(home / "shards", place / "other"), *turned])
    a, b = parts(reference), parts(place / "other")
    assert not all(filecmp.cmp(a[name], b[name], shallow=False) for name in a)


def test_two_processes_over_shards_end_where_one_does(home: Path, reference: Path, place: Path):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "unpairaug.run", "smoke"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    words = [sys.executable, *torchrun, *options(home / "shards", place / "two", batch=2), "data.num_workers=1"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    one, two = parts(reference), parts(place / "two")
    assert one.keys() == two.keys()
    for name in one:
        a, b = load_file(one[name]), load_file(two[name])
        assert all(torch.allclose(a[key].float(), b[key].float(), rtol=1e-3, atol=2e-5) for key in a), name


def test_a_bad_file_is_skipped_named_and_counted_by_a_run(home: Path, place: Path):
    shutil.copytree(home / "files", place / "bad")
    broken = min((place / "bad" / "degraded").rglob("*.png"))
    broken.write_bytes(broken.read_bytes()[:100])
    words = options(place / "bad", place / "run")
    with pytest.raises(UserError, match=broken.name):
        train("smoke", [*words, "data.num_workers=0"])
    train("smoke", [*words, "data.num_workers=1", "data.on_bad=skip", "data.max_bad=0.1"])
    log = (place / "run" / "log.txt").read_text()
    assert log.count(broken.name) == 1 and f"excluded: {broken}" in log
    counted = [json.loads(line) for line in (place / "run" / "metrics.jsonl").read_text().splitlines()]
    (last,) = [line for line in counted if line["split"] == "data"]
    assert (last["step"], last["bad_images"]) == (STEPS, 1) and 0 < last["bad_share"] <= 0.1
