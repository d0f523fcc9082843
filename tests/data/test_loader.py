"""Workers that stop, hang or are killed end the loader with one message that names them and what they read."""

import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from unpairaug.data import FolderImages, StepBatches, UnpairedBatch, UnpairedCrops, create_loader, write_image
from unpairaug.errors import RunStopped

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the signals are POSIX's")


class Troubled(UnpairedCrops):
    """Crops whose fifth batch gets its worker into trouble: it is begun when the first one has been delivered."""

    trouble = ""

    def __getitems__(self, wanted: list[int]) -> UnpairedBatch:
        if wanted[0] == 8 and multiprocessing_child():
            match self.trouble:
                case "stopped":
                    os.kill(os.getpid(), signal.SIGSTOP)
                case "hung":
                    threading.Event().wait()
                case "error":
                    raise ZeroDivisionError
                case "broken pipe":
                    raise BrokenPipeError
                case "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitems__(wanted)


def multiprocessing_child() -> bool:
    import multiprocessing

    return multiprocessing.parent_process() is not None


@pytest.fixture
def crops(tmp_path: Path) -> Troubled:
    for side in ("clean", "degraded"):
        for i in range(8):
            image = np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)
            write_image(tmp_path / side / f"{side[0]}{i}.png", image)
    sets = [FolderImages(tmp_path / side) for side in ("clean", "degraded")]
    return Troubled(*sets, crop=8, scale=1, seed=0)


@pytest.mark.parametrize("trouble", ["stopped", "hung"])
def test_a_worker_that_delivers_nothing_is_ended_and_named_with_its_images(crops: Troubled, trouble: str):
    crops.trouble = trouble
    before = set(psutil.Process().children())
    loader = create_loader(crops, StepBatches(0, 9, 2), num_workers=2)
    batches = iter(loader)
    assert next(batches).index.tolist() == [0, 1]
    loader.patience = 4.0  # type: ignore[attr-defined]  # both workers are ready now
    workers = set(psutil.Process().children()) - before
    done = 1
    with pytest.raises(RunStopped, match=r"\(pid \d+\) stopped or hangs: no batch for 4 s") as caught:
        for _ in batches:
            done += 1
    for sample in (2 * done, 2 * done + 1):
        i, j = crops.image_indices(sample)
        assert crops.clean.location(i) in str(caught.value) and crops.degraded.location(j) in str(caught.value)
    assert not psutil.wait_procs(workers, timeout=30)[1], "no worker is left"


def test_a_worker_that_was_killed_ends_the_loader_with_one_message(crops: Troubled):
    crops.trouble = "killed"
    with pytest.raises(RunStopped, match=r"a worker process of the loader ended \(pid \d+, exit code -9\)"):
        list(create_loader(crops, StepBatches(0, 9, 2), num_workers=2, patience=60.0))


def test_time_that_passes_between_two_batches_does_not_count(crops: Troubled):
    loader = create_loader(crops, StepBatches(0, 4, 2), num_workers=1)
    batches = iter(loader)
    next(batches)
    loader.patience = 0.5  # type: ignore[attr-defined]
    threading.Event().wait(1.5)
    loader.patience = 60.0  # type: ignore[attr-defined]
    assert len(list(batches)) == 3


def test_an_error_of_a_living_worker_stays_what_it_is(crops: Troubled):
    crops.trouble = "error"
    with pytest.raises(ZeroDivisionError):
        list(create_loader(crops, StepBatches(0, 9, 2), num_workers=2))
    crops.trouble = "broken pipe"
    with pytest.raises(BrokenPipeError):
        list(create_loader(crops, StepBatches(0, 9, 2), num_workers=2))
