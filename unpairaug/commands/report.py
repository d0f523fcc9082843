"""`unpairaug report`: a run as one HTML page."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Run folder: the output_dir of a recipe.", metavar="RUN")],
    out: Annotated[Path | None, typer.Option(help="The page; by default RUN/report.html.", metavar="FILE")] = None,
) -> None:
    """Write one HTML page that shows a run: figures, curves, pictures, warnings, recipe, environment.

    The page carries everything it shows and fetches nothing. What a run lacks, say one that was killed, it
    says in words.
    """
    from unpairaug.errors import escape
    from unpairaug.report import write_report

    page = write_report(run, out)
    print(f"{escape(page)}: {page.stat().st_size / 1e6:.1f} MB")
