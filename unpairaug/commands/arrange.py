"""`unpairaug arrange`: arrange a published data set into the folders of its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unpairaug.commands.output import print_result


def arrange(
    benchmark: Annotated[
        str, typer.Argument(help="ntire2017_track2, ntire2018_track2, realsr, dped or sidd.", metavar="NAME")
    ],
    source: Annotated[Path, typer.Argument(help="Folder of the unpacked data set.", metavar="SRC")],
    target: Annotated[Path, typer.Argument(help="New folder for the output.", metavar="OUT")],
    scale: Annotated[
        int | None, typer.Option(min=1, help="Scale, for data sets with several; by default that of the recipe.")
    ] = None,
) -> None:
    """Arrange a published data set into clean, degraded, validation and ceiling images, without a scene on both sides.

    Downloads nothing. Unchanged files become links, so keep SRC in its place. Run the same command again to resume.
    Prints the command that trains the recipe of the same name on the data.

    Example: unpairaug arrange ntire2017_track2 DIV2K ntire2017_track2
    """
    from unpairaug.benchmarks.arrange import arrange

    print_result(arrange(benchmark, source.expanduser(), target.expanduser(), scale))
