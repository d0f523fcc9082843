"""Code of other packages: their entry points, and the classes of a module."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from unpairaug.registry.suggestions import suggest

FAULTS = (Exception, SystemExit)
"""What the import of another package's module may raise; it becomes a message."""


@dataclass(frozen=True)
class Entry:
    """What a registry knows of one name."""

    name: str
    origin: str
    """Where it is from: "built in", "registered here", or a package and its version."""
    cls: type | None = None
    """The class, where it can be used."""
    fault: str = ""
    """Why it cannot be used."""
    doc: str = ""
    """Docstring of the class."""


def plugins(group: str) -> dict[str, list[EntryPoint]]:
    """The entry points of a group by name: one each, or more where packages claim a name for different things."""
    found: dict[str, list[EntryPoint]] = {}
    for plugin in _read_entry_points(group, tuple(map(_last_change, sys.path))):
        claims = found.setdefault(plugin.name, [])
        if plugin.value not in [claim.value for claim in claims]:
            claims.append(plugin)
    return found


@lru_cache(maxsize=32)
def _read_entry_points(group: str, state: tuple[tuple[str, int], ...]) -> EntryPoints:
    """The entry points of a group; `state` is that of the folders of `sys.path`, which an installation changes.

    Reading the files of every installed package takes as long as the rest of a recipe's check.
    """
    return entry_points(group=group)


def _last_change(folder: str) -> tuple[str, int]:
    """The folder, and when it was changed last, in nanoseconds; 0 where there is none."""
    try:
        return folder, os.stat(folder or ".").st_mtime_ns
    except (OSError, ValueError):
        return folder, 0


def search_current_folder() -> None:
    """Let modules of the current folder be imported, as `python -m` does and an installed program does not."""
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.insert(0, str(Path.cwd()))


def package_of(plugin: EntryPoint) -> str:
    """The package that brings an entry point, with its version."""
    return f"package {plugin.dist.name} {plugin.dist.version}" if plugin.dist else "an installed package"


def format_error(error: BaseException) -> str:
    """An error as the last line of a traceback: its type and its message."""
    return f"{type(error).__name__}: {error}"


def folder_of(plugin: EntryPoint) -> Path | None:
    """The folder of the package that an entry point names; a package at the top is not imported for it."""
    try:
        spec = find_spec(plugin.module)
    except FAULTS:  # importing the package around it may fail, too
        return None
    return next(map(Path, (spec and spec.submodule_search_locations) or ()), None)


def load_class(plugin: EntryPoint) -> type:
    """The class that an entry point names, imported now.

    Raises:
        TypeError: it names something else; beside that, whatever the import of its module raises.
    """
    if isinstance(found := plugin.load(), type):
        return found
    raise TypeError(f"expected a class, found {found!r}")


def find_class(module: ModuleType, name: str) -> type:
    """The class of that name in a module.

    Raises:
        AttributeError: there is none; the message names the nearest, or all.
    """
    if isinstance(found := getattr(module, name, None), type):
        return found
    classes = [key for key, value in vars(module).items() if isinstance(value, type)]
    raise AttributeError(f"{module.__file__} has no class {name!r}; {suggest(name, classes)}")
