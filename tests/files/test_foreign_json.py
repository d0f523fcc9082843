"""JSON of foreign origin: what is read, and what is refused in one message."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from unpairaug.errors import UserError
from unpairaug.files import parse_json, parse_json_object, read_json

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
numbers = st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_what_json_writes_is_read_back(value: Any):
    assert parse_json(json.dumps(value), "a.json") == value


REFUSED = {
    "cut": ('{"a": 1', "not valid JSON"),
    "NaN": ('{"a": NaN}', "NaN is not a JSON number"),
    "infinity": ('{"a": -Infinity}', "Infinity is not"),
    "too large a float": ('{"a": 1e999}', "too large for 64 bits"),
    "a huge whole number": (f'{{"a": {"9" * 5000}}}', "a whole number of 5000 digits"),
    "a repeated key": ('{"a": 1, "a": 2}', "'a' is given twice"),
    "depth": ("[" * 40 + "]" * 40, "more than 32 levels"),
    "depth beyond the stack": ("[" * 100_000, "more than 32 levels"),
    "half a character": ('{"a": "\\ud800"}', "half a character"),
    "NUL in a key": ('{"a\\u0000": 1}', "NUL"),
    "not UTF-8": (b'{"a": "\xff"}', "can't decode"),
    "too many bytes": ('{"a": "' + "x" * 1000 + '"}', "more than 1000 bytes"),
    "control characters": ('{"\x1b[31m": 1}', "Invalid control character"),
}


@pytest.mark.parametrize(("text", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_no_program_of_good_will_writes_is_refused(text: str | bytes, sentence: str):
    with pytest.raises(UserError, match=f"^a.json: .*{sentence}") as refused:
        parse_json(text, "a.json", max_bytes=1000 if "bytes" in sentence else 10**6)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(("text", "found"), [("[1]", "a list"), ("1", "a number"), ("null", "null"), ("true", "true")])
def test_an_object_is_asked_for_and_anything_else_named(text: str, found: str):
    with pytest.raises(UserError, match=f"expected a JSON object, found {found}"):
        parse_json_object(text, "a.json")


def test_a_file_that_cannot_be_read_or_has_no_end_is_one_message(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_json(tmp_path / "none.json")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_json(tmp_path)
    with pytest.raises(UserError, match="cannot be read: embedded null byte"):
        read_json(tmp_path / "a\0b")
    os.mkfifo(tmp_path / "pipe")
    for endless in (Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(UserError, match=f"{endless} is no regular file"):
            read_json(endless)
    (tmp_path / "good.json").write_text('{"a": [1, 2.5, "é"]}', encoding="utf-8")
    assert read_json(tmp_path / "good.json") == {"a": [1, 2.5, "é"]}
