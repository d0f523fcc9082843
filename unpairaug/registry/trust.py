"""Code that names in recipes and model folders may run.

`module:Class` imports a module, which runs it. A recipe is code of the person who runs it. A model folder may come from
the hub or another person: while one is loaded, registries find built-in, registered and plug-in classes only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from unpairaug.errors import UserError, escape


class _Source(NamedTuple):
    """Where the names come from that are looked up now."""

    name: str
    trusted: frozenset[str]
    """The `module:Class` names that may be imported."""


_source: ContextVar[_Source | None] = ContextVar("source of component names", default=None)


@contextmanager
def names_from(source: str, trust_code: bool = False, trusted: Collection[str] = ()) -> Iterator[None]:
    """While it lasts, names come from `source`, such as a model folder, and no `module:Class` of it is imported.

    Within another such block, only names that are trusted there can be.

    Args:
        source: the folder or hub id, for messages.
        trust_code: import what it names after all.
        trusted: names of the form `module:Class` that somebody else has given, such as the recipe around it.
    """
    outer = _source.get()
    names = frozenset(trusted)
    if outer is None:
        token = _source.set(None if trust_code else _Source(source, names))
    else:  # what is not trusted cannot trust itself, nor anything else
        token = _source.set(_Source(source, outer.trusted if trust_code else outer.trusted & names))
    try:
        yield
    finally:
        _source.reset(token)


def check_trusted(kind: str, name: str) -> None:
    """Refuse a `module:Class` that an untrusted source names.

    Raises:
        UserError: it does; nothing has been imported.
    """
    source = _source.get()
    if source is not None and name not in source.trusted:
        raise UserError(
            f"{escape(source.name)} names the {kind} {name!r}: code that is neither part of unpairaug nor of an "
            "installed plug-in, and importing it would run it. If you trust its author, allow it with --trust-code "
            "(in Python: trust_code=True; in a recipe: translator.trust_code=true)"
        )


def find_untrusted_source() -> str | None:
    """Where the names come from that are looked up now; None where they are trusted."""
    source = _source.get()
    return source.name if source is not None else None


def find_code_names(values: Any) -> set[str]:
    """Every text of the form `module:Class` in values of a recipe."""
    if isinstance(values, dict):
        return set().union(*map(find_code_names, values.values()))
    if isinstance(values, (list, tuple)):
        return set().union(*map(find_code_names, values))
    return {values} if isinstance(values, str) and ":" in values else set()
