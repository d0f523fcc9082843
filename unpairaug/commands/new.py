"""`unpairaug new`: a package with a component of your own, as a template."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from unpairaug.commands.output import print_result


class Kind(str, Enum):
    """What a package can define."""

    TASK = "task"
    TRANSLATOR = "translator"
    HEAD = "head"
    LOSS = "loss"


def new(
    kind: Annotated[Kind, typer.Argument(metavar="task|translator|head|loss", help="What the package defines.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name in recipes, such as rain_removal.")],
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write; by default one of that name here.")
    ] = None,
) -> None:
    """Write a small package with a task, translator, head or loss of your own.

    It works unchanged: a class, a recipe that trains on the sample photographs in seconds, a test. Existing files
    are not overwritten.

    Example: unpairaug new head my_head
    """
    from unpairaug.registry.new import write_package

    package = write_package(kind.value, name, folder)
    for file in sorted(path for path in package.rglob("*") if path.is_file()):
        print_result(str(file))
    print_result(f"\n{package / 'README.md'} says how to test, train and install it.")
