"""Hostile values, and their places in a structure of dicts and lists."""

from __future__ import annotations

import copy
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STEERING = "\x1b]0;owned\x07\x1b[31m\x9b31m\r\u202e"
"""Sets a terminal's title, its colour, and the direction of writing."""
NUMBERS: list[Any] = [0, -1, 1, 2, 3, 7, 0.5, -0.5, 1e-300, 1e300, float("inf"), float("nan"), 2**31, 2**63, 10**18]
NUMBERS += [-(10**18), 10**400, 999_999, 10_000_000, 10_000_001, True, False]
TEXTS = ["", " ", "x" * 5000, STEERING, "a\0b", "\ud800", "\udcff", "é写", "9" * 400, "1e999", "null", "*", "&a", "#"]
TEXTS += ["/dev/zero", "/dev/stdin", "/proc/self/mem", "..", "~", "x" * 300, "a/" * 200, "http://example.org/a"]
TEXTS += ["subprocess:Popen", "os:system", "builtins:eval", "torch.nn:Linear", "no_such_module:Class", ":", "a:", ":b"]
TEXTS += [
    "measured",
    "all",
    "none",
    "sample",
    "sample:drawn-99999999999",
    "bicubic",
    "user/name",
    "user/name@v1",
    "50%",
]
TEXTS += ["10 epochs", "9" * 11 + " epochs", "adam", "lbfgs", "lookahead_sgd", "cosine", "hub", "random", "sgd", "timm"]
TEXTS += ["spandrel", "classic", "cut", "cincgan", "kernel_noise", "dncnn", "edsr", "vdsr", "patch", "texture", "l1"]
FOLDED: list[Any] = [[], {}, [[]], {"": 1}, [None], {"type": None}, {"type": 3}, {"type": "subprocess:Popen"}]
FOLDED += [{"a": {"b": {"c": {"d": {}}}}}, [1] * 200, {f"k{n}": n for n in range(200)}, {"weight": -1}, {"from": "x"}]


def draw_value(rng: random.Random) -> Any:
    """A hostile value."""
    value: Any = rng.choice(rng.choice([NUMBERS, TEXTS, FOLDED, [None]]))
    for _ in range(rng.choice([0, 0, 0, 0, 0, 3, 40])):
        value = [value] if rng.random() < 0.5 else {"type": value}
    return copy.deepcopy(value)


def find_places(values: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) of a structure."""
    for key in list(values) if isinstance(values, dict) else range(len(values)):
        yield values, key
        if isinstance(values[key], (dict, list)):
            yield from find_places(values[key])


def mutate_values(values: Any, keys: list[str], rng: random.Random) -> Any:
    """A copy with some of its values replaced, removed, moved, or under another key."""
    changed = copy.deepcopy(values)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        places = list(find_places(changed))
        if not places:
            break
        container, key = rng.choice(places)
        match rng.randrange(6):
            case 0 | 1 | 2:
                container[key] = draw_value(rng)
            case 3:
                del container[key]
            case 4 if isinstance(container, dict):
                container[str(draw_value(rng)) if rng.random() < 0.5 else rng.choice(keys)] = container[key]
            case _:
                other, place = rng.choice(places)
                if place in other if isinstance(other, dict) else place < len(other):
                    container[key] = copy.deepcopy(other[place])
    return changed


def change_alike(values: dict[str, Any], section: str, rng: random.Random) -> dict[str, Any]:
    """A copy with another number, text or truth value in a section: what a check of types lets pass."""
    changed = copy.deepcopy(values)
    places = [
        (holder, key) for holder, key in find_places(changed[section]) if type(holder[key]) in (int, float, bool, str)
    ]
    if places:
        holder, key = rng.choice(places)
        wanted, value = type(holder[key]), draw_value(rng)
        while type(value) is not wanted:
            value = draw_value(rng)
        holder[key] = value
    return changed


@contextmanager
def stop_after(seconds: float) -> Iterator[None]:
    """End what takes longer by a TimeoutError, as far as Python gets to run."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def limited(read: Callable[[Any], object], seconds: float = 30) -> Callable[[Any], object]:
    """The function with `stop_after` around it."""

    def call(case: Any) -> object:
        with stop_after(seconds):
            return read(case)

    return call
