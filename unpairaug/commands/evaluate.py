"""`unpairaug evaluate`: a model's metrics on images whose clean twins are known."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[str, typer.Argument(help="Run folder, its head/ folder, hub id, or 'bicubic'.", metavar="MODEL")],
    degraded: Annotated[str, typer.Option(help="Folder or shards of degraded images, or 'sample'.", metavar="DIR")],
    clean: Annotated[
        str, typer.Option(help="Their clean twins, likewise, with the same names but for the extension.", metavar="DIR")
    ],
    json: Annotated[Path | None, typer.Option(help="Also write the results here.", metavar="FILE")] = None,
    border: Annotated[
        int | None, typer.Option(min=0, help="Pixels left out on every side; by default the scale, or 0 at scale 1.")
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(min=1, help="Side in pixels of the tiles of a degraded image; by default it stays whole."),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(min=1, help="Enlargement by 'bicubic'; by default read off the images, or 2 for 'sample'."),
    ] = None,
) -> None:
    """Measure how close a model's restored images come to the clean ones.

    Prints PSNR and SSIM of every image and their means. Under `accelerate launch` the processes share the images.
    """
    from unpairaug.evaluate import evaluate, processes, table, write_json

    results = evaluate(model, degraded, clean, border, tile, scale)
    if processes().is_main_process:
        print(table(results))
        if json is not None:
            write_json(results, json)
