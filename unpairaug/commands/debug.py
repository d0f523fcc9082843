"""`unpairaug debug`: look into what went wrong in a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from unpairaug.commands.trust import TrustCode

debug_app = typer.Typer(help="Look into what went wrong in a run.", no_args_is_help=True)


@debug_app.command("replay")
def replay(
    file: Annotated[
        Path, typer.Argument(help="The file that the run named, in its folder nonfinite/.", metavar="FILE")
    ],
    trust_code: TrustCode = False,
) -> None:
    """Take the step that was not finite again, and show each loss term and each network's gradient.

    The file holds the batch, the recipe and the state before the step; the images are not needed.
    """
    from unpairaug.errors import RunStopped, escape
    from unpairaug.training import replay as replays

    found = replays.replay(file, trust_code)
    print(f"step {found.step + 1}, samples {min(found.samples)} to {max(found.samples)}")
    width = max(map(len, found.values))
    for name, value in found.values.items():
        print(f"{escape(name):<{width}}  {value:<12.6g}{'' if math.isfinite(value) else '  not finite'}".rstrip())
    if found.first_layer:
        print(f"the first layer whose output is not finite: {escape(found.first_layer)}")
    if not found.bad():
        raise RunStopped(
            f"every value is finite here; in the run, these were not: {', '.join(found.names)}. Another device or "
            f"version may compute another result"
        )
