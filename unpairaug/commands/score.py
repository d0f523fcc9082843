"""`unpairaug score`: how close a translator comes to the real camera, without pairs."""

from typing import Annotated

import typer

from unpairaug.commands.output import Json, print_result, write_result
from unpairaug.commands.trust import TrustCode


def score(
    model: Annotated[
        str, typer.Argument(help="Run folder, its translator/ folder, hub id, or 'bicubic'.", metavar="MODEL")
    ],
    clean: Annotated[str, typer.Option(help="Folder or shards of clean images, or 'sample'.", metavar="DIR")],
    degraded: Annotated[
        str, typer.Option(help="Folder or shards of real degraded images of other scenes, or 'sample'.", metavar="DIR")
    ],
    json: Json = None,
    scale: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Size ratio of clean to degraded images; needed if MODEL is not a run folder.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of noise, image selection and crops.")] = 0,
    images: Annotated[int, typer.Option(min=2, help="Largest number of images of each set.")] = 64,
    backbone: Annotated[
        str | None,
        typer.Option(help="Compare features of this timm network instead of local spectra.", metavar="NAME"),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Weights of the backbone: 'hub' (downloaded), 'random', or a file.", metavar="WEIGHTS")
    ] = "hub",
    trust_code: TrustCode = False,
) -> None:
    """Score how close a translator's images are to real degraded images of other scenes.

    Needs no pairs. Prints each score beside two references: plain downsampling, and one half of the real images against
    the other, which shows the effect of the scenes alone. Images that cannot be read are named (exit code 2); the
    others are scored.

    Example: unpairaug score runs/cyclesr_sr --clean photographs/clean --degraded photographs/degraded
    """
    from unpairaug.data.output_files import OutputFiles
    from unpairaug.scoring.score_model import UNREADABLE, backbone_features, format_table, score_model
    from unpairaug.scoring.two_sample import local_spectra

    features = backbone_features(backbone, weights) if backbone else local_spectra
    unreadable = list[str]()
    found = score_model(model, clean, degraded, scale, seed, images, features, trust_code, unreadable)
    print_result(format_table(found), json)
    write_result(found, json)
    OutputFiles().check_complete(unreadable, UNREADABLE)
