"""`unpairaug degrade`: a trained translator on a folder of images, or on shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Strength = Annotated[
    str,
    typer.Option(
        help="Share of the translation: a number, or LOW,HIGH to draw one for each image; 0 leaves the source."
    ),
]
Scale = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Where MODEL is no run folder: side of the clean image over that of the degraded one, by default 1. "
        "A run knows its own.",
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        min=16, help="Side in pixels of the tiles of a large image; by default 512 for sources above a megapixel."
    ),
]
Shards = Annotated[
    bool | None, typer.Option("--shards/--files", help="Write WebDataset shards, or files; by default what IN is.")
]
Ray = Annotated[
    int | None, typer.Option(min=1, help="Let so many actors of Ray do the work.", metavar="ACTORS", show_default=False)
]


def degrade(
    model: Annotated[str, typer.Argument(help="Run folder, its translator/ folder, or hub id.", metavar="MODEL")],
    source: Annotated[
        str, typer.Argument(help="Folder of clean images, WebDataset shards (braces, folder, URL).", metavar="IN")
    ],
    target: Annotated[Path, typer.Argument(help="New folder for what comes out.", metavar="OUT")],
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Write the clean images, too: folders gt/ and lq/ with the same names.")
    ] = False,
    draws: Annotated[int, typer.Option(min=1, help="Degraded images for each clean one.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Another one makes other noise.")] = 0,
    strength: Strength = "1",
    scale: Scale = None,
    tile: Tile = None,
    shards: Shards = None,
    ray: Ray = None,
) -> None:
    """Degrade clean images as a trained translator does, for any training program.

    What is killed goes on where it was when the same command is given again, and ends with the same bytes, however many
    processes `accelerate launch` gives it. A manifest says how each image was made. What cannot be read is named at the
    end; the rest is done.
    """
    from unpairaug.degrading.degrade import Degradation
    from unpairaug.degrading.job import Job
    from unpairaug.degrading.work import degrade as do

    team = None
    if ray is not None:
        from unpairaug.degrading.ray_actors import ray_team

        team = ray_team(ray)
    how = Degradation(model, seed, _range(strength), scale, tile)
    if summary := do(Job(source, target.expanduser(), how, pairs, draws, shards), team):
        print(summary)


def _range(strength: str) -> tuple[float, float]:
    """The two ends of what `--strength` says."""
    from unpairaug.errors import UserError

    try:
        ends = [float(end) for end in strength.split(",")]
    except ValueError:
        ends = []
    if not 1 <= len(ends) <= 2 or not 0 <= ends[0] <= ends[-1] <= 2:
        raise UserError(f"--strength {strength}: expected a number such as 0.8, or two such as 0.5,1, from 0 to 2")
    return ends[0], ends[-1]
