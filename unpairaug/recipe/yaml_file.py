"""The text of a recipe: YAML with the place of every key, and overrides on top of it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
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
    """Values set by overrides, and the text of each override, in order."""

    def place(self, path: Path) -> str:
        """Place of the value at the path; if it is missing, of the section around it."""
        return next(self.places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.places)

    def override(self, text: str) -> None:
        """Set what a `dotted.key=value` says; the value is YAML.

        Another `type` for a component drops the options that the file gave to the old one. Those set by overrides stay,
        and so do the task's `scale`, the weight of a term of the loss, and an optimiser's `lr` and `lr_schedule`.

        Raises:
            UserError: the text has another form, or goes into a value that has no keys.
        """
        key, equals, value = text.partition("=")
        text = escape(text)
        path: Path = tuple(key.strip().split("."))
        if not equals or not all(path) or len(path) > MAX_DEPTH:
            raise UserError(f"override {text}: should be dotted.key=value, such as train.seed=1")
        new = _override_value(text, value)
        section = self._section(path[:-1], text)
        old = section.get(str(path[-1]))
        if isinstance(old, dict) and (key := _key_of(new, path)):  # `translator=bicubic`, `task.loss.ssim=0.2`
            path, section = (*path, key), old
        if path[-1] == "type" and section.get("type", new) != new:
            self._drop_options(path[:-1], section)
        self._set(path, new, text)

    def _section(self, path: Path, text: str) -> dict[str, Any]:
        """The mapping at the path, made where there is none; a component given by name alone becomes one too."""
        section = self.values
        for depth, step in enumerate(path, start=1):
            inner: Any = section.get(str(step))
            if inner is None:
                inner = section[str(step)] = {}
            elif isinstance(inner, str) and path[:depth] == _LOSS:
                inner = section[str(step)] = as_terms(inner)
            elif key := _key_of(inner, path[:depth]):
                inner = section[str(step)] = {key: inner}
            if not isinstance(inner, dict):
                raise UserError(
                    f"override {text}: {dotted_key(path[:depth])} is {format_value(inner)}, which has no keys"
                )
            section = inner
        return section

    def _set(self, path: Path, value: Any, text: str) -> None:
        self._section(path[:-1], text)[str(path[-1])] = copy.deepcopy(value)
        for known in [known for known in {**self.places, **self.overrides} if known[: len(path)] == path]:
            self.places.pop(known, None)
            self.overrides.pop(known, None)
        self.places[path] = f"override {text}"
        self.overrides[path] = value, text

    def _drop_options(self, path: Path, section: dict[str, Any]) -> None:
        """Remove the component's options but those of overrides and `_KEPT_OPTIONS`."""
        kept = _KEPT_OPTIONS.get((path[0], len(path)), ())
        for key in [key for key in section if key not in kept]:
            del section[key]
            for known in [known for known in self.places if known[: len(path) + 1] == (*path, key)]:
                del self.places[known]
        for known, (value, text) in list(self.overrides.items()):
            if known[: len(path)] == path:
                self._set(known, value, text)


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
