"""`unpairaug restore`: a trained head on an image or a folder of images."""

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
        typer.Option(min=1, help="Side in pixels of the tiles of an image; by default large images have some."),
    ] = None,
    scale: Annotated[
        int | None, typer.Option(min=1, help="Enlargement by 'bicubic'; a trained head knows its own.")
    ] = None,
    self_ensemble: Annotated[
        bool,
        typer.Option("--self-ensemble", help="Take the mean over the image's 8 turns and flips: 8 times the work."),
    ] = False,
) -> None:
    """Restore photographs of any size with a trained head.

    A folder keeps its tree; results are PNG files, as deep as the images (8 or 16 bits), with their alpha, colour
    profile and EXIF. What cannot be read is named at the end; the rest is restored.
    """
    from unpairaug.restoring.files import outputs_of, restore_files
    from unpairaug.restoring.restore import load_model
    from unpairaug.terminal.progress import with_progress

    outputs = outputs_of(source, target)
    for _ in with_progress(restore_files(load_model(model, scale), outputs, tile, self_ensemble), len(outputs)):
        pass
