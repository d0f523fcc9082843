"""`unpairaug restore`: a trained head on an image or a folder of images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer


def restore(
    model: Annotated[
        str, typer.Argument(help="Run folder, its head/ folder, hub id, or 'bicubic' with --scale.", metavar="MODEL")
    ],
    source: Annotated[Path, typer.Argument(help="An image, or a folder of images.", metavar="IN")],
    target: Annotated[
        Path, typer.Argument(help="Folder for the restored images, or a PNG file for a single one.", metavar="OUT")
    ],
    tile: Annotated[
        int | None,
        typer.Option(min=1, help="Side in pixels of the tiles of an image; by default it stays whole."),
    ] = None,
    scale: Annotated[
        int | None, typer.Option(min=1, help="Enlargement by 'bicubic'; a trained head knows its own.")
    ] = None,
) -> None:
    """Restore photographs of any size with a trained head.

    A folder keeps its tree; results are PNG files. What cannot be read is named at the end; the rest is restored.
    """
    from unpairaug.restore import load_model, outputs_of, restore_files

    outputs = outputs_of(source, target)
    for _ in _followed(restore_files(load_model(model, scale), outputs, tile), len(outputs)):
        pass


def _followed(files: Iterator[Path], total: int) -> Iterator[Path]:
    """The files as they come, with rate and time left: a bar on a terminal, else a plain line now and then."""
    import sys

    from tqdm import tqdm

    if sys.stderr.isatty():
        yield from tqdm(files, total=total, unit=" images")
    else:
        yield from _logged(files, total)


def _logged(files: Iterator[Path], total: int, every: float = 10.0) -> Iterator[Path]:
    """The files as they come; about every `every` seconds, and for the last one, a line on stderr."""
    import time

    from unpairaug.progress import duration

    start = told = time.monotonic()
    for done, file in enumerate(files, 1):
        now = time.monotonic()
        if done == total or now - told >= every:
            told, rate = now, done / max(now - start, 1e-9)
            typer.echo(
                f"{done}/{total} images, {rate:.2f} images/s, {duration((total - done) / rate)} left: {file}", err=True
            )
        yield file
