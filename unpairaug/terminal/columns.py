"""The losses of a run in columns: the totals that matter; every term is in `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping

COLUMNS = ("step", "task", "translator", "discriminator", "steps/s", "left")
WIDTHS = (13, 10, 11, 14, 8, 9)
REPEAT = 20
"""Rows after which the heading is printed again."""


class LossTable:
    """Formats rows under one heading."""

    def __init__(self) -> None:
        self.rows = 0

    def format(self, step: str, losses: Mapping[str, float], rate: float, left: str) -> str:
        """A row: sums of the weighted terms of the task, of the translator and of the discriminators.

        Args:
            step: as in "50/1000".
            losses: terms by name, as a run logs them.
            rate: steps in a second.
            left: time left.
        """
        cells = (step, *(_format(total) for total in totals(losses)), f"{rate:.2f}", left)
        row = _align(cells)
        self.rows += 1
        return row if self.rows % REPEAT != 1 else f"{_align(COLUMNS)}\n{row}"


def totals(losses: Mapping[str, float]) -> tuple[float | None, float | None, float | None]:
    """Sums over the terms of task, translator and discriminators; None where a phase trains none of them."""
    groups: dict[str, list[float]] = {"task": [], "translator": [], "discriminator": []}
    for name, value in losses.items():
        is_head = name == "task" or name.startswith(("task_", "real_"))
        group = "discriminator" if name.startswith("d_") else "task" if is_head else "translator"
        groups[group].append(value)
    task, translator, discriminator = (sum(values) if values else None for values in groups.values())
    return task, translator, discriminator


def _format(total: float | None) -> str:
    return "-" if total is None else f"{total:.4g}"


def _align(cells: tuple[str, ...]) -> str:
    return " ".join(cell.rjust(width) for cell, width in zip(cells, WIDTHS, strict=True))
