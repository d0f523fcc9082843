"""`unpairaug arrange`: a published data set into the folders of its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def arrange(
    benchmark: Annotated[
        str, typer.Argument(help="ntire2017_track2, ntire2018_track2, realsr, dped or sidd.", metavar="NAME")
    ],
    source: Annotated[Path, typer.Argument(help="Where the data set was unpacked.", metavar="SRC")],
    target: Annotated[Path, typer.Argument(help="New folder for what comes out.", metavar="OUT")],
    scale: Annotated[
        int | None, typer.Option(min=1, help="For data sets of several scales; by default the recipe's.")
    ] = None,
) -> None:
    """Arrange a published data set into clean, degraded, validation and ceiling images, without a scene on both sides.

    Downloads nothing. Files that can stay as they are become links, so keep SRC where it is. Given again, it goes on or
    finds all done. Prints the command that trains the recipe of the same name on it.
    """
    from unpairaug.benchmarks.arrange import arrange

    print(arrange(benchmark, source.expanduser(), target.expanduser(), scale))
