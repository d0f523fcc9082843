"""Mutated bytes, and what is demanded of a program that reads them: an answer or a `UserError`, soon and in bounds."""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from unpairaug.errors import UserError

SECONDS = 5.0
"""Longest time that a case may take."""
MEMORY = 2 * 2**30
"""Bytes that a case may need above those of the program."""
MESSAGE = 2000
"""Longest message, in characters."""

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers at the edges of types, written over fields of a header."""


class Case(NamedTuple):
    """One mutated input."""

    kind: str
    data: bytes


class Fault(NamedTuple):
    """What went wrong with a case."""

    number: int
    kind: str
    what: str
    data: bytes


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A changed copy: flipped bits, a cut, a hole, a splice with another input, a repeated part, an extreme number."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        length = len(changed)
        if not length:
            break
        # The head of a file holds sizes and offsets, so half of the changes are made there.
        at = rng.randrange(min(length, 96)) if rng.random() < 0.5 else rng.randrange(length)
        size = min(rng.choice([1, 2, 4, 16, 64, 512]), length - at)
        match rng.randrange(7):
            case 0:
                for _ in range(rng.choice([1, 1, 2, 16])):
                    changed[rng.randrange(at, length)] ^= 1 << rng.randrange(8)
            case 1:
                del changed[at:]
            case 2:
                changed[at : at + size] = bytes(size)
            case 3:
                other = rng.choice(others)
                start = rng.randrange(len(other))
                changed[at:] = other[start:]
            case 4:
                changed[at:at] = changed[at : at + size] * rng.choice([1, 2, 50])
            case 5:
                width = rng.choice([1, 2, 4, 8])
                order = rng.choice(["little", "big"])
                number = rng.choice(NUMBERS) % 256**width
                changed[at : at + width] = number.to_bytes(width, order)  # type: ignore[arg-type]
            case _:
                changed[at : at + size] = rng.randbytes(size)
    return bytes(changed)


def run_cases(cases: Iterator[Case], read: Callable[[Case], object]) -> tuple[list[Fault], str]:
    """Read each case; returns the faults, and a line of figures."""
    faults: list[Fault] = []
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_virtual_memory() + MEMORY, hard))
    try:
        for number, case in enumerate(cases):
            start = time.perf_counter()
            outcome, problem = _read(case, read)
            seconds = time.perf_counter() - start
            slowest = max(slowest, seconds)
            outcomes[outcome] += 1
            if seconds > SECONDS:
                problem = f"{seconds:.1f} s, {problem or outcome}"
            if problem:
                faults.append(Fault(number, case.kind, problem, case.data))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    listed = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return faults, f"{outcomes.total()} cases: {listed}; slowest {slowest:.2f} s; peak {peak:.2f} GiB"


def _read(case: Case, read: Callable[[Case], object]) -> tuple[str, str]:
    """(outcome, what is wrong with it)."""
    try:
        read(case)
    except UserError as error:
        message = str(error)
        if not message.replace("\n", "").isprintable():
            return "refused", f"a message with control characters: {message!r}"
        if "MemoryError" in message:
            return "refused", f"more than {MEMORY} bytes of memory: {message:.300}"
        return "refused", f"a message of {len(message)} characters" if len(message) > MESSAGE else ""
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return "raised", f"{type(error).__name__}: {error!s:.300}"
    return "read", ""


def _virtual_memory() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmSize:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmSize in /proc/self/status")


def main(description: str, count: int, run: Callable[[int, int], tuple[list[Fault], str]]) -> None:
    """The command line of a harness: `--count`, `--seed`, and `--save` for the inputs that went wrong."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="folder for the inputs that went wrong")
    options = parser.parse_args()
    faults, figures = run(options.count, options.seed)
    print(figures)
    for kind, count in Counter((fault.kind, fault.what) for fault in faults).most_common(40):
        print(f"{count} × {kind[0]}: {kind[1]}")
    if options.save and faults:
        options.save.mkdir(parents=True, exist_ok=True)
        for fault in faults:
            (options.save / f"{fault.number}_{fault.kind}").write_bytes(fault.data)
    sys.exit(1 if faults else 0)
