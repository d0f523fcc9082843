"""Killed and stopped runs end as runs that nobody killed. `kill_runs.py` beside this file does so as often as asked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("kill_runs.py")


@pytest.mark.parametrize(("options", "kinds"), [("--kills 3", "kills"), ("--kills 0 --signals 2", "stops")])
def test_killed_runs_end_as_uninterrupted_ones(options: str, kinds: str, tmp_path: Path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "HOME": str(tmp_path)}
    command = [sys.executable, str(PROGRAM), *options.split(), "--cases", "2", "--seed", "3"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {what: int(number) for what, number in re.findall(r"^(.+): (\d+)$", done.stdout, re.M)}
    assert sum(number for what, number in counts.items() if what.startswith(kinds)) >= int(options.split()[-1])
    assert counts["runs"] == counts["identical runs"] > 0
