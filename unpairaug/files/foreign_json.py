"""JSON of foreign origin: model folders, checkpoints, shard indexes, settings.

The standard reader takes numbers beyond any type, NaN, repeated keys, text that cannot be encoded, and files of any
size, and raises half a dozen types of errors. Here everything that no program of good will writes is a `UserError`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from unpairaug.errors import UserError, escape

MAX_BYTES = 16 * 2**20
"""Size of a file, unless a caller knows better."""
MAX_DEPTH = 32
"""Objects and lists within each other."""
MAX_DIGITS = 20
"""Digits of a whole number: what 64 bits hold."""

_UNUSABLE = re.compile("[\0\ud800-\udfff]")
"""NUL and half characters: text with them is no name of a file and cannot be written."""
_MAY_BE_UNUSABLE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])|[\0\ud800-\udfff]")
"""What a file with such text holds; whole characters, too, are written as two halves."""


class _InvalidError(ValueError):
    """What is wrong with the JSON, in words."""


def read_json(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UserError: the file cannot be read, is larger than `max_bytes`, or is not a JSON object within the limits.
    """
    try:
        if not path.is_dir() and path.exists() and not path.is_file():  # a pipe would be waited for
            raise UserError(f"{escape(path)} is no regular file; expected JSON")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{escape(path)} cannot be read: {reason}") from error
    return parse_json_object(data, escape(path), max_bytes)


def parse_json_object(text: str | bytes, name: str, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The same of a text; `name` says in messages where it is from.

    Raises:
        UserError: it is no JSON object, or exceeds a limit.
    """
    values = parse_json(text, name, max_bytes)
    if not isinstance(values, dict):
        raise UserError(f"{name}: expected a JSON object, found {_TYPES.get(type(values), 'something else')}")
    return values


def parse_json(text: str | bytes, name: str, max_bytes: int = MAX_BYTES) -> Any:
    """Any JSON value of a text.

    Raises:
        UserError: it is no JSON, holds NaN, infinity, a repeated key, a whole number beyond 64 bits or unusable text,
            or exceeds `max_bytes` or `MAX_DEPTH`.
    """
    if len(text) > max_bytes:
        raise UserError(f"{name}: more than {max_bytes} bytes; expected a smaller JSON file")
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        values = json.loads(
            decoded,
            object_pairs_hook=_unique_keys,
            parse_int=_whole_number,
            parse_float=_finite_number,
            parse_constant=_refuse_constant,
        )
        _check_depth(values)
        if _MAY_BE_UNUSABLE.search(decoded):
            _check_text(values)
    except RecursionError as error:
        raise UserError(f"{name}: not valid JSON: more than {MAX_DEPTH} levels of objects and lists") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError among them
        raise UserError(f"{name}: not valid JSON: {escape(str(error))}") from error
    return values


_TYPES: dict[Any, str] = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false"}
_TYPES[type(None)] = "null"


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _InvalidError(f"the key {next(key for key in values if keys.count(key) > 1)!r} is given twice")
    return values


def _whole_number(text: str) -> int:
    digits = len(text.lstrip("-"))
    if digits > MAX_DIGITS:
        raise _InvalidError(f"a whole number of {digits} digits")
    return int(text)


def _finite_number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _InvalidError("a number too large for 64 bits")
    return value


def _refuse_constant(text: str) -> None:
    raise _InvalidError(f"{text} is not a JSON number")


def _check_depth(values: Any) -> None:
    """Refuse deep nesting, level by level, so that depth costs no stack."""
    level = [values] if isinstance(values, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        items = (item for held in level for item in (held.values() if isinstance(held, dict) else held))
        level = [item for item in items if isinstance(item, (dict, list))]
        if not level:
            return
    raise RecursionError


def _check_text(values: Any) -> None:
    """Refuse unusable text among the keys and values."""
    if isinstance(values, dict):
        _check_text([*values, *values.values()])
    elif isinstance(values, list):
        for value in values:
            _check_text(value)
    elif isinstance(values, str) and _UNUSABLE.search(values):
        raise _InvalidError("text with NUL or half a character")
