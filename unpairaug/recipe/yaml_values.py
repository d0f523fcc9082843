"""YAML as plain values, with the place of each: the core schema of YAML 1.2, within limits."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml
from yaml.composer import ComposerError

from unpairaug.errors import UserError
from unpairaug.registry.options import Path, dotted_key

MAX_CHARACTERS = 256 * 1024
"""Of a document; bundled recipes have 3000."""
MAX_VALUES = 5000
"""Keys and values of a document, with every alias written out."""
MAX_DEPTH = 32
"""Sections and lists within each other."""
MAX_DIGITS = 19
"""Of a whole number: what 64 bits hold."""

_REMEDIES = {
    "'\\t'": "indent with spaces, not tabs",
    "mapping values are not allowed": "quote a value that holds ': '",
    "could not find expected ':'": "is a ':' missing after a key?",
}
_UNUSABLE = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
"""NUL and half characters: no name of a file has them. Those for bytes that are not UTF-8 are allowed."""


class _Loader(yaml.SafeLoader):
    """Reads plain scalars by the rules below, not by those of YAML 1.1, and stops at the limits."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.values = self.depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.enter(self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def enter(self, mark: Any) -> None:
        """Count one more value, within those around it.

        Raises:
            ComposerError: a limit is exceeded.
        """
        self.values, self.depth = self.values + 1, self.depth + 1
        if self.values > MAX_VALUES:
            raise ComposerError(None, None, f"more than {MAX_VALUES} values, with aliases written out", mark)
        if self.depth > MAX_DEPTH:
            raise ComposerError(None, None, f"more than {MAX_DEPTH} sections within each other", mark)


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


def _whole_number(text: str) -> int:
    digits = sum(map(str.isdigit, text))
    if digits > MAX_DIGITS:
        raise ValueError(f"a whole number of {digits} digits")
    return int(text)


# YAML 1.1, which PyYAML speaks, reads `no` as false, `1e-4` as text, `010` as 8, `1:30` as 90 and `2024-01-01` as a
# date. A recipe is read by the core schema of YAML 1.2 (§10.3.2), and takes 1_000 for a number as Python does.
_Loader.yaml_implicit_resolvers = {}
_add_scalar_type("bool", r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true")
_add_scalar_type("null", r"~|null|Null|NULL|", lambda text: None)
_add_scalar_type("int", r"[-+]?[0-9]+(_[0-9]+)*", _whole_number)
_add_scalar_type(
    "float",
    r"[-+]?([0-9]+(_[0-9]+)*\.?([0-9]+(_[0-9]+)*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    lambda text: float(re.sub(r"\.(?=[iInN])", "", text)),
)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)


class Values:
    """The values of a YAML text. `node` is their YAML node; None for an empty text."""

    def __init__(self, text: str, name: str, places: dict[Path, str] | None = None) -> None:
        """Read the text; `name` is the file's, for `places`, which gets "file:line:column" of each key.

        Raises:
            YAMLError, RecursionError, ValueError: the text is no YAML, or exceeds a limit; see `explain`.
            UserError: a key is given twice.
        """
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"more than {MAX_CHARACTERS} characters")
        self.name, self.places = name, {} if places is None else places
        self.duplicates: list[str] = []
        self.loader = _Loader(text)
        try:
            self.node = self.loader.get_single_node()
            self.loader.values = self.loader.depth = 0  # aliases are written out from here on
            self.value = None if self.node is None else self._read(self.node, ())
        finally:
            self.loader.dispose()
        if self.duplicates:
            raise UserError("\n".join(self.duplicates))

    def _read(self, node: yaml.Node, path: Path) -> Any:
        self.loader.enter(node.start_mark)
        if isinstance(node, yaml.SequenceNode):
            self.places.update({(*path, index): self._place(item) for index, item in enumerate(node.value)})
            value: Any = [self._read(item, (*path, index)) for index, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            value = self._read_mapping(node, path)
        else:
            value = self.loader.construct_object(node)
            _check_text(value, node)
        self.loader.depth -= 1
        return value

    def _read_mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        lines: dict[str, int] = {}
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            # The text of the key: `no`, `1` and `true` are names here.
            key, line = str(key_node.value), key_node.start_mark.line + 1
            _check_text(key, key_node)
            here = (*path, key)
            if key in lines:
                self.duplicates.append(
                    f"{self._place(key_node)}: {dotted_key(here)}: already given in line {lines[key]}; keep one"
                )
            lines[key], self.places[here] = line, self._place(key_node)
            values[key] = self._read(value_node, here)
        return values

    def _place(self, node: yaml.Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _check_text(value: Any, node: yaml.Node) -> None:
    if isinstance(value, str) and _UNUSABLE.search(value):
        raise ComposerError(None, None, "text with NUL or half a character", node.start_mark)


def dump(values: dict[str, Any]) -> str:
    """The values as YAML that `parse` reads back to the same values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def explain(error: Exception) -> str:
    """What is wrong with a YAML text, in words, with a remedy where one is known."""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    remedy = next((remedy for sign, remedy in _REMEDIES.items() if sign in problem), None)
    return f"{problem}; {remedy}" if remedy else problem
