"""`unpairaug degrade`: apply a trained translator to a folder of images or to shards."""

from __future__ import annotations

from typing import Annotated

import typer

from unpairaug.commands.output import print_result
from unpairaug.commands.ray import Ray
from unpairaug.commands.trust import TrustCode

Strength = Annotated[
    str,
    typer.Option(help="Blend of source (0) and translation (1): a number, or LOW,HIGH to draw one for each image."),
]
Scale = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Size ratio of clean to degraded images, if MODEL is not a run folder; by default 1.",
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        min=16, help="Side in pixels of the tiles of a large image; by default 512 for sources above one megapixel."
    ),
]
Shards = Annotated[
    bool | None,
    typer.Option("--shards/--files", help="Write WebDataset shards, or PNG files; by default the kind of IN."),
]


def degrade(
    model: Annotated[str, typer.Argument(help="Run folder, its translator/ folder, or hub id.", metavar="MODEL")],
    source: Annotated[
        str, typer.Argument(help="Folder of clean images, WebDataset shards (braces, folder, URL).", metavar="IN")
    ],
    target: Annotated[str, typer.Argument(help="New folder for the results, or its URL.", metavar="OUT")],
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Also write the clean images: folders gt/ and lq/ with the same names.")
    ] = False,
    draws: Annotated[int, typer.Option(min=1, help="Degraded images for each clean image.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
    strength: Strength = "1",
    scale: Scale = None,
    tile: Tile = None,
    shards: Shards = None,
    workers: Annotated[int, typer.Option(min=1, help="Local processes.")] = 1,
    ray: Ray = None,
    trust_code: TrustCode = False,
) -> None:
    """Degrade clean images with a trained translator, as training data for any program.

    An interrupted command continues when it is run again. The output is byte-identical for any number of processes of
    `accelerate launch`. A manifest records the settings of each image. Unreadable images are skipped and named at the
    end.

    Example: unpairaug degrade runs/cyclesr_sr photographs/clean pairs --pairs --draws 4
    """
    from unpairaug.batch.executor import Executor
    from unpairaug.data.remote_output import split_output
    from unpairaug.degrading.degrade import Degradation
    from unpairaug.degrading.job import Job
    from unpairaug.degrading.work import degrade as do

    folder, remote = split_output(target)
    how = Degradation(model, seed, _parse_strength(strength), scale, tile, trust_code)
    if summary := do(Job(source, folder, how, pairs, draws, shards, remote), Executor(workers, ray)):
        print_result(summary)


def _parse_strength(strength: str) -> tuple[float, float]:
    """Parse `--strength` to (low, high)."""
    from unpairaug.errors import UserError

    try:
        ends = [float(end) for end in strength.split(",")]
    except ValueError:
        ends = []
    if not 1 <= len(ends) <= 2 or not 0 <= ends[0] <= ends[-1] <= 2:
        raise UserError(f"--strength {strength}: expected a number such as 0.8, or two such as 0.5,1, from 0 to 2")
    return ends[0], ends[-1]
