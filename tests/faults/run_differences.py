"""What differs between two folders of the same run, apart from times."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

CLOCK = "steps_per_second"
"""The only number of metrics and events that depends on the clock."""


def run_differences(whole: Path, other: Path) -> list[str]:
    """The differences, in words: weights, optimisers, image pool, best step, metrics, warnings, events, sheets."""
    found = [f"{what}: {said}" for what, read in PARTS.items() for said in _differences(read(whole), read(other))]
    return found[:10]


def read_tensors(run: Path) -> dict[str, Any]:
    """Every tensor of the last checkpoint, the trained parts and the best ones, and the plain files beside them."""
    last = max(run.glob("checkpoints/step_*[0-9]"), key=lambda path: int(path.name.removeprefix("step_")))
    found: dict[str, Any] = {"last checkpoint": last.name}
    for folder in (last, run / "translator", run / "head", run / "best"):
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(run).as_posix()
            if file.suffix == ".safetensors":
                found |= {f"{name}/{key}": tensor for key, tensor in load_file(file).items()}
            elif file.name in ("config.json", "selection.json"):
                found[name] = json.loads(file.read_text())
    return found


def read_state(run: Path) -> dict[str, Any]:
    """The plain values of the last checkpoint, but what names the folder of the run."""
    last = max(run.glob("checkpoints/step_*[0-9]"), key=lambda path: int(path.name.removeprefix("step_")))
    state = json.loads((last / "state.json").read_text())
    del state["log_length"], state["recipe"]["output_dir"], state["recipe"]["data"]["num_workers"]
    return state


def read_metrics(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != CLOCK} for line in lines]


def read_warnings(run: Path) -> list[str]:
    """The warnings of the log, and what it says was skipped, without dates."""
    return re.findall(r"^\S+ \S+ ((?:warning|skipped): .*)", (run / "log.txt").read_text(), re.M)


def read_events(run: Path) -> list[tuple[int, str, Any]]:
    """Step, name and value of every event, in the order in which TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    found = []
    for file in sorted((run / "tensorboard").glob("*tfevents*")):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if CLOCK not in value.tag:
                    found.append((event.step, value.tag, make_ndarray(value.tensor).tolist()))
    return found


def read_sheets(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "samples").iterdir())}


PARTS: dict[str, Callable[[Path], Any]] = {
    "weights": read_tensors,
    "state": read_state,
    "metrics": read_metrics,
    "warnings": read_warnings,
    "events": read_events,
    "sheets": read_sheets,
}


def _differences(one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, list):
        if len(one) != len(other):
            yield f"{len(one)} and {len(other)} lines"
        one, other = dict(enumerate(one)), dict(enumerate(other))
    for key in one.keys() ^ other.keys():
        yield f"{key} is on one side only"
    for key in one.keys() & other.keys():
        a, b = one[key], other[key]
        if not (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b):
            yield f"{key} differs" + (f": {str(a)[:150]} | {str(b)[:150]}" if not isinstance(a, torch.Tensor) else "")
