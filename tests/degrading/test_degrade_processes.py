"""Real processes: one, two, actors of Ray, and one that is killed and given again leave the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from degrade_model import files_of, save_photographs, save_run, save_translator
from PIL import Image

from unpairaug.prepare.shards import ShardWriter

CHECKOUT = Path(__file__).resolve().parents[2]
ONE = ("-m", "unpairaug", "degrade")
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *ONE)
OPTIONS = ("--pairs", "--draws", "3", "--seed", "3", "--strength", "0.5,1", "--tile", "64")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, photographs as files and in shards, and what one process makes of them."""
    place = tmp_path_factory.mktemp("degrade")
    save_run(place / "run")
    paths = sorted(save_photographs(place / "files", 18, 180, 200).rglob("*.png"))
    (place / "shards").mkdir()
    for number in range(6):
        shard = ShardWriter(place / "shards", number, 2**30)
        for path in paths[number::6]:
            data = path.read_bytes()
            shard.add(path.stem.replace(" ", ""), {"png": (data, 200, 180)})
        shard.close()
    for source in ("files", "shards"):
        assert start(place, ONE, source, f"{source}_one").wait() == 0
    return place


def start(place: Path, launcher: tuple[str, ...], source: str, target: str, *more: str) -> subprocess.Popen:
    words = [sys.executable, *launcher, "run", source, target, *OPTIONS, *more]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "ACCELERATE_USE_CPU": "true"}
    return subprocess.Popen(words, cwd=place, env=environment, start_new_session=True)


def test_two_processes_make_what_one_makes(place):
    assert start(place, TWO, "shards", "two").wait() == 0
    assert files_of(place / "two") == files_of(place / "shards_one")


@pytest.mark.parametrize("source", ["files", "shards"])
def test_what_is_killed_goes_on_and_ends_with_the_same_bytes(place, source):
    target = place / f"{source}_killed"
    process = start(place, ONE, source, target.name)
    journal = target / ".journal.0.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (target / "manifest.jsonl").exists()
    whole = files_of(place / f"{source}_one")
    complete = {name: data for name, data in files_of(target).items() if not any(p[0] == "." for p in name.split("/"))}
    assert all(data == whole[name] for name, data in complete.items()), "a partial file has its final name"
    assert start(place, TWO if source == "files" else ONE, source, target.name).wait() == 0
    assert files_of(target) == whole


def test_actors_of_ray_make_what_one_process_makes(place):
    assert start(place, ONE, "shards", "ray", "--ray", "2").wait() == 0
    assert files_of(place / "ray") == files_of(place / "shards_one")


def test_one_process_of_two_names_what_it_cannot_read(place):
    bad = save_photographs(place / "bad", 4)
    (bad / "photo 1.png").write_bytes(b"")
    process = start(place, TWO, "bad", "bad_out")
    assert process.wait() != 0
    assert len((place / "bad_out" / "manifest.jsonl").read_text().splitlines()) == 3 * 3


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system does not tell a process's peak of memory")
def test_a_photograph_of_24_megapixels_takes_less_memory_than_one_layer_of_it(place):
    save_translator(place / "wide", type="stochastic_cyclegan", depth=2)  # of 16 channels: 1.5 GB a layer if whole
    small, large = (peak_of_memory(place, width, width * 2 // 3) for width in (300, 6000))
    assert large - small < 2**30


def peak_of_memory(place: Path, width: int, height: int) -> int:
    """Bytes that a process had at most, its libraries among them, while it degraded a photograph of that size."""
    (place / str(width)).mkdir()
    Image.new("RGB", (width, height), (90, 120, 150)).save(place / str(width) / "grey.png")
    words = [sys.executable, *ONE, "wide", str(width), f"{width}_out", "--pairs"]
    process = subprocess.Popen(words, cwd=place, env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 2**10)
