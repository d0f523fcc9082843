"""What the demo does with a photograph: restore it, degrade it, measure its camera."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image

from unpairaug.camera.measured_camera import Measure
from unpairaug.data.decode import Array, decode_image
from unpairaug.data.files import read_file
from unpairaug.data.images import write_image
from unpairaug.data.sources import SAMPLE, Source
from unpairaug.degrading.degrade import Degradation, Degrader
from unpairaug.errors import UserError, escape
from unpairaug.measuring.crops import CROP
from unpairaug.measuring.measurement import Measurement, measure
from unpairaug.measuring.picture import draw
from unpairaug.report.record import read_record
from unpairaug.restoring.restore import Bicubic, Restorer, best_device, load_model, restore_image
from unpairaug.sharing.pretrained import FOLDER, Part, part_spec

LARGEST_SIDE = 1024
"""Longest side in pixels of what is restored: a CPU needs seconds for it."""
LARGEST_DRAW = 512
"""Longest side in pixels of a draw, so that several have room beside each other."""
GAIN = re.compile(r"gain_[\d.]+")


class Comparison(NamedTuple):
    """A photograph before and after, as images of one size (H, W, 3), 8-bit RGB."""

    before: Array
    after: Array
    note: str
    """One sentence: what is shown of how large a photograph."""


class Draws(NamedTuple):
    """What a translator makes of a clean photograph."""

    pictures: list[tuple[Array, str]]
    """The clean photograph at the size of the degraded ones, and each draw, with its caption."""
    note: str
    """As that of `Comparison`."""


class Figures(NamedTuple):
    """The measured camera of one photograph."""

    rows: list[tuple[str, str, str]]
    """Name, figure of the photograph with its error, figure of the run's camera; the last is empty where unknown."""
    picture: Image.Image
    note: str
    """What the photograph was measured against."""


