"""`unpairaug prepare`: cut a folder of photographs into sub-images or shards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from unpairaug.prepare.run import Preparation

Stride = Annotated[
    int | None,
    typer.Option(
        min=1, help="Pixels from one sub-image to the next, by default half the size; the last one ends at the border."
    ),
]
Scale = Annotated[
    int,
    typer.Option(
        min=1,
        help="For degraded photographs: divides size and stride. Size 480, stride 240 and scale 4 cut 120 pixels every "
        "60 pixels. Nothing is resized.",
    ),
]
Detail = Annotated[
    float,
    typer.Option(
        min=0,
        help="Skip sub-images with less detail: standard deviation of the grey image's Laplacian, in 8-bit steps.",
    ),
]
OnBad = Annotated[
    Literal["raise", "skip"],
    typer.Option(help="Bad files: report an error at the end (exit code 2), or skip them."),
]


def prepare(
    source: Annotated[Path, typer.Argument(help="Folder of photographs, searched recursively.", metavar="SRC")],
    target: Annotated[Path, typer.Argument(help="New folder for the output.", metavar="OUT")],
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the sub-images in pixels; by default photographs are not cut."),
    ] = None,
    stride: Stride = None,
    scale: Scale = 1,
    min_detail: Detail = 0.0,
    shards: Annotated[bool, typer.Option("--shards", help="Write WebDataset shards instead of files.")] = False,
    shard_size: Annotated[int, typer.Option(min=1, help="Largest size of a shard in MiB.")] = 256,
    licences: Annotated[
        Path | None,
        typer.Option(help="CSV file: file names, then columns that are copied to the manifest.", metavar="FILE"),
    ] = None,
    on_bad: OnBad = "raise",
    max_bad: Annotated[float, typer.Option(min=0, max=1, help="Largest share of bad files.")] = 0.1,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each core.")] = None,
    force: Annotated[bool, typer.Option("--force", help="First remove earlier output from OUT.")] = False,
) -> None:
    """Cut photographs into sub-images, and optionally pack them into shards.

    Run the same command again to resume an interrupted run; the output has the same bytes. A manifest lists the origin
    of each image.

    Example: unpairaug prepare photographs prepared --size 480 --stride 240 --shards
    """
    import os

    from unpairaug.prepare.cut import Cut
    from unpairaug.prepare.run import Preparation

    cut = Cut.from_options(size, stride, scale, min_detail)
    bound = shard_size * 2**20 if shards else None
    with _stoppable(target):
        preparation = Preparation(source, target, cut, shard_bytes=bound, licences=licences, max_bad=max_bad)
        if preparation.skipped:
            typer.echo(f"warning: {preparation.skipped}", err=True)
        with preparation.lock_target(force):
            was_done = preparation.is_done
            _cut_photographs(preparation, workers or os.cpu_count() or 1)
            summary = preparation.finish(on_bad)
            print(f"{summary}\nnothing to do: the output is complete" if was_done else summary)


def _cut_photographs(preparation: Preparation, workers: int) -> None:
    """Cut what is left, with progress, and name the photographs that cannot be used."""
    from unpairaug.terminal.progress import with_progress

    with closing(preparation.cut_photographs(workers)) as work:
        for done in with_progress(work, preparation.remaining):
            if done.problem is not None:
                typer.echo(f"bad: {done.problem}", err=True)


@contextmanager
def _stoppable(target: Path) -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM with one line and exit code 130."""
    import signal

    from unpairaug.errors import escape

    def stop(_: int, __: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        message = f"stopped; completed output stays in {escape(target)}; run the same command again to resume"
        typer.echo(message, err=True)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
