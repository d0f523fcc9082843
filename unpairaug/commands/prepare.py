"""`unpairaug prepare`: cut a folder of photographs into sub-images or shards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unpairaug.commands.output import print_result
from unpairaug.commands.ray import Ray

if TYPE_CHECKING:
    from unpairaug.batch.executor import Executor
    from unpairaug.data.remote_output import RemoteOutput
    from unpairaug.prepare.run import Preparation

Photographs = Annotated[
    str, typer.Argument(help="Folder of photographs or its URL, searched recursively.", metavar="SRC")
]
Size = Annotated[
    int | None, typer.Option(min=1, help="Side of the sub-images in pixels; by default photographs are not cut.")
]
LicencesFile = Annotated[
    Path | None,
    typer.Option(help="CSV file: file names, then columns that are copied to the manifest.", metavar="FILE"),
]
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
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each core.")]
OnBad = Annotated[
    Literal["raise", "skip"],
    typer.Option(help="Bad files: report an error at the end (exit code 2), or skip them."),
]


def prepare(
    source: Photographs,
    target: Annotated[str, typer.Argument(help="New folder for the output, or its URL.", metavar="OUT")],
    size: Size = None,
    stride: Stride = None,
    scale: Scale = 1,
    min_detail: Detail = 0.0,
    shards: Annotated[bool, typer.Option("--shards", help="Write WebDataset shards instead of files.")] = False,
    shard_size: Annotated[int, typer.Option(min=1, help="Largest size of a shard in MiB.")] = 256,
    licences: LicencesFile = None,
    on_bad: OnBad = "raise",
    max_bad: Annotated[float, typer.Option(min=0, max=1, help="Largest share of bad files.")] = 0.1,
    workers: Workers = None,
    ray: Ray = None,
    force: Annotated[bool, typer.Option("--force", help="First remove earlier output from OUT.")] = False,
) -> None:
    """Cut photographs into sub-images, and optionally pack them into shards.

    Run the same command again to resume an interrupted run; the output has the same bytes. A manifest lists the origin
    of each image.

    Example: unpairaug prepare photographs prepared --size 480 --stride 240 --shards
    """
    import os

    from unpairaug.batch.executor import Executor
    from unpairaug.data.remote_output import split_output
    from unpairaug.prepare.cut import Cut
    from unpairaug.prepare.run import Preparation

    cut = Cut.from_options(size, stride, scale, min_detail)
    bound = shard_size * 2**20 if shards else None
    folder, remote = split_output(target)
    with _stoppable(target):
        if remote:
            remote.pull()
        preparation = Preparation(source, folder, cut, shard_bytes=bound, licences=licences, max_bad=max_bad)
        if preparation.skipped:
            typer.echo(f"warning: {preparation.skipped}", err=True)
        executor = Executor(workers or os.cpu_count() or 1, ray)
        with preparation.lock_target(force):
            print_result(_cut_photographs(preparation, executor, remote, on_bad))
        if remote:
            remote.finish()


def _cut_photographs(
    preparation: Preparation, executor: Executor, remote: RemoteOutput | None, on_bad: Literal["raise", "skip"]
) -> str:
    """Cut what is left, with progress, move it to a URL, and name the photographs that cannot be used; the summary."""
    from unpairaug.terminal.progress import with_progress

    was_done = preparation.is_done
    with closing(preparation.cut_photographs(executor)) as work:
        for done in with_progress(work, preparation.remaining):
            if done.problem is not None:
                typer.echo(f"bad: {done.problem}", err=True)
            if remote:
                remote.push_new(preparation.journal.path)
    if remote:
        remote.push_new(preparation.journal.path)
    summary = preparation.finish(on_bad)
    return f"{summary}\nnothing to do: the output is complete" if was_done else str(summary)


@contextmanager
def _stoppable(target: str) -> Iterator[None]:
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
