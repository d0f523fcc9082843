"""A resumed run logs what an uninterrupted one logs, and says what has changed since its checkpoint."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch.utils.tensorboard import SummaryWriter

from unpairaug.recipe import load_recipe
from unpairaug.training.later_steps import remove_later_events, remove_later_metrics, remove_later_sheets
from unpairaug.training.resume import Resumed, resume
from unpairaug.training.run_folder import RunFolder
from unpairaug.training.run_log import RunLog
from unpairaug.training.running_losses import RunningLosses


def write_events(folder: Path, steps: range) -> Path:
    with SummaryWriter(str(folder)) as writer:
        for step in steps:
            writer.add_scalar("loss", step / 2, step)
            writer.add_image("sheet", np.full((3, 4, 4), step / 8, np.float32), step)
        writer.flush()
    (path,) = folder.glob("*tfevents*")
    return path


def events(folder: Path) -> list[tuple[int, str]]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    loaded = [event for path in sorted(folder.glob("*tfevents*")) for event in EventFileLoader(str(path)).Load()]
    return [(event.step, value.tag) for event in loaded for value in event.summary.value]


@pytest.mark.parametrize("cut", [0, 1, 5, 13, 40])
def test_events_of_later_steps_go_and_a_record_cut_short_by_a_kill(cut: int, tmp_path: Path):
    path = write_events(tmp_path, range(6))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - cut])
    (tmp_path / "events.out.partial.1").write_bytes(b"of a kill in the middle")
    remove_later_events(tmp_path, 3)
    assert events(tmp_path) == [(step, name) for step in range(4) for name in ("loss", "sheet")]
    assert data.startswith(path.read_bytes()) and list(tmp_path.iterdir()) == [path]
    before = path.stat()
    remove_later_events(tmp_path, 3)
    assert path.stat() == before, "nothing to remove, nothing written"


def test_an_event_file_damaged_in_the_middle_is_named_and_keeps_what_is_before(tmp_path: Path, caplog):
    path = write_events(tmp_path, range(6))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = b"\xff" * 200
    path.write_bytes(data)
    remove_later_events(tmp_path, 5)
    found = events(tmp_path)
    assert found == [(step, name) for step in range(6) for name in ("loss", "sheet")][: len(found)] and len(found) < 12


def test_a_run_without_a_checkpoint_starts_its_records_again(tmp_path: Path):
    path = write_events(tmp_path, range(2))
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"step": 0, "split": "val"}\n{"step": 2, "split": "train"}\n')
    (tmp_path / "step_000001.png").touch()
    remove_later_events(tmp_path, 0)
    remove_later_sheets(tmp_path, 0)
    assert remove_later_metrics(metrics, 0) == [] and metrics.read_text() == ""
    assert not path.exists() and not (tmp_path / "step_000001.png").exists()


def test_metrics_and_sheets_of_later_steps_go(tmp_path: Path):
    metrics = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "split": "train"}) for step in (0, 4, 8, 12)]
    metrics.write_text("\n".join([*lines, '{"step": 5, "spl']))
    assert remove_later_metrics(metrics, 8) == lines[:3] == metrics.read_text().splitlines()
    for name in ("step_000004.png", "step_000012.png", "step_mine.png"):
        (tmp_path / name).touch()
    remove_later_sheets(tmp_path, 8)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["step_000004.png", "step_mine.png"]


@pytest.fixture
def log() -> logging.Logger:
    logger = logging.getLogger("unpairaug")
    logger.setLevel(logging.INFO)
    return logger


def test_the_log_of_a_resumed_run_ends_where_its_checkpoint_was_saved(log: logging.Logger, tmp_path: Path):
    path = tmp_path / "log.txt"
    path.write_text("1 kept\n2 of a later step\n")
    run_log = RunLog(path)
    run_log.start()
    log.info("resumed")
    run_log.open(length=len("1 kept\n"))
    log.info("next step")
    run_log.close()
    log.info("of nobody")
    first, *rest = path.read_text().splitlines()
    assert first == "1 kept" and [line.split(" ", 2)[2] for line in rest] == ["resumed", "next step"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_run_that_does_nothing_makes_no_log_but_adds_to_one(exists: bool, log: logging.Logger, tmp_path: Path):
    path = tmp_path / "log.txt"
    if exists:
        path.write_text("before\n")
    run_log = RunLog(path)
    run_log.start()
    log.info("nothing to do")
    run_log.close()
    assert path.exists() == exists
    assert not exists or path.read_text().splitlines()[-1].endswith("nothing to do")


def test_running_means_go_through_a_checkpoint_to_the_last_bit():
    accelerator = Accelerator(cpu=True)
    whole, stopped, resumed = (RunningLosses(accelerator) for _ in range(3))
    losses = [{"a": torch.rand(()) / 3, "b": torch.rand(()).double() * 1e-7} for _ in range(7)]
    for step, terms in enumerate(losses):
        whole.add(terms)
        (stopped if step < 3 else resumed).add(terms)
        if step == 2:
            resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    assert whole.means() == resumed.means() and resumed.steps == 7
    resumed.load_state_dict(json.loads(json.dumps(RunningLosses(accelerator).state_dict())))
    assert not resumed and resumed.steps == 0


def resumed_by(processes: int, batch_size: int, tmp_path: Path) -> Resumed:
    """A run of two processes with 4 samples each, resumed."""
    options = ["smoke", f"output_dir={tmp_path / 'run'}"]
    run = RunFolder(load_recipe(options[0], [*options[1:], "data.batch_size=4"]), {})
    run.lock_folder()
    run.open("cpu", 2, 0)
    saves_nothing: Any = SimpleNamespace(save_pretrained=lambda folder: None, scale=2)
    run.save(4, {}, {"loop": {}}, saves_nothing, saves_nothing)
    run.close()
    recipe = load_recipe(options[0], [*options[1:], f"data.batch_size={batch_size}"])
    accelerator = SimpleNamespace(num_processes=processes)
    takes_anything: Any = SimpleNamespace(load_state=lambda files, state: None, accelerator=accelerator)
    return resume(recipe, takes_anything, RunFolder(recipe, {}))


def test_another_number_of_processes_is_said_with_what_keeps_the_batch(tmp_path: Path):
    message, warning = resumed_by(1, 4, tmp_path).messages
    assert "processes: 2 → 1" in message
    assert warning == (
        "warning: a step has 4 samples of each side instead of 8, because there is 1 process instead of 2; "
        "data.batch_size=8 keeps 8"
    )


@pytest.mark.parametrize(("processes", "batch_size"), [(2, 4), (1, 8), (4, 2)])
def test_the_same_number_of_samples_in_a_step_is_no_reason_to_warn(processes: int, batch_size: int, tmp_path: Path):
    assert len(resumed_by(processes, batch_size, tmp_path).messages) == 1


def test_a_batch_that_cannot_be_shared_evenly_is_said_so(tmp_path: Path):
    _, warning = resumed_by(3, 4, tmp_path).messages
    assert warning.endswith("because there are 3 processes instead of 2; 8 cannot be shared evenly")


def test_a_checkpoint_of_another_folder_says_nothing_of_this_log(tmp_path: Path):
    assert resumed_by(2, 4, tmp_path).log_length == 0
    checkpoint = tmp_path / "run" / "checkpoints" / "step_4"
    recipe = load_recipe("smoke", [f"output_dir={tmp_path / 'other'}", f"train.resume={checkpoint}"])
    accelerator = SimpleNamespace(num_processes=2)
    takes_anything: Any = SimpleNamespace(load_state=lambda files, state: None, accelerator=accelerator)
    assert resume(recipe, takes_anything, RunFolder(recipe, {})).log_length is None
