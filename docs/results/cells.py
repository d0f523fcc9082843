"""The cells of the tables in docs/results: numbers and ranges as text, and the table as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unpairaug.comparison.gap import format_metric, format_percent
from unpairaug.data.drawn_camera import DRAWN, draw_camera


def format_metrics(metrics: dict[str, float], names: Iterable[str]) -> list[str]:
    return [format_metric(name, metrics[name]) for name in names]


def format_shares(shares: Sequence[float | None]) -> str:
    return with_minus_signs(", ".join(map(format_percent, shares)))


def format_range(values: Sequence[float], form: str) -> str:
    least, most = (with_minus_signs(format(value, form)) for value in (min(values), max(values)))
    return least if least == most else f"{least} to {most}"


def with_minus_signs(text: str) -> str:
    return text.replace("-", "−")


def format_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def describe_camera(set_: str) -> str:
    """Describe the camera of a set if it was drawn at random, else return an empty string."""
    if not (drawn := DRAWN.search(set_)):
        return ""
    camera = draw_camera(int(drawn[1]))
    parts = []
    if camera.blur:
        long, short = camera.blur
        parts.append(f"blur {long:.1f} × {short:.1f} px at {camera.angle:.0f}°")
    if camera.noise:
        black, middle = camera.noise
        parts.append(f"noise {black:.0f} to {middle:.0f} steps{', with grain' if camera.grain else ''}")
    if camera.quality:
        parts.append(f"JPEG {camera.quality}")
    return f": {'; '.join(parts)}"
