"""The quick parts of `fuzz_images.py` and `fuzz_shards.py`, and that they find what they look for."""

import random
import sys
import time

import fuzz_images
import fuzz_shards
import mutate
import pytest

from unpairaug.errors import UserError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")


def test_mutated_images_are_read_or_refused():
    faults, figures = fuzz_images.run(count=600, seed=1)
    assert faults == [], figures
    assert "refused" in figures and "read" in figures


def test_whole_images_are_read():
    files = fuzz_images.whole_files(seed=2)
    faults, figures = mutate.run_cases(iter(mutate.Case(*file) for file in files.items()), fuzz_images.read)
    assert faults == [] and figures.startswith(f"{len(files)} cases: {len(files)} read;")


def test_mutated_shards_and_indexes_are_read_or_refused():
    faults, figures = fuzz_shards.run(count=300, seed=1)
    assert faults == [], figures
    assert "refused" in figures and "read" in figures


def test_the_same_seed_mutates_alike():
    first, second = (mutate.mutate(bytes(99), [b"other"], random.Random(3)) for _ in range(2))
    assert first == second != bytes(99)


class RawError(UserError):
    """Shows its message as it is."""

    def __str__(self) -> str:
        return self.args[0]


def refuse(message: str) -> None:
    raise RawError(message)


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (lambda case: 1 / 0, "ZeroDivisionError"),
        (lambda case: refuse("a\x1b[2Jb"), "control characters"),
        (lambda case: refuse("x" * 3000), "3000 characters"),
        (lambda case: time.sleep(0.3), "0.3 s"),
        (lambda case: bytearray(3 * 2**30), "MemoryError"),
    ],
)
def test_each_kind_of_fault_is_found(fault, what: str, monkeypatch):
    monkeypatch.setattr(mutate, "SECONDS", 0.25)
    (found,), _ = mutate.run_cases(iter([mutate.Case("toy", b"")]), fault)
    assert what in found.what
