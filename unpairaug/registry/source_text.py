"""The built-in classes as their source text has them: names and docstrings, without an import."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

from unpairaug.registry.plugins import Entry, format_error


def read_builtins(group: str) -> dict[str, Entry]:
    """Read the entries of a package's modules by name; a module that cannot be parsed is named with the reason.

    Args:
        group: the package, such as `unpairaug.heads`. A class counts that has the decorator `@register_…("name")`.
    """
    spec, found = find_spec(group), {}
    for folder in (spec and spec.submodule_search_locations) or ():
        for file in sorted(Path(folder).glob("*.py")):
            try:
                classes = _read_classes(file.read_bytes())
            except (SyntaxError, ValueError) as error:
                found[file.stem] = Entry(file.stem, "built in", fault=f"its module is no Python: {format_error(error)}")
            else:
                found |= {name: Entry(name, "built in", doc=doc) for name, doc in classes.items()}
    return found


def _read_classes(source: bytes) -> dict[str, str]:
    """The docstrings of the registered classes by the names that they are registered with."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            found |= {name: ast.get_docstring(node) or "" for mark in node.decorator_list for name in _read_name(mark)}
    return found


def _read_name(decorator: ast.expr) -> list[str]:
    """The name that a decorator registers a class with; none for another decorator."""
    match decorator:
        case ast.Call(func=ast.Name(id=str(called)), args=[ast.Constant(value=str(name))]):
            return [name] if called.startswith("register_") else []
    return []