class DemoModel:
    """The head and the translator of a run, or the one of them that the model has."""

    def __init__(self, model: str, trust_code: bool = False) -> None:
        """Load the parts.

        Args:
            model: a run folder, the folder of one part, or a hub id.
            trust_code: see `Task.from_pretrained`.

        Raises:
            UserError: the model has neither part, or a part cannot be loaded.
        """
        self.name = model
        self.missing = _find_missing(model)
        """Why there is no head or no translator, by part."""
        self.head: Restorer | None = None if "task" in self.missing else load_model(model, trust_code=trust_code)
        self.degrader: Degrader | None = None
        if "translator" not in self.missing:
            self.degrader = Degrader(Degradation(model, trust_code=trust_code), best_device())
        self.clean: Source = SAMPLE
        """The clean images that a photograph is measured against: those of the run, or the sample."""
        self.what: Measure = "all"
        self.measured: dict[str, float] = {}
        """The figures of the camera that the run measured."""
        if (Path(model) / "recipe.yaml").is_file():
            self._follow_run(Path(model))

    def _follow_run(self, folder: Path) -> None:
        record = read_record(folder)
        self.clean = record.section("data").get("clean", SAMPLE)
        self.what = "noise" if record.section("translator").get("measure") == "noise" else "all"
        self.measured = next((line.values for line in record.of("camera")), {})

    @property
    def scale(self) -> int:
        """Size ratio of clean to degraded images."""
        if self.head is not None:
            return self.head.scale
        return 1 if self.degrader is None else self.degrader.scale

    def restore(self, path: str | os.PathLike[str]) -> Comparison:
        """The middle of a photograph, enlarged by bicubic interpolation at scales above 1, and restored.

        Raises:
            UserError: the file is no image, or the model has no head.
        """
        if self.head is None:
            raise UserError(self.missing["task"])
        degraded, note = _cut_middle(_read(path), LARGEST_SIDE // self.scale, "restore")
        return Comparison(restore_image(Bicubic(self.scale), degraded), restore_image(self.head, degraded), note)

    def degrade(self, path: str | os.PathLike[str], draws: int, seed: int) -> Draws:
        """The middle of a clean photograph, as `unpairaug degrade --draws DRAWS --seed SEED` degrades photographs.

        Args:
            path: the file.
            draws: number of degraded images, from 1.
            seed: of the noise, from 0.

        Raises:
            UserError: the file is no image, the image is too small, or the model has no translator.
        """
        if self.degrader is None:
            raise UserError(self.missing["translator"])
        degrader = copy(self.degrader)
        degrader.degradation = replace(degrader.degradation, seed=seed)
        clean, note = _cut_middle(degrader.crop(_read(path)), LARGEST_DRAW * degrader.scale, "degrade")
        height, width = (side // degrader.scale for side in clean.shape[:2])
        reduced = np.asarray(Image.fromarray(clean).resize((width, height), Image.Resampling.BICUBIC))
        made = [(degrader(clean, Path(path).name, i), f"draw {i + 1}") for i in range(draws)]
        return Draws([(reduced, "clean" if degrader.scale == 1 else "clean, reduced"), *made], note)

    def measure(self, path: str | os.PathLike[str]) -> Figures:
        """The camera of one degraded photograph, as `unpairaug measure` measures that of many.

        Its two halves are the degraded images, so that the figures have an error.

        Raises:
            UserError: the file is no image, or too small or dark to be measured, or the clean images cannot be read.
        """
        image, name = _read(path), Path(path).name
        longer = int(image.shape[1] > image.shape[0])
        halves = np.array_split(image, 2, axis=longer)
        if min(side for half in halves for side in half.shape[:2]) < CROP:
            size = f"{image.shape[1]}×{image.shape[0]} px"
            raise UserError(f"{escape(name)} has {size}; give a photograph of at least {2 * CROP}×{CROP} px")
        if not image.any():
            raise UserError(f"{escape(name)} is all black; give a photograph that shows something")
        with TemporaryDirectory() as folder:
            for i, half in enumerate(halves):
                write_image(Path(folder) / f"{i}.png", half)
            found = measure(self.clean, folder, self.scale, self.what)
        origin = "sample" if self.clean == SAMPLE else "run"
        note = f"Measured against the {found.images[0]} clean photographs of the {origin}; "
        note += "± is half the difference between the halves of this photograph. One photograph shows its scene, too: "
        note += "texture without smooth areas counts as noise. `unpairaug measure` takes many."
        return Figures(_list_rows(found, self.measured), draw(found), note)


def _find_missing(model: str) -> dict[Part, str]:
    """Why a model has no head or no translator, by part.

    Raises:
        UserError: it has neither.
    """
    missing: dict[Part, str] = {}
    for part in FOLDER:
        try:
            part_spec(model, part)
        except UserError as error:
            missing[part] = str(error)
    if len(missing) == len(FOLDER):
        raise UserError(missing["task"])
    return missing


def _read(path: str | os.PathLike[str]) -> Array:
    """The upright pixels (H, W, 3), 8-bit RGB; messages have the name of the file without its folder."""
    return decode_image(read_file(path), Path(path).name).copy()


def _cut_middle(image: Array, side: int, command: str) -> tuple[Array, str]:
    """The middle of an image, at most `side` pixels wide and high, and a sentence on it."""
    height, width = image.shape[:2]
    top, left = max(height - side, 0) // 2, max(width - side, 0) // 2
    cut = image[top : top + side, left : left + side]
    if cut.shape == image.shape:
        return image, f"{width}×{height} px, the whole photograph."
    whole = f"`unpairaug {command}` takes whole photographs"
    return cut, f"The middle {cut.shape[1]}×{cut.shape[0]} px of {width}×{height}; {whole}."


def _list_rows(found: Measurement, of_run: dict[str, float]) -> list[tuple[str, str, str]]:
    """The figures of a measurement by readable names, beside those that the run measured."""
    values, rows = found.values(), list[tuple[str, str, str]]()
    for name, (title, form) in _list_titles(values).items():
        error = values.get(f"{name}_error")
        figure = form.format(values[name]) + ("" if error is None else f" ± {form.format(error)}")
        rows.append((title, figure, form.format(of_run[name]) if name in of_run else ""))
    return rows


def _list_titles(values: Mapping[str, float]) -> dict[str, tuple[str, str]]:
    """The names of the figures that are shown, with a title and the format of a number."""
    gains = {name: (f"gain at {name[5:]} cycles/px", "{:.2f}") for name in values if GAIN.fullmatch(name)}
    noise = {"noise": ("noise at mean light, 8-bit steps", "{:.1f}")}
    noise["noise_growth"] = ("its share that grows with the light", "{:.0%}")
    return gains | noise | ({"jpeg_quality": ("JPEG quality", "{:.0f}")} if "jpeg_quality" in values else {})
