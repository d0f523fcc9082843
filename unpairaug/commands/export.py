"""`unpairaug export`: a trained head as one file for other programs."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Format(str, Enum):
    """What the file is for."""

    onnx = "onnx"
    spandrel = "spandrel"
    ncnn = "ncnn"
    safetensors = "safetensors"


def export(
    model: Annotated[str, typer.Argument(help="Run folder, its head/ folder, or hub id.", metavar="MODEL")],
    out: Annotated[Path, typer.Argument(help="The new file: .onnx, .pth, .safetensors, or .param.", metavar="OUT")],
    format: Annotated[
        Format,
        typer.Option(
            help="onnx: for onnxruntime, TensorRT and others; spandrel: for chaiNNer, ComfyUI and others; ncnn: for "
            "Upscayl and others; safetensors: the head's own weights and spec."
        ),
    ],
    license: Annotated[
        str | None, typer.Option(help="Licence of the weights, for the card: an SPDX expression.")
    ] = None,
) -> None:
    """Write a trained head as one file; it is loaded back and compared before it counts.

    Prints the largest difference between the head and the file on random images of several sizes. A card for
    OpenModelDB comes beside it: OUT.json.
    """
    from unpairaug.export import export

    exported = export(model, out, format.value, license)
    print(f"{exported.path}: loaded back, differs from the head by {exported.difference:.1e} at most (of 1)")
    print(f"{exported.card}: what is known of it, to publish it with")
    if exported.enlarge_first > 1:
        print(
            f"its network keeps the size: enlarge images ×{exported.enlarge_first} by bicubic interpolation first, "
            f"as the head does"
        )
