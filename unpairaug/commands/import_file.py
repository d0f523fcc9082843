"""`unpairaug import`: another program's configuration as a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unpairaug.commands.output import print_result


def import_command(
    file: Annotated[str, typer.Argument(help="CycleSR's YAML of Vega, or an option file of BasicSR.", metavar="FILE")],
    out: Annotated[
        Path | None, typer.Option(help="Recipe to write; by default the file's name with .recipe.yaml.", metavar="FILE")
    ] = None,
) -> None:
    """Turn another program's configuration into a recipe, key by key; print what is lost and what did nothing there.

    Example: unpairaug import train_EDSR_Lx2.yml --out mine.yaml
    """
    from unpairaug.data.files import write_file
    from unpairaug.errors import UserError, escape
    from unpairaug.recipe.imported import import_file

    found = import_file(file)
    target = out or Path(file).with_suffix(".recipe.yaml")
    if target.exists():
        raise UserError(f"{escape(target)} exists already, and nothing is overwritten: give another --out")
    write_file(target, found.to_yaml().encode())
    print_result(found.report())
    print(f"{escape(target)}: the recipe. Next: unpairaug check {escape(target)}")
