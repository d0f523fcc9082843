"""One executor for parts: in order, from any number of workers, and again where a worker dies."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from unpairaug.batch.executor import IN_PROCESS, Executor
from unpairaug.errors import RunStopped, UserError


@dataclass(frozen=True)
class MakeWorker:
    """A worker that squares numbers, and dies at one of them as often as a file has bytes."""

    lives: Path
    dies_at: int = -1

    def __call__(self, device: str | None):
        return self.square

    def square(self, number: int) -> int:
        if number == 13:
            raise UserError("13 is wrong")
        if number == self.dies_at and (left := self.lives.read_bytes()):
            self.lives.write_bytes(left[1:])
            os.kill(os.getpid(), signal.SIGKILL)
        return number**2


@pytest.fixture
def lives(tmp_path: Path) -> Path:
    (tmp_path / "lives").write_bytes(b"x")
    return tmp_path / "lives"


def test_results_come_in_order_and_a_part_of_a_worker_that_died_is_done_again(lives: Path, caplog):
    assert list(IN_PROCESS.map(MakeWorker(lives), range(12))) == [n**2 for n in range(12)]
    with caplog.at_level(logging.WARNING, logger="unpairaug"):
        assert list(Executor(2).map(MakeWorker(lives, dies_at=5), range(12))) == [n**2 for n in range(12)]
    assert lives.read_bytes() == b"" and "its parts are done again" in caplog.text


def test_a_part_that_ends_every_worker_stops_the_job_and_an_error_of_the_worker_is_passed_on(lives: Path):
    lives.write_bytes(b"xxx")
    with pytest.raises(RunStopped, match=r"ended 3 times at the same part, .* with fewer --workers resumes"):
        list(Executor(2).map(MakeWorker(lives, dies_at=0), range(4)))  # no result can come before the first part's
    with pytest.raises(UserError, match="13 is wrong"), closing(Executor(2).map(MakeWorker(lives), [1, 13])) as results:
        list(results)
