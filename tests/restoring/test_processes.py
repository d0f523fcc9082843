"""The environment of a launcher: complete, incomplete, or of another program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unpairaug.errors import UserError
from unpairaug.restoring.processes import OF_A_GROUP, OF_MPI, ignore_incomplete_launcher

ONE_PROCESS = {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*OF_A_GROUP, *OF_MPI):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def set_all(environment: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        environment.setenv(name, value)


@pytest.mark.parametrize("given", [ONE_PROCESS, {"RANK": "0"}, {"LOCAL_RANK": "3", "MASTER_PORT": "29500"}])
def test_an_incomplete_environment_of_one_process_is_ignored(environment, given):
    set_all(environment, given)
    ignore_incomplete_launcher()
    assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE"} & os.environ.keys()


def test_an_incomplete_environment_of_several_processes_is_refused_by_what_is_missing(environment):
    set_all(environment, {"WORLD_SIZE": "4", "RANK": "2", "MASTER_PORT": "29500"})
    with pytest.raises(
        UserError, match="WORLD_SIZE is 4, but the launcher did not set LOCAL_RANK and MASTER_ADDR; start"
    ):
        ignore_incomplete_launcher()


@pytest.mark.parametrize("more", [{"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}, {"OMPI_COMM_WORLD_SIZE": "1"}])
def test_a_complete_environment_and_that_of_mpi_stay(environment, more):
    set_all(environment, {**ONE_PROCESS, **more})
    ignore_incomplete_launcher()
    assert os.environ.items() >= ONE_PROCESS.items()


@pytest.mark.parametrize(
    "command",
    [
        ("train", "smoke", "train.steps=1", "data.num_workers=0", "output_dir=run"),
        ("evaluate", "bicubic", "--degraded", "sample", "--clean", "sample"),
    ],
    ids=["train", "evaluate"],
)
def test_a_command_with_half_of_a_launchers_environment_runs_as_one_process(tmp_path, command):
    kept = {name: value for name, value in os.environ.items() if name not in (*OF_A_GROUP, *OF_MPI)}
    checkout = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "unpairaug", *command],
        cwd=tmp_path,
        env={**kept, **ONE_PROCESS, "PYTHONPATH": checkout},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
