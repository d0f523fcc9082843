"""What a run folder holds, as far as it can be read; what is missing or broken is said in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from unpairaug.errors import UserError, escape
from unpairaug.recipe.yaml_file import parse

FILES = ("recipe.yaml", "metrics.jsonl", "log.txt", "environment.json")
"""A folder that holds none of them is no run."""

_STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (.*)")
_NAMED = 5
"""How many broken lines are named before they are only counted."""


@dataclass(frozen=True)
class Logged:
    """A line of `metrics.jsonl`."""

    step: int
    split: str
    values: dict[str, float]


@dataclass
class Record:
    """A run as its folder tells it."""

    folder: Path
    recipe_text: str | None = None
    """`recipe.yaml` as it is; None where there is none."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """Its values, not checked: what they name need not be installed here. Empty where it cannot be read."""
    logged: list[Logged] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """What the log warns of, and which images it says were skipped."""
    seconds: float | None = None
    """How long the run took, by its log, without the pauses before it was resumed; None where the log does not say."""
    is_done: bool = False
    """Whether the log ends as that of a finished run does."""
    environment: dict[str, Any] = field(default_factory=dict)
    sheets: list[tuple[int, Path]] = field(default_factory=list)
    """Step and file of every picture sheet."""
    checkpoints: list[str] = field(default_factory=list)
    """Names of the checkpoints that are there."""
    faults: list[str] = field(default_factory=list)
    """What is missing or broken, in words."""

    def splits(self) -> list[str]:
        """The splits of `metrics.jsonl`, in the order in which they first come."""
        return list(dict.fromkeys(line.split for line in self.logged))

    def of(self, split: str) -> list[Logged]:
        return [line for line in self.logged if line.split == split]

    def section(self, name: str) -> dict[str, Any]:
        """A section of the recipe; empty where it has none."""
        found = self.recipe.get(name)
        return found if isinstance(found, dict) else {}

    @property
    def last_step(self) -> int | None:
        """The last step that anything was logged of."""
        return max((line.step for line in self.logged), default=None)


def read_record(folder: Path) -> Record:
    """Read everything that the page tells but for the pictures themselves.

    Raises:
        UserError: there is no such folder, or it is no run's.
    """
    if not folder.is_dir():
        what = "this is a file" if folder.exists() else "there is no such folder"
        raise UserError(f"{escape(folder)}: {what}; expected the output_dir of a run")
    if not any((folder / name).is_file() for name in FILES):
        raise UserError(
            f"{escape(folder)} is no run folder: it has none of {', '.join(FILES)}; give the output_dir of a run"
        )
    record = Record(folder)
    _read_recipe(record)
    _read_metrics(record)
    _read_log(record)
    _read_environment(record)
    record.sheets = [(int(m[1]), path) for path in _inside(folder / "samples") if (m := _step(path, ".png"))]
    record.checkpoints = [path.name for path in _inside(folder / "checkpoints") if _step(path, "")]
    return record


def _inside(folder: Path) -> list[Path]:
    """In the order of their steps, as far as their names have one."""
    found = list(folder.iterdir()) if folder.is_dir() else []
    return sorted(found, key=lambda path: (len(path.name), path.name))


def _step(path: Path, suffix: str) -> re.Match[str] | None:
    return re.fullmatch(rf"step_(\d+){re.escape(suffix)}", path.name)


def _text(record: Record, name: str, lack: str) -> str | None:
    """The text of a file of the folder; None, and a fault, where there is none."""
    try:
        return (record.folder / name).read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        record.faults.append(f"There is no {name}: {lack}.")
    except OSError as error:
        record.faults.append(f"{name} cannot be read ({error.strerror}): {lack}.")
    return None


def _read_recipe(record: Record) -> None:
    record.recipe_text = _text(record, "recipe.yaml", "what was trained, and on what, is not known")
    if record.recipe_text is None:
        return
    try:
        record.recipe = parse(record.recipe_text, "recipe.yaml").values
    except UserError as error:
        record.faults.append(f"The recipe cannot be read: {error}.")


def _read_metrics(record: Record) -> None:
    text = _text(record, "metrics.jsonl", "there are no curves")
    broken = []
    for number, line in enumerate((text or "").splitlines(), start=1):
        try:
            record.logged.append(_logged(line))
        except ValueError as error:
            broken.append(f"line {number} ({error})")
    if broken:
        more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        record.faults.append(f"Left out of metrics.jsonl, for they are broken: {', '.join(broken[:_NAMED])}{more}.")
    elif text is not None and not record.logged:
        record.faults.append("metrics.jsonl is empty: nothing has been logged yet.")


def _logged(line: str) -> Logged:
    """What a line says.

    Raises:
        ValueError: it is no whole line of metrics.
    """
    try:
        values = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError("no whole JSON") from error
    if not isinstance(values, dict) or not isinstance(values.get("step"), int) or not values.get("split"):
        raise ValueError("without step and split")
    numbers = {
        name: float(value)
        for name, value in values.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }
    return Logged(values["step"], str(values["split"]), numbers)


def _read_log(record: Record) -> None:
    text = _text(record, "log.txt", "time and warnings are not known")
    stamped = [(m[1], m[2]) for line in (text or "").splitlines() if (m := _STAMP.fullmatch(line))]
    record.warnings = [said for _, said in stamped if said.startswith(("warning: ", "skipped: "))]
    record.is_done = bool(stamped) and stamped[-1][1].startswith("done: ")
    if stamped:
        record.seconds = sum(_spans(stamped))


def _spans(stamped: list[tuple[str, str]]) -> Iterator[float]:
    """Seconds from each line of the log to the next, but for those to the line with which a run begins or goes on."""
    times = [datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S") for stamp, _ in stamped]
    for before, after, (_, said) in zip(times, times[1:], stamped[1:], strict=False):
        begins = said.startswith("goes on from ") or (" → " in said and " × " in said)
        yield 0.0 if begins else max(0.0, (after - before).total_seconds())


def _read_environment(record: Record) -> None:
    text = _text(record, "environment.json", "versions and machine are not known")
    if text is None:
        return
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        found = None
    if isinstance(found, dict):
        record.environment = found
    else:
        record.faults.append("environment.json is broken: versions and machine are not known.")
