"""What a command prints: a text for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unpairaug.errors import escape_lines

Json = Annotated[
    Path | None, typer.Option(help="Also write the result to this JSON file; - prints it instead.", metavar="FILE")
]
STDOUT = Path("-")


def print_result(text: str, json: Path | None = None) -> None:
    """Print a text without control characters; on standard error where JSON goes to standard output."""
    print(escape_lines(text), file=sys.stderr if json == STDOUT else sys.stdout, flush=True)


def write_result(values: Mapping[str, Any], json: Path | None) -> None:
    """Write a result to a JSON file, or to standard output for `-`; nothing for None.

    Raises:
        WriteError: the file cannot be written.
    """
    if json is None:
        return
    from unpairaug.evaluation.results import format_json, write_json

    if json == STDOUT:
        print(format_json(values))
    else:
        write_json(values, json)
