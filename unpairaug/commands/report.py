"""`unpairaug report`: a run as one HTML page."""

from pathlib import Path
from typing import Annotated

import typer

from unpairaug.commands.trust import TrustCode


def report(
    run: Annotated[Path, typer.Argument(help="Run folder: the output_dir of a recipe.", metavar="RUN")],
    out: Annotated[Path | None, typer.Option(help="Output file; by default RUN/report.html.", metavar="FILE")] = None,
    trust_code: TrustCode = False,
) -> None:
    """Write one HTML page of a run: metrics, curves, images, warnings, recipe, environment.

    The page is self-contained and loads nothing from the network. It also works for incomplete runs and lists what is
    missing.

    Example: unpairaug report runs/cyclesr_sr
    """
    from unpairaug.errors import escape
    from unpairaug.report import write_report

    page = write_report(run, out, trust_code)
    print(f"{escape(page)}: {page.stat().st_size / 1e6:.1f} MB")
