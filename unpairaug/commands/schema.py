"""`unpairaug schema`: the JSON schema of recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema(
    out: Annotated[
        Path | None, typer.Option(help="File to write; by default the schema is printed.", metavar="FILE")
    ] = None,
) -> None:
    """Print the JSON schema of recipes (draft 2020-12): every key, and the options of every component by its type.

    Components of installed packages are included. An editor completes and checks a recipe whose first line is
    `# yaml-language-server: $schema=FILE`.

    Example: unpairaug schema --out recipe.schema.json
    """
    from unpairaug.data.files import write_file
    from unpairaug.errors import escape
    from unpairaug.recipe.schema import recipe_schema, to_json

    text = to_json(recipe_schema())
    if out is None:
        print(text, end="")
        return
    write_file(out, text.encode())
    print(f"{escape(out)}: the JSON schema of recipes")
