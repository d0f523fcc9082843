"""Reads `metrics.jsonl` of a complete run."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

BASELINE_IMAGES = "baseline_images"
"""Split of the line with the baseline's `psnr_rgb` of each validation image, in their order."""

log = logging.getLogger("unpairaug")


class MetricsFile:
    """The lines by split and step; the later of two lines of a step counts."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self.lines: dict[str, dict[int, dict[str, Any]]] = {}
        for line in lines:
            values = {key: value for key, value in line.items() if key not in ("split", "step")}
            self.lines.setdefault(line["split"], {})[line["step"]] = values

    @property
    def baseline_images(self) -> list[float]:
        """`psnr_rgb` of the baseline for each validation image; empty without pairs."""
        return self.lines.get(BASELINE_IMAGES, {}).get(0, {}).get("psnr_rgb", [])

    def steps(self, split: str) -> list[int]:
        return list(self.lines.get(split, {}))

    def line(self, split: str, step: int) -> dict[str, Any] | None:
        return self.lines.get(split, {}).get(step)

    def value(self, split: str, step: int, name: str) -> float | None:
        return (self.line(split, step) or {}).get(name)


def read_metrics(path: Path) -> MetricsFile:
    """Read the file; a damaged line is left out, and the log says so."""
    lines = []
    whole = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for number, text in enumerate(whole.splitlines(), start=1):
        try:
            line = json.loads(text)
            lines.append({**line, "split": str(line["split"]), "step": int(line["step"])})
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            log.warning(f"warning: line {number} of {path} is damaged and is left out")
    return MetricsFile(lines)
