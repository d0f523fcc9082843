"""What a worker does: read one photograph, cut it, encode the parts; one image in memory at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from unpairaug.data.decode import Array, decode_image
from unpairaug.data.images import read_file
from unpairaug.errors import RunStopped, UserError, escape
from unpairaug.prepare.cut import Cut, measure_detail

COPY_EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
"""Formats that stay as they are where an image stays whole, and their extension."""

PNG_COMPRESSION = 3
"""zlib's level: half the time of the usual 6 for 10 % more bytes, and as fast to read."""


@dataclass(frozen=True)
class Source:
    """A photograph to prepare."""

    index: int
    """Place in the order of all."""
    name: str
    """Path below SRC, with forward slashes."""
    path: Path
    key: str


class Piece(NamedTuple):
    """An output of one photograph."""

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
    """What became of one photograph."""

    source: Source
    sha256: str = ""
    """Of the photograph's file."""
    pixels: int = 0
    pieces: list[Piece] = field(default_factory=list)
    flat: int = 0
    """Sub-images left out for want of detail."""
    small: int = 0
    """1 if a side is shorter than a sub-image."""
    problem: str | None = None
    """Why the photograph cannot be used."""

    def __str__(self) -> str:
        return escape(self.source.name)


Work = Callable[[Source], Pieces]


@dataclass(frozen=True)
class PhotographCutter:
    """Cuts a photograph; the parts go into a folder that nobody reads, each into a file or all into one."""

    cut: Cut
    folder: Path
    into_spool: bool

    def spool_path(self, source: Source) -> Path:
        """Where the parts of a photograph wait to be packed."""
        return self.folder / f"{source.index}.parts"

    def part_path(self, source: Source, number: int) -> Path:
        """Where a part of a photograph waits for its name."""
        return self.folder / f"{source.index}.{number}"

    def __call__(self, source: Source) -> Pieces:
        done = Pieces(source)
        try:
            data = read_file(source.path)
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
        for window in self.cut.windows(image.shape[1], image.shape[0]):
            part = image[window.top : window.bottom, window.left : window.right]
            if self.cut.min_detail and measure_detail(part) < self.cut.min_detail:
                done.flat += 1
                continue
            ext, encoded = copyable_bytes(data) if self.cut.size is None else ("png", None)
            encoded = encoded or encode_png(part)
            key = done.source.key + self.cut.suffix(window)
            keep(encoded)
            done.pieces.append(Piece(key, ext, window.box, len(encoded), sha256(encoded).hexdigest()))


def copyable_bytes(data: bytes) -> tuple[str, bytes | None]:
    """Extension and bytes of an image file that every decoder reads alike, so that it may stay what it is; else None.

    That is 8-bit RGB without alpha and rotation, as PNG, JPEG or WebP; the rest becomes PNG.
    """
    with Image.open(BytesIO(data)) as image:
        plain = image.mode == "RGB" and image.getexif().get(0x0112, 1) == 1 and "transparency" not in image.info
        deep = image.format == "PNG" and data[24] == 16
        if plain and not deep and image.format in COPY_EXTENSIONS and not getattr(image, "is_animated", False):
            return COPY_EXTENSIONS[image.format], data
    return "png", None


def encode_png(image: Array) -> bytes:
    """The image as the bytes of a PNG file."""
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "PNG", compress_level=PNG_COMPRESSION)
    return file.getvalue()


def map_in_order(work: Work, sources: Iterable[Source], workers: int) -> Generator[Pieces]:
    """The work on each source, in their order, by so many processes; few are worked on ahead of the one awaited.

    Closed or interrupted, it ends the processes at once, whatever they are at.

    Raises:
        RunStopped: a worker process was killed, probably for want of memory.
    """
    if workers == 1:
        yield from map(work, sources)
        return
    # Spawned, not forked: a worker must not inherit OUT's lock, which would outlive a killed run.
    spawn = multiprocessing.get_context("spawn")
    leash, held = spawn.Pipe(duplex=False)
    with leash, held, ProcessPoolExecutor(workers, spawn, _init_worker, (leash,)) as pool:
        ahead: deque[Future[Pieces]] = deque()
        try:
            for source in sources:
                with _block_sigint():
                    ahead.append(pool.submit(work, source))
                if len(ahead) >= 4 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BrokenProcessPool as error:
            raise RunStopped(
                "a worker process ended, probably for want of memory; the same command with fewer --workers goes on"
            ) from error
        except BaseException:
            held.close()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _block_sigint() -> Iterator[None]:
    """Put Ctrl-C off, in a process begun meanwhile for good: before `_init_worker` it would tell a traceback."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _init_worker(leash: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process answers Ctrl-C
    warnings.simplefilter("ignore")  # Pillow's, about metadata and large images; the limits are ours
    threading.Thread(target=_exit_with_parent, args=(leash,), daemon=True).start()


def _exit_with_parent(leash: Connection) -> None:
    """End this process when the main process closes its end of the pipe, or ends however it may."""
    with suppress(EOFError, OSError):
        leash.recv_bytes()
    os._exit(1)
