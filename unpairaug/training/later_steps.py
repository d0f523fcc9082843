"""Removes what a run has logged after the step from which it resumes: those steps are taken and logged again."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Iterator
from math import inf
from pathlib import Path

log = logging.getLogger("unpairaug")


def remove_later_metrics(path: Path, step: int) -> list[str]:
    """Remove the lines of `metrics.jsonl` after a step, and return those that stay. Step 0 removes all.

    What is measured before the first step has step 0, and is measured again by a run that starts there.
    """
    if not path.exists():
        return []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if step > 0 and _step_of(line) <= step]
    partial = path.with_suffix(".partial")
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    partial.replace(path)
    return lines


def remove_later_sheets(folder: Path, step: int) -> None:
    """Remove the sample sheets after a step."""
    for sheet in folder.glob("step_*.png"):
        number = sheet.stem.removeprefix("step_")
        if number.isdecimal() and int(number) > step:
            sheet.unlink()


def remove_later_events(folder: Path, step: int) -> None:
    """Remove the events after a step from TensorBoard's event files. Step 0 removes all.

    A record that a kill has cut short is removed, too.
    """
    for leftover in folder.glob("events.out.partial.*"):
        leftover.unlink()
    for path in sorted(folder.glob("events.out.tfevents.*")):
        records = b"".join(_records_until(path, step)) if step > 0 else b""
        if not records:
            path.unlink()
        elif len(records) != path.stat().st_size:
            partial = path.with_name(path.name.replace("tfevents", "partial"))
            partial.write_bytes(records)
            partial.replace(path)


def _records_until(path: Path, step: int) -> Iterator[bytes]:
    """The records of an event file up to a step, unchanged; those behind a damaged one cannot be read.

    A record is the length of the event (8 bytes), its checksum (4), the event, and its checksum (4).
    """
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]  # generated

    data, offset = path.read_bytes(), 0
    while offset + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, offset)
        end = offset + 12 + length + 4
        if end > len(data):
            return
        try:
            event = Event.FromString(data[offset + 12 : end - 4])
        except DecodeError:
            log.warning(f"warning: {path} is damaged after {offset} bytes; the events behind them are removed")
            return
        if event.step <= step:
            yield data[offset:end]
        offset = end


def _step_of(line: str) -> float:
    """The step of a line of metrics; infinity for a line that a kill or a full disk has cut short."""
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:
        return inf
