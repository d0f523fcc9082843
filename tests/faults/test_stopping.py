"""Runs stop at signals as schedulers send them. `python tests/faults/stop_runs.py` tries every row of its table."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import torch
from stop_runs import exit_code, stop_run, table

from unpairaug.data import StepBatches, UnpairedBatch, create_loader
from unpairaug.errors import RunPreempted, RunStopped
from unpairaug.recipe import load_recipe
from unpairaug.training import launcher, run_recipe as run_module
from unpairaug.training.build import make_accelerator
from unpairaug.training.run_recipe import run_recipe
from unpairaug.training.stopping import LAUNCHER_ENDED, StopRequests, explain_lost_processes

QUICK = [
    ("python -m unpairaug.run", "SIGTERM", "all"),
    ("unpairaug train", "SIGUSR1", "group"),
    ("accelerate launch", "SIGTERM", "started"),
    ("torchrun", "SIGTERM", "started"),
]


@pytest.mark.parametrize("row", QUICK, ids=" ".join)
def test_a_stopped_run_saves_and_leaves_nothing_behind(row: tuple[str, str, str], tmp_path: Path):
    assert not stop_run(*row, tmp_path)


def test_the_table_has_every_launcher_and_signal():
    assert len(table()) == 56 and set(QUICK) < set(table())
    assert exit_code("unpairaug train", "SIGUSR1", "all") == 75


@pytest.fixture
def stop() -> StopRequests:
    return StopRequests(make_accelerator(load_recipe("smoke"), cpu=True))


def test_a_signal_before_the_first_step_ends_the_run_at_once(stop: StopRequests):
    with stop.handlers(), pytest.raises(RunStopped, match="by SIGTERM before the first step; nothing is saved"):
        signal.raise_signal(signal.SIGTERM)
    with stop.handlers(), pytest.raises(RunPreempted):
        signal.raise_signal(signal.SIGUSR1)


def test_a_signal_during_a_step_waits_for_its_end_and_only_a_late_second_sigint_does_not(
    stop: StopRequests, monkeypatch: pytest.MonkeyPatch
):
    stop.defer()
    with stop.handlers():
        assert stop.agree(1, 1.0) == 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # a launcher repeats signals
            signal.raise_signal(number)
        assert stop.agree(2, 1.0) == signal.SIGTERM
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 60)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_signal_after_the_last_step_does_not_stop_the_run_that_it_finds_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    log_summary = run_module._log_summary
    monkeypatch.setattr(
        run_module, "_log_summary", lambda *run: (signal.raise_signal(signal.SIGTERM), log_summary(*run))
    )
    recipe = load_recipe("smoke", [f"output_dir={tmp_path}/run", "train.steps=1", "train.select_checkpoint=false"])
    run_recipe(recipe, "smoke")
    assert (tmp_path / "run" / "summary.json").exists()


def test_handlers_leave_signals_as_they_were_and_sighup_to_nohup(stop: StopRequests):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop.handlers():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) == stop.receive
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("variable", ["TORCHELASTIC_RUN_ID", "ACCELERATE_DYNAMO_BACKEND", None])
def test_a_run_ends_with_its_launcher_but_not_with_a_shell(
    variable: str | None, stop: StopRequests, monkeypatch: pytest.MonkeyPatch
):
    for name in ("TORCHELASTIC_RUN_ID", "ACCELERATE_DYNAMO_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "no")
    assert stop.agree(1, 1.0) == 0
    monkeypatch.setattr(launcher, "PARENT", -1)
    assert stop.agree(2, 1.0) == (LAUNCHER_ENDED if variable else 0)


LOST = "[pair.cc:561] gloo: Connection closed by peer [127.0.0.1]:39631\nmore"


@pytest.mark.parametrize(
    ("processes", "text", "kind"), [(2, LOST, RunStopped), (1, LOST, RuntimeError), (2, "shapes differ", RuntimeError)]
)
def test_a_lost_process_is_one_message(processes: int, text: str, kind: type[Exception]):
    with pytest.raises(kind) as raised, explain_lost_processes(processes):
        raise RuntimeError(text)
    if kind is RunStopped:
        assert "Connection closed by peer" in str(raised.value) and "the same command resumes" in str(raised.value)
        assert "more" not in str(raised.value) and raised.value.is_of_one_process


class Samples(torch.utils.data.Dataset):
    def __getitems__(self, samples: list[int]) -> UnpairedBatch:
        time.sleep(0.05)
        image = torch.zeros(len(samples), 3, 4, 4, dtype=torch.uint8)
        return UnpairedBatch(image, image, torch.tensor(samples))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_loader_workers_outlive_stop_signals(number: int):
    import psutil

    batches = iter(create_loader(Samples(), StepBatches(0, 8, 2), num_workers=2))
    found = [next(batches)]
    workers = psutil.Process().children()
    assert len(workers) >= 2
    for worker in workers:
        worker.send_signal(number)
    found += list(batches)
    assert [batch.index.tolist() for batch in found] == [[2 * k, 2 * k + 1] for k in range(8)]
