"""Reads a run folder, complete or not; missing and broken files are listed as faults."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from unpairaug.data.files import check_regular_file
from unpairaug.errors import UserError, escape
from unpairaug.files import read_json
from unpairaug.recipe.sections import MAX_LENGTH
from unpairaug.recipe.yaml_file import parse
from unpairaug.registry.suggestions import suggest_folder

FILES = ("recipe.yaml", "metrics.jsonl", "log.txt", "environment.json")
"""A folder without any of these files is not a run folder."""

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (.*)")
MAX_BYTES = 256 * 2**20
"""Of a file; a long run's has some megabytes."""
_MAX_NAMED = 5
"""Broken lines that are named; further ones are only counted."""


@dataclass(frozen=True)
class LogLine:
    """A line of `metrics.jsonl`."""

    step: int
    split: str
    values: dict[str, float]


@dataclass
class Record:
    """Contents of a run folder."""

    folder: Path
    recipe_text: str | None = None
    """Text of `recipe.yaml`; None if it is missing."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """Its values, not validated, since its plug-ins may not be installed here. Empty if it cannot be read."""
    logged: list[LogLine] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """Warnings and skipped images of the log."""
    seconds: float | None = None
    """Training time by the log, without pauses before a resume; None without a log."""
    is_done: bool = False
    """Whether the log ends with the line of a complete run."""
    environment: dict[str, Any] = field(default_factory=dict)
    sheets: list[tuple[int, Path]] = field(default_factory=list)
    """Step and file of every picture sheet."""
    checkpoints: list[str] = field(default_factory=list)
    """Names of the checkpoints."""
    summary: dict[str, Any] = field(default_factory=dict)
    """Contents of `summary.json`; empty if the run is not complete."""
    faults: list[str] = field(default_factory=list)
    """Sentences on what is missing or broken."""

    def splits(self) -> list[str]:
        """The splits of `metrics.jsonl` in order of first appearance."""
        return list(dict.fromkeys(line.split for line in self.logged))

    def of(self, *splits: str) -> list[LogLine]:
        """The lines of some splits, in their order in the file."""
        return [line for line in self.logged if line.split in splits]

    def section(self, name: str) -> dict[str, Any]:
        """A section of the recipe; empty if it is missing."""
        found = self.recipe.get(name)
        return found if isinstance(found, dict) else {}

    @property
    def last_step(self) -> int | None:
        """The last step in `metrics.jsonl`."""
        return max((line.step for line in self.logged), default=None)


def read_record(folder: Path) -> Record:
    """Read everything that the page shows except the images.

    Raises:
        UserError: the folder does not exist or is not a run folder.
    """
    if not os.path.isdir(folder):
        what = "this is a file" if os.path.exists(folder) else "there is no such folder"
        hint = escape(suggest_folder(folder))
        raise UserError(f"{escape(folder)}: {what}; expected the output_dir of a run{hint}")
    if not any(os.path.isfile(folder / name) for name in FILES):
        raise UserError(
            f"{escape(folder)} is not a run folder: it has none of {', '.join(FILES)}; give the output_dir of a run"
        )
    record = Record(folder)
    _read_recipe(record)
    _read_metrics(record)
    _read_log(record)
    _read_environment(record)
    _read_summary(record)
    record.sheets = [
        (int(m[1]), path) for path in _list_by_step(folder / "samples") if (m := _match_step(path, ".png"))
    ]
    record.checkpoints = [path.name for path in _list_by_step(folder / "checkpoints") if _match_step(path, "")]
    return record


def _list_by_step(folder: Path) -> list[Path]:
    """The entries of a folder in the order of their steps; empty if it does not exist."""
    found = list(folder.iterdir()) if os.path.isdir(folder) else []
    return sorted(found, key=lambda path: (len(path.name), path.name))


def _match_step(path: Path, suffix: str) -> re.Match[str] | None:
    return re.fullmatch(rf"step_(\d+){re.escape(suffix)}", path.name)


def _read_text(record: Record, name: str, lack: str) -> str | None:
    """The text of a file in the folder; None and a fault if it cannot be read."""
    try:
        check_regular_file(record.folder / name, MAX_BYTES)
        return (record.folder / name).read_bytes().decode("utf-8", "replace")
    except UserError as error:
        record.faults.append(f"{name} is not read: {lack} ({error}).")
    except FileNotFoundError:
        record.faults.append(f"There is no {name}: {lack}.")
    except OSError as error:
        record.faults.append(f"{name} cannot be read ({error.strerror}): {lack}.")
    return None


def _read_recipe(record: Record) -> None:
    record.recipe_text = _read_text(record, "recipe.yaml", "task, translator and data are unknown")
    if record.recipe_text is None:
        return
    try:
        record.recipe = parse(record.recipe_text, "recipe.yaml").values
    except UserError as error:
        record.faults.append(f"The recipe cannot be read: {error}.")


def _read_metrics(record: Record) -> None:
    text = _read_text(record, "metrics.jsonl", "there are no curves")
    broken = []
    for number, line in enumerate((text or "").splitlines(), start=1):
        try:
            record.logged.append(_parse_line(line))
        except ValueError as error:
            broken.append(f"line {number} ({error})")
    if broken:
        more = f" and {len(broken) - _MAX_NAMED} more" if len(broken) > _MAX_NAMED else ""
        record.faults.append(f"metrics.jsonl has broken lines, left out: {', '.join(broken[:_MAX_NAMED])}{more}.")
    elif text is not None and not record.logged:
        record.faults.append("metrics.jsonl is empty: no metrics have been logged yet.")


def _parse_line(line: str) -> LogLine:
    """Parse a line of `metrics.jsonl`.

    Raises:
        ValueError: the line is not a complete record.
    """
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("invalid JSON") from error
    step = values.get("step") if isinstance(values, dict) else None
    if not isinstance(step, int) or not 0 <= step <= MAX_LENGTH or not values.get("split"):
        raise ValueError("without step and split")
    numbers = {
        name: _to_float(value)
        for name, value in values.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }
    return LogLine(step, str(values["split"]), numbers)


def _to_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf


def _read_log(record: Record) -> None:
    text = _read_text(record, "log.txt", "time and warnings are unknown")
    stamped = [stamp for line in (text or "").splitlines() if (stamp := _parse_stamp(line))]
    record.warnings = [message for _, message in stamped if message.startswith(("warning: ", "skipped: "))]
    ends = [at for at, (_, message) in enumerate(stamped) if message.startswith(("completed ", "done: "))]
    record.is_done = bool(ends) and not any(_is_start(message) for _, message in stamped[ends[-1] :])
    if stamped:
        record.seconds = sum(_active_seconds(stamped))


def _read_summary(record: Record) -> None:
    path = record.folder / "summary.json"
    if not path.exists():
        return
    try:
        record.summary = read_json(path)
    except UserError as error:
        record.faults.append(f"The summary cannot be read: {error}.")


def _parse_stamp(line: str) -> tuple[datetime, str] | None:
    """Time and message of a line of the log; None of a line without a time."""
    if (found := _TIMESTAMP.fullmatch(line)) is None:
        return None
    try:
        return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S"), found[2]
    except ValueError:  # there is no such day
        return None


def _active_seconds(stamped: list[tuple[datetime, str]]) -> Iterator[float]:
    """Seconds between consecutive lines of the log, 0 before the first line of a start or resume."""
    for (before, _), (after, message) in itertools.pairwise(stamped):
        yield 0.0 if _is_start(message) else max(0.0, (after - before).total_seconds())


def _is_start(message: str) -> bool:
    """Whether a line of the log is one of the first after a start or resume."""
    return message.startswith(("resumed from ", "goes on from ")) or (" → " in message and " × " in message)


def _read_environment(record: Record) -> None:
    text = _read_text(record, "environment.json", "versions and machine are unknown")
    if text is None:
        return
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        record.environment = found
    else:
        record.faults.append("environment.json is broken: versions and machine are unknown.")
