"""The images of the page: saved picture sheets, and real images restored by the trained head."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from unpairaug.data.decode import Array, EncodedImage
from unpairaug.data.files import read_file
from unpairaug.data.images import ImageSet
from unpairaug.data.sources import open_images
from unpairaug.errors import UserError
from unpairaug.report.record import Record
from unpairaug.restoring.restore import Bicubic, Restorer, load_model, restore_image

MAX_SHEETS = 16
SHEET_WIDTH = 1400
"""Largest width of a sheet in pixels; wider sheets are resized."""
MAX_EXAMPLES = 4
EXAMPLE_SIDE = 640
"""Largest side of a restored image in pixels; larger images are cropped to their centre."""
SHEET_QUALITY, EXAMPLE_QUALITY = 82, 90
"""WebP quality."""


@dataclass(frozen=True)
class Picture:
    """An image embedded in the page."""

    address: str
    """`data:` URL with the file."""
    width: int
    height: int


@dataclass(frozen=True)
class Sheet:
    """A picture sheet of translator and head after a number of steps."""

    step: int
    picture: Picture


@dataclass(frozen=True)
class Comparison:
    """A real image before and after restoration."""

    name: str
    before: Picture
    after: Picture
    is_cut: bool
    """Whether the image was cropped to its centre."""


@dataclass
class Pictures:
    """Images, and notes on what is missing."""

    pictures: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def embed(image: Image.Image, quality: int) -> Picture:
    """Encode the image as a WebP data URL."""
    file = BytesIO()
    image.convert("RGB").save(file, "WEBP", quality=quality, method=4)
    return Picture(f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}", *image.size)


def load_sheets(record: Record) -> Pictures:
    """Load the picture sheets, at most `MAX_SHEETS` at even intervals with the first and the last."""
    pictures = Pictures()
    for at in evenly_spaced(len(record.sheets), MAX_SHEETS):
        step, path = record.sheets[at]
        try:
            encoded = EncodedImage(read_file(path), partial(str, path))
            pictures.pictures.append(Sheet(step, encoded.read(_embed_sheet)))
        except UserError:
            pictures.notes.append(f"samples/{path.name} cannot be read and is left out.")
    if len(record.sheets) > MAX_SHEETS:
        pictures.notes.append(f"{MAX_SHEETS} of {len(record.sheets)} sheets are shown; all are in samples/.")
    if not record.sheets:
        pictures.notes.append("The run has no picture sheets; train.sample_every sets their interval.")
    return pictures


def _embed_sheet(sheet: Image.Image) -> Picture:
    sheet.thumbnail((SHEET_WIDTH, 100 * SHEET_WIDTH), Image.Resampling.LANCZOS)
    return embed(sheet, SHEET_QUALITY)


def restore_examples(record: Record, trust_code: bool = False) -> Pictures:
    """Restore a few real images with the head of the run, beside bicubic interpolation (or the input at scale 1).

    Uses the degraded validation images if the recipe has any, otherwise those of training.
    """
    data = record.section("data")
    side = "val_degraded" if data.get("val_degraded") else "degraded"
    if not data.get(side):
        return Pictures(notes=["The recipe has no degraded images to restore."])
    try:
        task = load_model(str(record.folder), trust_code=trust_code)
        images = open_images(data[side], side, task.scale)
        found = [_restore_example(task, images, at) for at in evenly_spaced(len(images), MAX_EXAMPLES)]
    except UserError as error:
        return Pictures(notes=[f"No image could be restored: {error}."])
    kind = "validation images, not used for training" if side == "val_degraded" else "training images"
    return Pictures(found, [f"{len(found)} {kind}, from data.{side}."])


def _restore_example(task: Restorer, images: ImageSet, at: int) -> Comparison:
    image = images[at]
    middle = _crop_center(image, EXAMPLE_SIDE // task.scale)
    before, after = (restore_image(restorer, middle) for restorer in (Bicubic(task.scale), task))
    pictures = (embed(Image.fromarray(made), EXAMPLE_QUALITY) for made in (before, after))
    return Comparison(images.stem(at), *pictures, is_cut=middle.shape != image.shape)


def _crop_center(image: Array, side: int) -> Array:
    """Crop (H, W, 3) to at most `side` pixels in each direction around its centre."""
    top, left = (max(0, (size - side) // 2) for size in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def evenly_spaced(count: int, most: int) -> list[int]:
    """At most `most` of `count` indices at even intervals, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
