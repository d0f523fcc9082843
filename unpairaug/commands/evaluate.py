"""`unpairaug evaluate`: a model's metrics on images whose clean twins are known."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="Run folder, its head/ folder, hub id, 'bicubic', or a folder of images that something else restored.",
            metavar="MODEL",
        ),
    ],
    degraded: Annotated[str, typer.Option(help="Folder or shards of degraded images, or 'sample'.", metavar="DIR")],
    clean: Annotated[
        str, typer.Option(help="Their clean twins, likewise, with the same names but for the extension.", metavar="DIR")
    ],
    json: Annotated[Path | None, typer.Option(help="Also write the results here.", metavar="FILE")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write the table here.", metavar="FILE")] = None,
    sheets: Annotated[
        Path | None,
        typer.Option(
            help="Folder for a PNG of each image: enlarged, restored, clean, and their difference.", metavar="DIR"
        ),
    ] = None,
    lpips: Annotated[bool, typer.Option("--lpips", help="Measure LPIPS, too (extra 'perceptual').")] = False,
    dists: Annotated[bool, typer.Option("--dists", help="Measure DISTS, too (extra 'perceptual').")] = False,
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
    from unpairaug.evaluation.evaluate import evaluate, table, write_json, write_markdown
    from unpairaug.restoring.processes import processes

    perceptual = [name for name, wanted in (("lpips", lpips), ("dists", dists)) if wanted]
    results = evaluate(model, degraded, clean, border, tile, scale, perceptual, sheets)
    if processes().is_main_process:
        print(table(results))
        if json is not None:
            write_json(results, json)
        if markdown is not None:
            write_markdown(results, markdown)
