"""`unpairaug evaluate`: metrics of a model on images with ground truth."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="Run folder, its head/ folder, hub id, 'bicubic', or a folder of images restored by another program.",
            metavar="MODEL",
        ),
    ],
    degraded: Annotated[str, typer.Option(help="Folder or shards of degraded images, or 'sample'.", metavar="DIR")],
    clean: Annotated[
        str, typer.Option(help="Their ground truth, with the same names apart from the extension.", metavar="DIR")
    ],
    json: Annotated[Path | None, typer.Option(help="Also write the results to this JSON file.", metavar="FILE")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Also write the table to this Markdown file.", metavar="FILE")
    ] = None,
    sheets: Annotated[
        Path | None,
        typer.Option(
            help="Folder for a PNG of each image: input, restored, ground truth, and error map.", metavar="DIR"
        ),
    ] = None,
    lpips: Annotated[bool, typer.Option("--lpips", help="Also measure LPIPS (extra 'perceptual').")] = False,
    dists: Annotated[bool, typer.Option("--dists", help="Also measure DISTS (extra 'perceptual').")] = False,
    border: Annotated[
        int | None, typer.Option(min=0, help="Pixels cropped from every side; by default the scale, or 0 at scale 1.")
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(min=1, help="Side in pixels of the tiles of a degraded image; by default images stay whole."),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(min=1, help="Scale of 'bicubic'; by default inferred from the image sizes, or 2 for 'sample'."),
    ] = None,
) -> None:
    """Compare a model's restored images with the ground truth.

    Prints PSNR and SSIM of every image and their means. Under `accelerate launch` the images are divided over the
    processes.
    """
    from unpairaug.evaluation.evaluate import evaluate, format_table, write_json, write_markdown
    from unpairaug.restoring.processes import process_state

    perceptual = [name for name, wanted in (("lpips", lpips), ("dists", dists)) if wanted]
    results = evaluate(model, degraded, clean, border, tile, scale, perceptual, sheets)
    if process_state().is_main_process:
        print(format_table(results))
        if json is not None:
            write_json(results, json)
        if markdown is not None:
            write_markdown(results, markdown)
