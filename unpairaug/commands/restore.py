"""`unpairaug restore`: apply a trained head to an image or a folder of images."""

from pathlib import Path
from typing import Annotated

import typer

from unpairaug.commands.trust import TrustCode


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
        typer.Option(
            min=1, help="Side in pixels of the tiles of an image; by default only large images are cut into tiles."
        ),
    ] = None,
    scale: Annotated[int | None, typer.Option(min=1, help="Scale of 'bicubic'; a trained head has its own.")] = None,
    self_ensemble: Annotated[
        bool,
        typer.Option(
            "--self-ensemble", help="Average over the 8 rotations and flips of the image; takes 8 times as long."
        ),
    ] = False,
    trust_code: TrustCode = False,
) -> None:
    """Restore photographs of any size with a trained head.

    OUT keeps the folder structure of IN. Results are PNG files with the bit depth (8 or 16), alpha, colour profile and
    EXIF of the input. Files that cannot be read or written are skipped and named at the end.

    Example: unpairaug restore runs/cyclesr_sr photographs restored
    """
    from unpairaug.data.files import create_folder
    from unpairaug.errors import escape
    from unpairaug.restoring.files import plan_outputs, restore_files
    from unpairaug.restoring.restore import load_model
    from unpairaug.terminal.progress import with_progress

    unlistable = list[str]()
    outputs = plan_outputs(source, target, unlistable)
    place = target if source.is_dir() else next(iter(outputs.values()))
    create_folder(place if source.is_dir() else place.parent)  # before any work
    restored = restore_files(load_model(model, scale, trust_code=trust_code), outputs, tile, self_ensemble, unlistable)
    for _ in with_progress(map(escape, restored), len(outputs)):
        pass
    print(f"{len(outputs)} image{'s' if len(outputs) > 1 else ''} restored to {escape(place)}")
