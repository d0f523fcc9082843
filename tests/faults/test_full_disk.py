"""The quick part of `full_disk.py`: files may not grow beyond a size, which needs no mounted disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from full_disk import find_failures, limit_files, train


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("reference")
    assert train(folder, folder / "run")[0] == 0
    return folder / "run"


@pytest.mark.parametrize("kb", [25, 120, 260])
def test_a_run_that_cannot_write_ends_with_one_message_and_resumes_bit_for_bit(kb, reference, tmp_path):
    ended, wrong = find_failures(tmp_path, tmp_path / "run", reference, limit_files(1024 * kb))
    assert wrong == []
    assert "exit code 1" in ended and "cannot be written" in ended


@pytest.mark.parametrize("folder", ["run", "run/inner"])
def test_an_output_dir_that_cannot_be_made_ends_the_run_with_exit_code_1(folder, tmp_path):
    (tmp_path / "run").write_text("a file in the way")
    code, output = train(tmp_path, tmp_path / folder)
    assert code == 1 and f"{tmp_path / folder}: this output_dir cannot be written (" in output
    assert (tmp_path / "run").read_text() == "a file in the way"
