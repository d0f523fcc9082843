"""The option `--ray` of the commands that work in parts."""

from __future__ import annotations

from typing import Annotated

import typer

Ray = Annotated[
    int | None,
    typer.Option(
        min=1, help="Number of Ray actors, which replace local processes.", metavar="ACTORS", show_default=False
    ),
]
