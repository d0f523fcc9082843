"""The text of a recipe: YAML with the place of every key, and overrides on top of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import yaml

from unpairaug.errors import UserError, escape
from unpairaug.recipe.yaml_values import MAX_DEPTH, Values, dump, explain
from unpairaug.registry.options import Path, dotted_key, format_value
from unpairaug.registry.terms import as_terms

__all__ = ["Document", "dump", "parse"]

_COMPONENTS = ("task", "translator", "optimizer")
_LOSS = ("task", "loss")
_KEPT_OPTIONS: dict[Any, tuple[str, ...]] = {
    ("task", 1): ("scale",),
    ("task", 3): ("weight",),
    ("optimizer", 2): ("lr", "lr_schedule"),
}
"""Options that stay when a component's type changes, by first key and depth: they belong to the run."""


@dataclass
class Document:
    """The values of a recipe, and the place of each in its file."""

    values: dict[str, Any]
    places: dict[Path, str]
    """"file:line:column" of each key, or the override that set it."""
    overrides: dict[Path, tuple[Any, str]] = field(default_factory=dict)
    """Values that were set on top of the file, and the place of each, in order."""

    def place(self, path: Path) -> str:
        """Place of the value at the path; if it is missing, of what an override set in it, or of the section around."""
        below = (place for known, (_, place) in self.overrides.items() if known[: len(path)] == path)
        if path not in self.places and (set_below := next(below, None)):
            return set_below
        return next(self.places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.places)

    def override(self, text: str) -> None:
        """Set what a `dotted.key=value` says; the value is YAML. See `set`.

        Raises:
            UserError: the text has another form, or goes into a value that has no keys.
        """
        key, equals, value = text.partition("=")
        text = escape(text)
        path: Path = tuple(key.strip().split("."))
        if not equals or not all(path) or len(path) > MAX_DEPTH:
            raise UserError(f"override {text}: should be dotted.key=value, such as train.seed=1")
        self.set(path, _override_value(text, value), f"override {text}")

    def merge(self, values: Mapping[str, Any], place: Callable[[Path], str], path: Path = ()) -> None:
        """Lay sections over those of this document: sections merge, everything else is replaced. See `set`.

        The sources of `data` are replaced as a whole, since their weights are ratios of each other.

        Args:
            values: what is laid on top.
            place: says where each of its values comes from.
            path: the section that `values` is of.

        Raises:
            UserError: a value goes into one that has no keys.
        """
        for key in sorted(values, key=lambda key: key != "type"):  # the type first: it drops another type's options
            here, value = (*path, key), values[key]
            if isinstance(value, Mapping) and value and self._has_keys(here) and len(here) < MAX_DEPTH:
                self.merge(value, place, here)
            else:
                self.set(here, value, place(here))

    def set(self, path: Path, value: Any, place: str) -> None:
        """Set the value at the path; a number in the path is the position of an item of a list.

        Another `type` for a component drops the options that lie below. Those set on top of the file stay,
        and so do the task's `scale`, the weight of a term of the loss, and an optimiser's `lr` and `lr_schedule`.

        Raises:
            UserError: the path goes into a value that has no keys, or beyond the end of a list.
        """
        section, outer = self._section(path[:-1], place, path[-1])
        key = _step(section, path[-1], dotted_key(outer), place)
        path = (*outer, key)
        old = section.get(key) if isinstance(section, dict) else None
        if isinstance(old, dict) and (inner := _key_of(value, path)):  # `translator=bicubic`, `task.loss.ssim=0.2`
            path, section = (*path, inner), old
        if isinstance(section, dict) and path[-1] == "type" and section.get("type", value) != value:
            self._drop_options(path[:-1], section)
        self._set(path, value, place)

    def _has_keys(self, path: Path) -> bool:
        """Whether a section at the path merges with what lies there: a section, a component's name, or nothing."""
        if path[0] == "data" and len(path) == 2:
            return False
        below: Any = self.values
        for step in path:
            below = below.get(step) if isinstance(below, dict) else None
        return below is None or isinstance(below, dict) or path == _LOSS or _key_of(below, path) is not None

    def _section(self, path: Path, place: str, then: str | int) -> tuple[dict[str, Any] | list[Any], Path]:
        """The mapping or list at the path, and the path with the positions in lists as numbers.

        A mapping is made where there is none; a component given by name alone becomes one, too.
        """
        section: Any = self.values
        found: Path = ()
        for step, next_step in pairwise((*path, then)):
            key = _step(section, step, dotted_key(found), place)
            found = (*found, key)
            inner: Any = section.get(key) if isinstance(section, dict) else section[int(key)]
            if inner is None and str(next_step).isdecimal():
                raise UserError(f"{place}: the recipe holds no list {dotted_key(found)}; give the whole list")
            if inner is None:
                inner = section[key] = {}
            elif isinstance(inner, str) and found == _LOSS:
                inner = section[key] = as_terms(inner)
            elif name := _key_of(inner, found):
                inner = section[key] = {name: inner}
            if not isinstance(inner, (dict, list)):
                raise UserError(f"{place}: {dotted_key(found)} is {format_value(inner)}, which has no keys")
            section = inner
        return section, found

    def _set(self, path: Path, value: Any, place: str) -> None:
        section: Any = self._section(path[:-1], place, path[-1])[0]
        section[path[-1]] = copy.deepcopy(value)
        for known in [known for known in {**self.places, **self.overrides} if known[: len(path)] == path]:
            self.places.pop(known, None)
            self.overrides.pop(known, None)
        self.places[path] = place
        self.overrides[path] = value, place

    def _drop_options(self, path: Path, section: dict[str, Any]) -> None:
        """Remove the component's options but those set on top and `_KEPT_OPTIONS`."""
        kept = _KEPT_OPTIONS.get((path[0], len(path)), ())
        for key in [key for key in section if key not in kept]:
            del section[key]
            for known in [known for known in self.places if known[: len(path) + 1] == (*path, key)]:
                del self.places[known]
        for known, (value, place) in list(self.overrides.items()):
            if known[: len(path)] == path:
                self._set(known, value, place)


