"""The work of one process: read a photograph, cut it and encode its parts, with one image in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image

from unpairaug.data.decode import Array, decode_image
from unpairaug.data.photograph import insert_chunks, read_colour
from unpairaug.data.remote_files import read_image_bytes
from unpairaug.errors import UserError, escape
from unpairaug.prepare.cut import Cut, measure_detail

COPY_EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
"""Formats whose files are copied if the image stays whole, and their extensions."""

PNG_COMPRESSION = 3
"""zlib level: half the time of level 6 for 10 % more bytes, and equally fast to read."""


@dataclass(frozen=True)
class Source:
    """A photograph to cut."""

    index: int
    """Index among all photographs."""
    name: str
    """Path below SRC, with forward slashes."""
    path: Path | str
    """A path, or a URL."""
    key: str
    bytes: int = -1
    """Size of its file; -1 if it does not exist."""


class Piece(NamedTuple):
    """One output of a photograph."""

    key: str
    ext: str
    box: tuple[int, int, int, int]
    """(left, top, right, bottom) in the upright photograph."""
    bytes: int
    sha256: str

    @property
    def width(self) -> int:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        return self.box[3] - self.box[1]


@dataclass
class Pieces:
    """The outputs of one photograph."""

    source: Source
    sha256: str = ""
    """Digest of the file of the photograph."""
    pixels: int = 0
    pieces: list[Piece] = field(default_factory=list)
    flat: int = 0
    """Sub-images skipped for lack of detail."""
    small: int = 0
    """1 if a side is shorter than a sub-image."""
    problem: str | None = None
    """Why the photograph cannot be used."""

    def __str__(self) -> str:
        return escape(self.source.name)


@dataclass(frozen=True)
class PhotographCutter:
    """Cuts a photograph; writes its parts to a scratch folder, as one file each or as one spool file."""

    cut: Cut
    folder: Path
    into_spool: bool

    def spool_path(self, source: Source) -> Path:
        """The spool file with all parts of a photograph."""
        return self.folder / f"{source.index}.parts"

    def part_path(self, source: Source, number: int) -> Path:
        """The scratch file of one part of a photograph."""
        return self.folder / f"{source.index}.{number}"

    def __call__(self, source: Source) -> Pieces:
        done = Pieces(source)
        try:
            data = read_image_bytes(source.path)
            image = decode_image(data, str(source.path))
        except UserError as error:
            done.problem = str(error)
            return done
        done.sha256, done.pixels = sha256(data).hexdigest(), image.shape[0] * image.shape[1]
        done.small = int(self.cut.size is not None and min(image.shape[:2]) < self.cut.size)
        if not self.into_spool:
            self._cut(image, data, done, lambda part: self.part_path(source, len(done.pieces)).write_bytes(part))
        else:
            with self.spool_path(source).open("wb") as spool:
                self._cut(image, data, done, spool.write)
        return done

    def _cut(self, image: Array, data: bytes, done: Pieces, keep: Callable[[bytes], object]) -> None:
        colour = read_colour(data)
        for window in self.cut.windows(image.shape[1], image.shape[0]):
            part = image[window.top : window.bottom, window.left : window.right]
            if self.cut.min_detail and measure_detail(part) < self.cut.min_detail:
                done.flat += 1
                continue
            ext, encoded = copyable_bytes(data) if self.cut.size is None else ("png", None)
            encoded = encoded or encode_png(part, *colour)
            key = done.source.key + self.cut.suffix(window)
            keep(encoded)
            done.pieces.append(Piece(key, ext, window.box, len(encoded), sha256(encoded).hexdigest()))


class CarriedPieces(NamedTuple):
    """The outputs of one photograph with the contents of their scratch files, from a process on any machine."""

    pieces: Pieces
    files: dict[str, bytes]
    """By the names of the scratch files; empty where these are in the scratch folder already."""


@dataclass(frozen=True)
class MakeCutter:
    """Creates the worker of a process: a photograph becomes `CarriedPieces`."""

    cutter: PhotographCutter
    carries: bool
    """Whether to return the contents of the scratch files, because the process may be on another machine."""

    def __call__(self, device: str | None) -> Callable[[Source], CarriedPieces]:
        """The worker; `device` is not used."""
        return self._cut_and_carry if self.carries else lambda source: CarriedPieces(self.cutter(source), {})

    def _cut_and_carry(self, source: Source) -> CarriedPieces:
        with TemporaryDirectory() as folder:
            pieces = replace(self.cutter, folder=Path(folder))(source)
            return CarriedPieces(pieces, {path.name: path.read_bytes() for path in Path(folder).iterdir()})


def copyable_bytes(data: bytes) -> tuple[str, bytes | None]:
    """Extension and bytes of a file that can be copied unchanged; (`png`, None) if it must be converted.

    Copied are 8-bit RGB files without alpha and rotation, as PNG, JPEG or WebP: every decoder reads them alike.
    """
    with Image.open(BytesIO(data)) as image:
        plain = image.mode == "RGB" and image.getexif().get(0x0112, 1) == 1 and "transparency" not in image.info
        deep = image.format == "PNG" and data[24] == 16
        if plain and not deep and image.format in COPY_EXTENSIONS and not getattr(image, "is_animated", False):
            return COPY_EXTENSIONS[image.format], data
    return "png", None


def encode_png(image: Array, profile: bytes | None = None, colour: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """Encode an image (H, W, 3) as PNG, with an ICC profile and colour chunks (see `read_colour`)."""
    file = BytesIO()
    options = {} if profile is None else {"icc_profile": profile}
    Image.fromarray(np.ascontiguousarray(image)).save(file, "PNG", compress_level=PNG_COMPRESSION, **options)
    return insert_chunks(file.getvalue(), colour)
