"""`unpairaug export`: a trained head as one file for other programs."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Format(str, Enum):
    """What the file is for."""

    spandrel = "spandrel"
    safetensors = "safetensors"


def export(
    model: Annotated[str, typer.Argument(help="Run folder, its head/ folder, or hub id.", metavar="MODEL")],
    out: Annotated[Path, typer.Argument(help="The new file: .pth or .safetensors.", metavar="OUT")],
    format: Annotated[
        Format,
        typer.Option(help="spandrel: for chaiNNer, ComfyUI and others; safetensors: the head's own weights and spec."),
    ],
) -> None:
    """Write a trained head as one file; it is loaded back and compared before it counts.

    Prints the largest difference between the head and the file on a random image.
    """
    from unpairaug.export import export

    exported = export(model, out, format.value)
    print(f"{exported.path}: loaded back, differs from the head by {exported.difference:.1e} at most (of 1)")
    if exported.enlarge_first > 1:
        print(
            f"its network keeps the size: enlarge images ×{exported.enlarge_first} by bicubic interpolation first, "
            f"as the head does"
        )
