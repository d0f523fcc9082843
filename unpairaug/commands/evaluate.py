"""`unpairaug evaluate`: metrics of a model on images with ground truth."""

from pathlib import Path
from typing import Annotated

import typer

from unpairaug.commands.output import Json, print_result, write_result
from unpairaug.commands.trust import TrustCode

Model = Annotated[
    str,
    typer.Argument(
        help="Run folder, its head/ folder, hub id, 'bicubic', or a folder of images restored by another program.",
        metavar="MODEL",
    ),
]
Degraded = Annotated[str, typer.Option(help="Folder or shards of degraded images, or 'sample'.", metavar="DIR")]
Clean = Annotated[
    str, typer.Option(help="Their ground truth, with the same names apart from the extension.", metavar="DIR")
]
Markdown = Annotated[Path | None, typer.Option(help="Also write the table to this Markdown file.", metavar="FILE")]
Sheets = Annotated[
    Path | None,
    typer.Option(help="Folder for a PNG of each image: input, restored, ground truth, and error map.", metavar="DIR"),
]
Border = Annotated[
    int | None, typer.Option(min=0, help="Pixels cropped from every side; by default the scale, or 0 at scale 1.")
]
Tile = Annotated[
    int | None,
    typer.Option(min=1, help="Side in pixels of the tiles of a degraded image; by default images stay whole."),
]
Scale = Annotated[
    int | None,
    typer.Option(min=1, help="Scale of 'bicubic'; by default inferred from the image sizes, or 2 for 'sample'."),
]
Modcrop = Annotated[
    bool, typer.Option("--modcrop", help="Crop the ground truth at right and bottom to a multiple of the scale.")
]

Shift = Annotated[bool, typer.Option("--shift", help="Also print the best PSNR over shifts of up to 10 pixels.")]


def evaluate(
    model: Model,
    degraded: Degraded,
    clean: Clean,
    json: Json = None,
    markdown: Markdown = None,
    sheets: Sheets = None,
    lpips: Annotated[bool, typer.Option("--lpips", help="Also measure LPIPS (extra 'perceptual').")] = False,
    dists: Annotated[bool, typer.Option("--dists", help="Also measure DISTS (extra 'perceptual').")] = False,
    cvvdp: Annotated[bool, typer.Option("--cvvdp", help="Also measure ColorVideoVDP (extra 'perceptual').")] = False,
    border: Border = None,
    tile: Tile = None,
    scale: Scale = None,
    modcrop: Modcrop = False,
    shift: Shift = False,
    trust_code: TrustCode = False,
) -> None:
    """Compare a model's restored images with the ground truth.

    Prints PSNR and SSIM of every image and their means. Under `accelerate launch` the images are divided over the
    processes. Images that cannot be read or measured are left out and named at the end (exit code 2), and so are files
    that cannot be written (exit code 1).

    Example: unpairaug evaluate runs/cyclesr_sr --degraded pairs/degraded --clean pairs/clean --json scores.json
    """
    from unpairaug.data.output_files import OutputFiles
    from unpairaug.evaluation.evaluate import evaluate
    from unpairaug.evaluation.results import describe_failed, format_table, write_markdown
    from unpairaug.restoring.processes import process_state

    perceptual = [name for name, wanted in (("lpips", lpips), ("dists", dists), ("cvvdp", cvvdp)) if wanted]
    files = OutputFiles()
    results = evaluate(
        model, degraded, clean, border, tile, scale, perceptual, sheets, trust_code, modcrop, "skip", files
    )
    if process_state().is_main_process:
        print_result(format_table(results, shift), json)
        if json is not None:
            with files.attempt():
                write_result(results, json)
        if markdown is not None:
            with files.attempt():
                write_markdown(results, markdown)
        files.check_complete(results.get("failed", []), describe_failed(results))
