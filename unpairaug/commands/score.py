"""`unpairaug score`: how close a translator comes to the real camera, where no pairs are known."""

from pathlib import Path
from typing import Annotated

import typer


def score(
    model: Annotated[
        str, typer.Argument(help="Run folder, its translator/ folder, hub id, or 'bicubic'.", metavar="MODEL")
    ],
    clean: Annotated[str, typer.Option(help="Folder or shards of clean images, or 'sample'.", metavar="DIR")],
    degraded: Annotated[str, typer.Option(help="Real degraded images of other scenes, likewise.", metavar="DIR")],
    json: Annotated[Path | None, typer.Option(help="Also write the scores here.", metavar="FILE")] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Where MODEL is no run folder: side of the clean image over that of the degraded one. A run knows its "
            "own.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other noise, images and windows.")] = 0,
    images: Annotated[int, typer.Option(min=2, help="Most images of each side that are looked at.")] = 64,
    backbone: Annotated[
        str | None,
        typer.Option(help="Let features of this network of timm be compared, not local spectra.", metavar="NAME"),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Its weights: 'hub' downloads them, 'random', or a file.", metavar="WEIGHTS")
    ] = "hub",
) -> None:
    """Say how far what a translator makes of clean images is from real degraded ones, which show something else.

    No pairs are needed. Prints each score beside that of plain reduction, and that of one half of the real images
    against the other: scenes alone make so much of a difference.
    """
    from unpairaug.evaluation.evaluate import write_json
    from unpairaug.scoring.score_model import backbone_features, score_model, table
    from unpairaug.scoring.two_sample import local_spectra

    features = backbone_features(backbone, weights) if backbone else local_spectra
    found = score_model(model, clean, degraded, scale, seed, images, features)
    print(table(found))
    if json is not None:
        write_json(found, json)
