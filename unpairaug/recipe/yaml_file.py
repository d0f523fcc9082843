"""The text of a recipe: YAML with the place of every key, and overrides on top of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from unpairaug.errors import UserError
from unpairaug.registry.options import Path, dotted_key, format_value
from unpairaug.registry.terms import as_terms

_REMEDIES = {
    "'\\t'": "indent with spaces, not tabs",
    "mapping values are not allowed": "quote a value that holds ': '",
    "could not find expected ':'": "is a ':' missing after a key?",
}
_COMPONENTS = ("task", "translator", "optimizer")
_LOSS = ("task", "loss")
_KEPT_OPTIONS: dict[Any, tuple[str, ...]] = {
    ("task", 1): ("scale",),
    ("task", 3): ("weight",),
    ("optimizer", 2): ("lr", "lr_schedule"),
}
"""Options that stay when a component's type changes, by first key and depth: they belong to the run."""


class _Loader(yaml.SafeLoader):
    """Reads plain scalars by the rules below, not by those of YAML 1.1."""


class _Dumper(yaml.SafeDumper):
    """Quotes every text that this module or a YAML 1.1 reader would not read as text."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # PyYAML 6.0 folds some of Unicode's line breaks to spaces in every style but this one.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


def _represent_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


def _add_scalar_type(name: str, pattern: str, convert: Callable[[str], Any]) -> None:
    def construct(loader: yaml.SafeLoader, node: Any) -> Any:
        return convert(loader.construct_scalar(node))

    tag, whole = f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z")
    _Loader.add_implicit_resolver(tag, whole, None)
    _Loader.add_constructor(tag, construct)
    _Dumper.add_implicit_resolver(tag, whole, None)


# YAML 1.1, which PyYAML speaks, reads `no` as false, `1e-4` as text, `010` as 8, `1:30` as 90 and `2024-01-01` as a
# date. A recipe is read by the core schema of YAML 1.2 (§10.3.2), and takes 1_000 for a number as Python does.
_Loader.yaml_implicit_resolvers = {}
_add_scalar_type("bool", r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true")
_add_scalar_type("null", r"~|null|Null|NULL|", lambda text: None)
_add_scalar_type("int", r"[-+]?[0-9]+(_[0-9]+)*", int)
_add_scalar_type(
    "float",
    r"[-+]?([0-9]+(_[0-9]+)*\.?([0-9]+(_[0-9]+)*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    lambda text: float(re.sub(r"\.(?=[iInN])", "", text)),
)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)


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
        path: Path = tuple(key.strip().split("."))
        if not equals or not all(path):
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
        UserError: the text is no YAML, holds no mapping, or gives a key twice.
    """
    places = {(): name}
    try:
        values = _Reader(text, name, places).values()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise UserError(f"{place}: {_explain(error)}") from error
    if not isinstance(values, dict):
        found = "is empty" if values is None else "does not hold `key: value` lines"
        raise UserError(f"{name}: the file {found}; a recipe has the sections task, translator, data and train")
    return Document(values, places)


def dump(values: dict[str, Any]) -> str:
    """The values as YAML that `parse` reads back to the same values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Reader:
    """Converts YAML nodes to values, and records the place of each key."""

    def __init__(self, text: str, name: str, places: dict[Path, str]) -> None:
        self.loader = _Loader(text)
        self.name, self.places = name, places
        self.duplicates: list[str] = []

    def values(self) -> Any:
        try:
            node = self.loader.get_single_node()
            values = None if node is None else self.read(node, ())
        finally:
            self.loader.dispose()
        if self.duplicates:
            raise UserError("\n".join(self.duplicates))
        return values

    def read(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.SequenceNode):
            self.places.update({(*path, index): self.at(item) for index, item in enumerate(node.value)})
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return self.loader.construct_object(node)
        lines: dict[str, int] = {}
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            # The text of the key: `no`, `1` and `true` are names here.
            key, line = str(key_node.value), key_node.start_mark.line + 1
            here = (*path, key)
            if key in lines:
                self.duplicates.append(
                    f"{self.at(key_node)}: {dotted_key(here)}: already given in line {lines[key]}; keep one"
                )
            lines[key], self.places[here] = line, self.at(key_node)
            values[key] = self.read(value_node, here)
        return values

    def at(self, node: yaml.Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _key_of(value: Any, path: Path) -> str | None:
    """The key for which a single value stands: `type` of a component, `weight` of a term."""
    if path[:-1] == _LOSS:
        return "weight" if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    return "type" if isinstance(value, str) and path[0] in _COMPONENTS and path[:2] != _LOSS else None


def _override_value(text: str, value: str) -> Any:
    try:
        return _Reader(value, f"override {text}", {}).values()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"override {text}: the value is not YAML ({_explain(error)}); put it in quotes") from error


def _explain(error: Exception) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    remedy = next((remedy for sign, remedy in _REMEDIES.items() if sign in problem), None)
    return f"{problem}; {remedy}" if remedy else problem
