"""`unpairaug prepare`: sub-images and shards from a folder of photographs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

Stride = Annotated[
    int | None,
    typer.Option(
        min=1, help="Pixels from one sub-image to the next, by default half the size; the last lies at the border."
    ),
]
Scale = Annotated[
    int,
    typer.Option(
        min=1,
        help="For degraded photographs: divides size and stride, so that 480, 240 and 4 cut 120 pixels every 60. "
        "Nothing is resized.",
    ),
]
Detail = Annotated[
    float,
    typer.Option(
        min=0, help="Leave out what is flatter: standard deviation of the grey image's Laplacian, in 8-bit steps."
    ),
]
OnBad = Annotated[
    Literal["raise", "skip"],
    typer.Option(help="What bad files are: a mistake that is told at the end (exit code 2), or left out."),
]


def prepare(
    source: Annotated[Path, typer.Argument(help="Folder of photographs, searched to any depth.", metavar="SRC")],
    target: Annotated[Path, typer.Argument(help="New folder for what comes out.", metavar="OUT")],
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the sub-images in pixels; by default photographs stay whole."),
    ] = None,
    stride: Stride = None,
    scale: Scale = 1,
    min_detail: Detail = 0.0,
    shards: Annotated[bool, typer.Option("--shards", help="Write WebDataset shards instead of files.")] = False,
    shard_size: Annotated[int, typer.Option(min=1, help="Bound of a shard in MiB.")] = 256,
    licences: Annotated[
        Path | None,
        typer.Option(help="CSV file: file names, then columns that go into the manifest.", metavar="FILE"),
    ] = None,
    on_bad: OnBad = "raise",
    max_bad: Annotated[float, typer.Option(min=0, max=1, help="Stop when a larger share of the files is bad.")] = 0.1,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one a core.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Remove what an earlier `prepare` wrote to OUT.")] = False,
) -> None:
    """Cut photographs into sub-images, and pack them into shards.

    What is killed goes on where it was when the same command is given again, and ends with the same bytes. A manifest
    says where each image comes from.
    """
    import os

    from unpairaug.prepare.cut import Cut
    from unpairaug.prepare.run import Preparation
    from unpairaug.terminal.progress import with_progress

    cut = Cut.from_options(size, stride, scale, min_detail)
    bound = shard_size * 2**20 if shards else None
    with _stoppable(target):
        preparation = Preparation(source, target, cut, shard_bytes=bound, licences=licences, max_bad=max_bad)
        with (
            preparation.lock_target(force),
            closing(preparation.cut_photographs(workers or os.cpu_count() or 1)) as work,
        ):
            was_done = preparation.is_done
            for done in with_progress(work, preparation.remaining):
                if done.problem is not None:
                    typer.echo(f"bad: {done.problem}", err=True)
            summary = preparation.finish(on_bad)
            print(f"{summary}\nnothing to do: all was there already" if was_done else summary)


@contextmanager
def _stoppable(target: Path) -> Iterator[None]:
    """Answer Ctrl-C and SIGTERM with one line and exit code 130."""
    import signal

    from unpairaug.errors import escape

    def stop(_: int, __: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped; what is complete stays in {escape(target)}, and the same command goes on", err=True)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
