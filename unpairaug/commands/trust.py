"""The option `--trust-code` of the commands that take a MODEL."""

from __future__ import annotations

from typing import Annotated

import typer

TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Import the code that the model names as module:Class, which runs it; only if you trust its author.",
    ),
]
