"""Results of a comparison that cannot be written: one message, exit 1, and the other files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unpairaug.comparison.compare import _write_results
from unpairaug.comparison.gap import gather_results
from unpairaug.data.output_files import OutputFiles
from unpairaug.errors import RunStopped
from unpairaug.evaluation.metrics import METRICS


@pytest.fixture
def results(tmp_path: Path) -> dict:
    """Of three runs of one step."""
    for arm in ("floor", "recipe", "ceiling"):
        lines = [("val_bicubic", 0, 27.0), ("val", 1, 28.0)]
        lines = [{"step": step, "split": split, **dict.fromkeys(METRICS, value)} for split, step, value in lines]
        (tmp_path / f"{arm}_0").mkdir()
        (tmp_path / f"{arm}_0" / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    gathered = gather_results(tmp_path, ["floor", "recipe", "ceiling"], [0], 1)
    return {"recipe_name": "toy", "scale": 2, "no_ceiling": None, **gathered}


def test_a_folder_in_place_of_one_result_leaves_the_other(results: dict, tmp_path: Path):
    (tmp_path / "compare.json").mkdir()
    with pytest.raises(RunStopped, match=r"(?s)1 of 2 files not written; 1 written:.*compare\.json: this file cannot"):
        _write_results(results, tmp_path, None)
    assert "| **recipe** | 28.00 |" in (tmp_path / "compare.md").read_text()
    collected = OutputFiles()
    _write_results(results, tmp_path, collected)
    assert collected.written == 1 and len(collected.errors) == 1


def test_a_folder_below_a_file_is_refused_before_any_run(tmp_path: Path, monkeypatch):
    from unpairaug.comparison.compare import compare

    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file")
    with pytest.raises(RunStopped, match=r"file/out/compare\.yaml: this file cannot be written \(Not a directory\)"):
        compare("smoke", [], "file/out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
