"""`unpairaug export`: write a trained head or translator as one file for other programs."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from unpairaug.commands.trust import TrustCode


class Format(str, Enum):
    """Format of the exported file."""

    onnx = "onnx"
    spandrel = "spandrel"
    ncnn = "ncnn"
    darktable = "darktable"
    safetensors = "safetensors"


def export(
    model: Annotated[
        str, typer.Argument(help="Run folder (its head), its head/ or translator/ folder, or hub id.", metavar="MODEL")
    ],
    out: Annotated[
        Path, typer.Argument(help="New file: .onnx, .pth, .safetensors, .param, or .dtmodel.", metavar="OUT")
    ],
    format: Annotated[
        Format,
        typer.Option(
            help="onnx: for onnxruntime, TensorRT and others; spandrel: for chaiNNer, ComfyUI and others; ncnn: for "
            "Upscayl and others; darktable: for darktable 5.6; safetensors: the head's state_dict and spec."
        ),
    ],
    license: Annotated[
        str | None, typer.Option(help="Licence of the weights, for the card: an SPDX expression.")
    ] = None,
    trust_code: TrustCode = False,
) -> None:
    """Write a trained head as one file, after loading it back and comparing its outputs; or a translator, as ONNX.

    Prints the largest difference from the file on random images of several sizes. Also writes a card for OpenModelDB,
    OUT.json. The random numbers of a translator are inputs of its file.

    Example: unpairaug export runs/cyclesr_sr head.onnx --format onnx
    """
    from unpairaug.errors import escape
    from unpairaug.export import export

    exported = export(model, out, format.value, license, trust_code)
    part = "head" if exported.part == "task" else "translator"
    print(f"{escape(exported.path)}: loaded back; largest difference from the {part} {exported.difference:.1e} (of 1)")
    print(f"{escape(exported.card)}: card for OpenModelDB")
    if exported.enlarge_first > 1:
        print(
            f"the network does not change the image size: enlarge images ×{exported.enlarge_first} by bicubic "
            f"interpolation first, as the head does"
        )
    if exported.left_out:
        print(exported.left_out)
