"""`unpairaug measure`: what the camera does, without training."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unpairaug.commands.output import Json, print_result, write_result

if TYPE_CHECKING:
    from unpairaug.measuring import Measurement


class Tool(str, Enum):
    """Tools whose degradation options can be written."""

    TRAINNER = "traiNNer"
    REAL_ESRGAN = "real-esrgan"
    ALBUMENTATIONS = "albumentations"


def measure(
    clean: Annotated[str, typer.Argument(help="Folder or shards of clean images, or 'sample'.", metavar="CLEAN")],
    degraded: Annotated[
        str,
        typer.Argument(
            help="Folder or shards of real degraded images of other scenes, or 'sample'.", metavar="DEGRADED"
        ),
    ],
    output: Annotated[
        Path, typer.Option(help="Folder for the measured camera; older files in it are replaced.", metavar="DIR")
    ] = Path("measured_camera"),
    scale: Annotated[int, typer.Option(min=1, help="Size ratio of clean to degraded images.")] = 1,
    same_optics: Annotated[
        bool, typer.Option("--same-optics", help="Clean images have the same optics: measure noise and JPEG alone.")
    ] = False,
    json: Json = None,
    format: Annotated[
        Tool | None, typer.Option(help="Also write the ranges found as this tool's degradation options, DIR/TOOL.yaml.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the crops that are looked at.")] = 0,
) -> None:
    """Measure a camera from two unpaired image sets: gain of the optics by frequency, noise by light, JPEG quality.

    Writes a translator folder with `camera.json` and `camera.png`. `unpairaug degrade DIR …`, `TranslatorAugment` and
    the recipe key `translator.from` take it.

    Example: unpairaug measure photographs/clean photographs/degraded --scale 2 --output my_camera
    """
    from unpairaug.evaluation.results import write_json
    from unpairaug.measuring.measurement import describe, measure
    from unpairaug.measuring.picture import write_picture

    found = measure(clean, degraded, scale, "noise" if same_optics else "all", seed)
    print_result(describe(found), json)
    found.save(output)
    write_json(found.values(), output / "camera.json")
    write_picture(found, output / "camera.png")
    write_result(found.values(), json)
    if format is not None:
        file = output / f"{format.value}.yaml"
        _write_options(found, scale, format.value, file)
        print_result(f"{file}: blur, noise and JPEG ranges for {format.value}", json)
    print_result(f"{output}: the camera as a translator, camera.json, camera.png", json)


def _write_options(found: Measurement, scale: int, tool: str, file: Path) -> None:
    from unpairaug.data.files import write_file
    from unpairaug.measuring.tool_options import format_options

    write_file(file, format_options(found, scale, tool).encode())
