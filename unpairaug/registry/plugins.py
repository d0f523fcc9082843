"""Code of others: what installed packages bring by their entry points, and the classes of a module."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from unpairaug.registry.options import nearest

FAULTS = (Exception, SystemExit)
"""What the import of a stranger's module may raise; its run is to end with a message, and no other."""


@dataclass(frozen=True)
class Entry:
    """What a registry knows of one name."""

    name: str
    origin: str
    """Who brings it: "built in", "registered here", or a package and its version."""
    cls: type | None = None
    """The class, where it can be used."""
    fault: str = ""
    """Why it cannot be used."""


def plugins(group: str) -> dict[str, list[EntryPoint]]:
    """The entry points of a group by name: one each, or more where packages claim a name for different things."""
    found: dict[str, list[EntryPoint]] = {}
    for plugin in entry_points(group=group):
        claims = found.setdefault(plugin.name, [])
        if plugin.value not in [claim.value for claim in claims]:
            claims.append(plugin)
    return found


def package_of(plugin: EntryPoint) -> str:
    """The package that brings an entry point, with its version."""
    return f"package {plugin.dist.name} {plugin.dist.version}" if plugin.dist else "an installed package"


def told(error: BaseException) -> str:
    """An error as a traceback's last line tells it."""
    return f"{type(error).__name__}: {error}"


def folder_of(plugin: EntryPoint) -> Path | None:
    """The folder of the package that an entry point names; a package at the top is not imported for it."""
    try:
        spec = find_spec(plugin.module)
    except FAULTS:  # the package around it is a stranger's too
        return None
    return next(map(Path, (spec and spec.submodule_search_locations) or ()), None)


def class_of(plugin: EntryPoint) -> type:
    """The class that an entry point names, imported now.

    Raises:
        TypeError: it names something else; beside that, whatever the import of its module raises.
    """
    if isinstance(found := plugin.load(), type):
        return found
    raise TypeError(f"a class is wanted there, and it is {found!r}")


def class_in(module: ModuleType, name: str) -> type:
    """The class of that name in a module.

    Raises:
        AttributeError: there is none; the message names the nearest, or all.
    """
    if isinstance(found := getattr(module, name, None), type):
        return found
    classes = [key for key, value in vars(module).items() if isinstance(value, type)]
    near = nearest(name, classes)
    hint = f"did you mean {near!r}?" if near else f"classes there: {', '.join(classes) or 'none'}"
    raise AttributeError(f"{module.__file__} has no class {name!r}; {hint}")
