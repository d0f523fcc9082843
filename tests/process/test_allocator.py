"""The allocator keeps large blocks in a process of the program, and is left alone where the user says so."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from unpairaug.process.allocator import keep_memory
import numpy as np
kept = keep_memory()
np.ones(2**23)  # 64 MiB, freed at once
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    np.ones(2**23)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(**environment: str) -> tuple[str, int]:
    """Whether the allocator keeps memory, and the page faults of eight blocks of 64 MiB after a first one."""
    ambient = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**ambient, **environment}, check=True, capture_output=True, text=True
    )
    kept, faults = run.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_a_block_that_was_freed_is_used_again_without_page_faults():
    kept, faults = page_faults()
    assert kept == "True" and faults < 1000, "one block of 64 MiB has 16384 pages"


@pytest.mark.parametrize("setting", [{"UNPAIRAUG_KEEP_MEMORY": "0"}, {"MALLOC_TRIM_THRESHOLD_": "131072"}])
def test_the_environment_turns_the_setting_off(setting: dict[str, str]):
    assert page_faults(**setting)[0] == "False"