def _step(section: Any, step: str | int, name: str, place: str) -> Any:
    """The key of a mapping, or the position in a list.

    Raises:
        UserError: a list has no such item.
    """
    if not isinstance(section, list):
        return str(step)
    if not str(step).isdecimal() or int(step) >= len(section):
        last = f"items 0 to {len(section) - 1}" if section else "no items"
        raise UserError(f"{place}: {name} is a list with {last}; there is no {str(step)!r}")
    return int(step)


def parse(text: str, name: str) -> Document:
    """The document in a YAML text; `name` is the file's, for messages.

    Raises:
        UserError: the text is no YAML, exceeds a limit of `yaml_values`, holds no mapping, or gives a key twice.
    """
    places = {(): name}
    try:
        values = Values(text, name, places).value
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise UserError(f"{place}: {explain(error)}") from error
    if not isinstance(values, dict):
        found = "is empty" if values is None else "does not hold `key: value` lines"
        raise UserError(f"{name}: the file {found}; a recipe has the sections task, translator, data and train")
    return Document(values, places)


def _key_of(value: Any, path: Path) -> str | None:
    """The key for which a single value stands: `type` of a component, `weight` of a term."""
    if path[:-1] == _LOSS:
        return "weight" if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    return "type" if isinstance(value, str) and path[0] in _COMPONENTS and path[:2] != _LOSS else None


def _override_value(text: str, value: str) -> Any:
    """The value of an override: YAML, but for plain text, which is taken as it stands.

    A value comes from a shell, not from a document: `photos #1` is the name of a folder, and has no comment.
    """
    try:
        read = Values(value, f"override {text}")
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"override {text}: the value is not YAML ({explain(error)}); put it in quotes") from error
    node: Any = read.node
    is_whole = node is not None and not value[node.end_mark.index :].strip()
    is_plain = node is None or (isinstance(node, yaml.ScalarNode) and node.style is None)
    if is_plain and (isinstance(read.value, str) or (value.strip() and not is_whole)):
        return value
    if not is_plain and not is_whole:
        raise UserError(f"override {text}: text behind the value; put the value in quotes")
    return read.value
