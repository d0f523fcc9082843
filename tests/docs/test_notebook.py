"""The notebook runs from top to bottom, and carries no outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unpairaug import Run

ROOT = Path(__file__).resolve().parents[2]


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cells = json.loads((ROOT / "docs" / "start" / "first_run.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for number, source in enumerate(code):
        exec(compile(source, f"cell {number}", "exec"), names)
    run = names["run"]
    assert isinstance(run, Run) and run.metrics["step"] == 10 and names["scores"]["psnr_rgb"] > 20  # type: ignore[index]
