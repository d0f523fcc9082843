"""`unpairaug restore`: apply a trained head to an image or a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unpairaug.commands.ray import Ray
from unpairaug.commands.trust import TrustCode

if TYPE_CHECKING:
    from unpairaug.batch.executor import Executor
    from unpairaug.restoring.files import MakeRestorer

Model = Annotated[
    str, typer.Argument(help="Run folder, its head/ folder, hub id, or 'bicubic' with --scale.", metavar="MODEL")
]
In = Annotated[str, typer.Argument(help="An image, a folder of images, or the URL of one.", metavar="IN")]
Out = Annotated[str, typer.Argument(help="Folder for the restored images or its URL, or a PNG file.", metavar="OUT")]
Tile = Annotated[
    int | None,
    typer.Option(
        min=1, help="Side in pixels of the tiles of an image; by default only large images are cut into tiles."
    ),
]
SelfEnsemble = Annotated[
    bool,
    typer.Option("--self-ensemble", help="Average over the 8 rotations and flips of the image; takes 8 times as long."),
]
Precision = Annotated[
    Literal["no", "bf16"],
    typer.Option(
        "--mixed-precision",
        help="bf16 takes half of the time on GPUs and CPUs with AVX512-BF16 or AMX; a warning below 48 dB.",
    ),
]


def restore(
    model: Model,
    source: In,
    target: Out,
    tile: Tile = None,
    scale: Annotated[int | None, typer.Option(min=1, help="Scale of 'bicubic'; a trained head has its own.")] = None,
    self_ensemble: SelfEnsemble = False,
    mixed_precision: Precision = "no",
    workers: Annotated[int, typer.Option(min=1, help="Local processes.")] = 1,
    ray: Ray = None,
    trust_code: TrustCode = False,
) -> None:
    """Restore photographs of any size with a trained head.

    OUT keeps the folder structure of IN. Results are PNG files with the bit depth (8 or 16), alpha, colour profile and
    EXIF of the input. Files that cannot be read or written are skipped and named at the end. An interrupted command
    continues when it is run again.

    Example: unpairaug restore runs/cyclesr_sr photographs restored
    """
    from unpairaug.batch.executor import Executor
    from unpairaug.data.remote_output import split_output
    from unpairaug.restoring.files import MakeRestorer

    folder, remote = split_output(target)
    make = MakeRestorer(model, scale, tile, self_ensemble, trust_code, remote, mixed_precision)
    _restore_images(make, source, folder, target, Executor(workers, ray))


def _restore_images(make: MakeRestorer, source: str, folder: Path, target: str, executor: Executor) -> None:
    """Restore what is left, with progress, and print a summary."""
    from unpairaug.data.files import create_folder
    from unpairaug.data.storage import is_url
    from unpairaug.errors import escape
    from unpairaug.restoring.files import plan_outputs
    from unpairaug.restoring.run import RestoreRun
    from unpairaug.terminal.progress import with_progress

    unlistable = list[str]()
    outputs = plan_outputs(source if is_url(source) else Path(source), folder, unlistable)
    is_folder = folder not in outputs.values()
    create_folder(folder if is_folder else folder.parent)  # before any work
    run = RestoreRun(make, outputs, folder, executor, unlistable)
    for _ in with_progress(map(escape, run.restore_remaining()), len(run.remaining)):
        pass
    earlier = len(outputs) - len(run.remaining)
    done = f"{len(outputs)} image{'s' if len(outputs) > 1 else ''} restored"
    place = target if is_folder else next(iter(outputs.values()))
    print(f"{done} to {escape(place)}{f', {earlier} of them by an earlier call' if earlier else ''}")
