"""Make a picture of details side by side: the input, restored versions and the ground truth, one row per detail.

The picture of the README, from the runs of docs/results (City100, MIT licence, Chen et al. 2019):

    unpairaug restore runs/city100_x2/floor_0 city100_x2/val_degraded restored/floor
    unpairaug restore runs/city100_x2/cyclesr_sr_0 city100_x2/val_degraded restored/cyclesr_sr
    python docs/images/comparison.py docs/images/city100.webp --degraded city100_x2/val_degraded \
        --clean city100_x2/val_clean --restored "trained on bicubic pairs=restored/floor" \
        --restored "unpairaug=restored/cyclesr_sr" --detail 055:75,295 --detail 057:318,425
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from PIL import Image, ImageDraw, ImageFont

SIDE, ENLARGE, GAP, TITLE = 96, 3, 6, 30
"""Pixels of a detail in the ground truth, its enlargement, and pixels between details and of the titles."""


def cut(image: Image.Image, full: tuple[int, int], left: int, top: int) -> Image.Image:
    """Cut a detail out of an image that is first enlarged to the size of the ground truth, and enlarge it."""
    image = image.convert("RGB").resize(full, Image.Resampling.BICUBIC)
    detail = image.crop((left, top, left + SIDE, top + SIDE))
    return detail.resize((SIDE * ENLARGE, SIDE * ENLARGE), Image.Resampling.NEAREST)


def main(
    out: Path,
    degraded: Annotated[Path, typer.Option(help="Folder of degraded images.")],
    clean: Annotated[Path, typer.Option(help="Folder of ground truth.")],
    restored: Annotated[list[str], typer.Option(help="TITLE=FOLDER of restored images.")],
    detail: Annotated[list[str], typer.Option(help="NAME:LEFT,TOP of a detail, in pixels of the ground truth.")],
) -> None:
    """Write the picture to OUT."""
    columns = [("input, enlarged", degraded), *((title, Path(folder)) for title, _, folder in map(split, restored))]
    columns.append(("ground truth", clean))
    width, pitch = SIDE * ENLARGE, SIDE * ENLARGE + GAP
    picture = Image.new("RGB", (len(columns) * pitch - GAP, TITLE + len(detail) * pitch - GAP), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=18)
    for column, (title, folder) in enumerate(columns):
        draw.text((column * pitch + width / 2, TITLE / 2), title, "black", font, anchor="mm")
        for row, (name, _, corner) in enumerate(one.partition(":") for one in detail):
            left, top = map(int, corner.split(","))
            full = Image.open(clean / f"{name}.png").size
            picture.paste(
                cut(Image.open(folder / f"{name}.png"), full, left, top), (column * pitch, TITLE + row * pitch)
            )
    picture.save(out, quality=90, method=6)


def split(option: str) -> tuple[str, str, str]:
    """Split TITLE=FOLDER."""
    return option.partition("=")


if __name__ == "__main__":
    typer.run(main)
