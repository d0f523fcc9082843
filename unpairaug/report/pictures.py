"""The pictures of a page: sheets as they were saved, and real images through the trained head."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from unpairaug.data.decode import Array
from unpairaug.data.images import ImageSet
from unpairaug.data.sources import open_images
from unpairaug.errors import UserError
from unpairaug.report.record import Record
from unpairaug.restoring.restore import Bicubic, Restorer, load_model, restore_image

MOST_SHEETS = 16
SHEET_WIDTH = 1400
"""Pixels; wider sheets are shrunk."""
MOST_REAL = 4
REAL_SIDE = 640
"""Pixels of a restored image that is shown; of larger ones the middle is."""
SHEET_QUALITY, REAL_QUALITY = 82, 90
"""Of WebP."""


@dataclass(frozen=True)
class Picture:
    """An image inside the page."""

    address: str
    """`data:` and the file itself."""
    width: int
    height: int


@dataclass(frozen=True)
class Sheet:
    """What the translator and the head made of a few samples after so many steps."""

    step: int
    picture: Picture


@dataclass(frozen=True)
class Comparison:
    """A real image before and after."""

    name: str
    before: Picture
    after: Picture
    is_cut: bool
    """Whether only the middle of the image is shown."""


@dataclass
class Shown:
    """Pictures, and in words why there are no others."""

    pictures: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def embed(image: Image.Image, quality: int) -> Picture:
    """The image as WebP, in the address itself."""
    file = BytesIO()
    image.convert("RGB").save(file, "WEBP", quality=quality, method=4)
    return Picture(f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}", *image.size)


def sheets_of(record: Record) -> Shown:
    """The picture sheets, the first and the last among them where there are too many for a page."""
    shown = Shown()
    for at in spread(len(record.sheets), MOST_SHEETS):
        step, path = record.sheets[at]
        try:
            with Image.open(path) as sheet:
                sheet.thumbnail((SHEET_WIDTH, 100 * SHEET_WIDTH), Image.Resampling.LANCZOS)
                shown.pictures.append(Sheet(step, embed(sheet, SHEET_QUALITY)))
        except OSError:
            shown.notes.append(f"samples/{path.name} is broken and left out.")
    if len(record.sheets) > MOST_SHEETS:
        shown.notes.append(f"{MOST_SHEETS} of {len(record.sheets)} sheets are shown; the others lie in samples/.")
    if not record.sheets:
        shown.notes.append("The folder has no picture sheets: train.sample_every says how often one is made.")
    return shown


def comparisons_of(record: Record) -> Shown:
    """A few real images enlarged by bicubic interpolation, and restored by the head that the folder holds.

    Validation images where the recipe names some, for training has not seen them.
    """
    data = record.section("data")
    side = "val_degraded" if data.get("val_degraded") else "degraded"
    if not data.get(side):
        return Shown(notes=["The recipe names no degraded images, so none is restored here."])
    try:
        task = load_model(str(record.folder))
        images = open_images(data[side], side, task.scale)
        found = [_comparison(task, images, at) for at in spread(len(images), MOST_REAL)]
    except UserError as error:
        return Shown(notes=[f"No image is restored here: {error}."])
    seen = "validation images, which training has not seen" if side == "val_degraded" else "of the training images"
    return Shown(found, [f"{len(found)} {seen}: data.{side}."])


def _comparison(task: Restorer, images: ImageSet, at: int) -> Comparison:
    image = images[at]
    middle = _middle(image, REAL_SIDE // task.scale)
    before, after = (restore_image(restorer, middle) for restorer in (Bicubic(task.scale), task))
    pictures = (embed(Image.fromarray(made), REAL_QUALITY) for made in (before, after))
    return Comparison(images.stem(at), *pictures, is_cut=middle.shape != image.shape)


def _middle(image: Array, side: int) -> Array:
    """At most `side` pixels each way, from the middle of (H, W, 3)."""
    top, left = (max(0, (size - side) // 2) for size in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def spread(count: int, most: int) -> list[int]:
    """At most so many of `count` places, evenly from the first to the last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
