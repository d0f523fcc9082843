"""Photographs as arrays: find them in a folder, read them whatever their format, write them whole or not at all."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unpairaug.data.decode import MAX_PIXELS, Array, EncodedImage, Place, crop_image, decode_image
from unpairaug.errors import UserError, escape

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm")
"""What counts as an image in a folder, in small or capital letters."""

MAX_BYTES = 9 * MAX_PIXELS
"""Larger files are refused unread: `MAX_PIXELS` take 8 bytes each at most, and what is said about them some more."""

Identity = tuple[str, int, int]
"""Path, time of the last change in ns, and bytes of a file."""


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Every image below the folder, in an order that does not depend on the file system.

    Hidden files and folders are passed over (macOS leaves `._photo.png` beside `photo.png`); links to folders are
    followed, each folder once.

    Raises:
        UserError: there is no such folder, it is a file, cannot be listed, or it holds no image.
    """
    root = Path(folder).expanduser()
    if not root.exists():
        raise UserError(f"{escape(folder)}: there is no such folder; expected a folder of images")
    if not root.is_dir():
        raise UserError(f"{escape(folder)}: this is a file; expected the folder that holds the images")
    found: list[Path] = []
    seen: set[str] = set()
    for here, folders, files in os.walk(root, onerror=_raise_unlistable, followlinks=True):
        real = os.path.realpath(here)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            found += [Path(here, name) for name in files if _is_image(name)]
        seen.add(real)
    if not found:
        raise UserError(f"{escape(folder)}: no image in this folder or below it; looked for {' '.join(EXTENSIONS)}")
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def has_images(folder: str | os.PathLike[str]) -> bool:
    """Whether `list_images` finds any."""
    try:
        return bool(list_images(folder))
    except UserError:
        return False


def read_image(path: str | os.PathLike[str]) -> Array:
    """The image as (H, W, 3) RGB in 8 bits, upright; see `decode_image`.

    Raises:
        UserError: the file is missing, no file, empty, truncated, no image, or claims more than `MAX_PIXELS`.
    """
    return decode_image(read_file(path), os.fspath(path)).copy()


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of an image file.

    Raises:
        UserError: it is missing, no regular file (a pipe would never end), unreadable, or larger than `MAX_BYTES`.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{escape(path)}: this is no regular file; expected an image")
        if found.st_size > MAX_BYTES:
            raise UserError(
                f"{escape(path)}: {found.st_size} bytes, more than any {MAX_PIXELS} pixels; make it smaller"
            )
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        what = "a link to a file that is not there" if os.path.islink(path) else "there is no such image file"
        raise UserError(f"{escape(path)}: {what}") from error
    except OSError as error:
        raise UserError(
            f"{escape(path)}: this file cannot be opened ({error.strerror}); remove it or mend that"
        ) from error


def write_image(path: str | os.PathLike[str], image: Array) -> None:
    """Write the image in the format of the path's extension; the path never holds half an image.

    Raises:
        UserError: the extension names no image format.
    """
    path = Path(path)
    image_format = Image.registered_extensions().get(path.suffix.lower())
    if image_format is None or path.suffix.lower() not in EXTENSIONS:
        raise UserError(f"{escape(path)}: unknown extension {path.suffix!r}; use one of {' '.join(EXTENSIONS)}")
    file = BytesIO()
    Image.fromarray(image).save(file, format=image_format, **({"quality": 95} if image_format == "JPEG" else {}))
    write_file(path, file.getvalue())


def write_file(path: Path, data: bytes) -> None:
    """Write bytes, and the folders they lie in; the path never holds half of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")  # hidden: list_images passes over it
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class ImageSet(ABC):
    """A fixed sequence of named images: `images[i]` is (H, W, 3) RGB in 8 bits, read-only."""

    source: str
    """What the user wrote: a folder, shards or `sample`."""
    names: Sequence[str]
    """One name per image, with forward slashes and extension, unlike any other of the set."""
    shard_sizes: NDArray[np.int64] | None = None
    """Images in each shard, in the order of the names; None where every image lies by itself."""
    remarks: Sequence[str] = ()
    """One sentence for each thing about the set that is allowed but probably not meant."""

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def __getitem__(self, i: int) -> Array: ...

    def read_window(self, i: int, place: Place) -> Array:
        """A window of image `i`, read-only: where the whole image is not held, less is made than `images[i]` makes."""
        image = self[i]
        return crop_image(image, place(image.shape[1], image.shape[0]))

    @abstractmethod
    def read_bytes(self, i: int) -> bytes:
        """Image `i` as the bytes of a file.

        Raises:
            UserError: they cannot be read.
        """

    def prefetch(self, wanted: Iterable[int]) -> None:  # noqa: B027  # most sets have nothing to do
        """Told which images are read next: a set that lies far away brings them at once instead of one by one."""

    def reserve_indexes(self, shards: int) -> None:  # noqa: B027  # likewise
        """Told how many shards are read by turns: what must be known to read them is to be held for so many."""

    def identity(self, i: int) -> Identity | None:
        """What changes when the file of image `i` does; None where no file can change."""
        return None

    def indexed_size(self, i: int) -> tuple[int, int] | None:
        """(width, height) in pixels of image `i` where that is known without reading it."""
        return None

    def location(self, i: int) -> str:
        """How a message names image `i`."""
        return escape(f"{self.source}/{self.names[i]}")

    def stem(self, i: int) -> str:
        """The name of image `i` without its extension: what partners on two sides have in common."""
        return PurePosixPath(self.names[i]).with_suffix("").as_posix()


class FolderImages(ImageSet):
    """The images below a folder, decoded at first use and kept while there is room (see `ImageCache`)."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.source = os.fspath(folder)
        self.root = Path(folder).expanduser()
        self.names = [path.relative_to(self.root).as_posix() for path in list_images(folder)]

    def __getitem__(self, i: int) -> Array:
        return IMAGE_CACHE.read(self.root / self.names[i])

    def read_window(self, i: int, place: Place) -> Array:
        path = self.root / self.names[i]
        return IMAGE_CACHE.read_window(
            _file_identity(path), lambda: EncodedImage(read_file(path), lambda: os.fspath(path)), place
        )

    def read_bytes(self, i: int) -> bytes:
        return read_file(self.root / self.names[i])

    def identity(self, i: int) -> Identity:
        return _file_identity(self.root / self.names[i])


class MemoryImages(ImageSet):
    """Images that are already arrays, by name."""

    def __init__(self, source: str, images: Mapping[str, Array]) -> None:
        self.source = source
        self.names = list(images)
        self._images = [_as_read_only(image) for image in images.values()]

    def __getitem__(self, i: int) -> Array:
        return self._images[i]

    def read_bytes(self, i: int) -> bytes:
        data = BytesIO()
        Image.fromarray(self._images[i]).save(data, format="PNG")
        return data.getvalue()


class ImageCache:
    """Images as they were decoded, up to a bound in bytes: a crop of a small set is decoded once.

    Those that were read first stay. A stream shows every image once an epoch, in a new order: had the oldest to go,
    most would be gone before their turn comes again, and each would have to be made whole in order to be held.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """Bytes of pixels; 0 keeps nothing."""
        self.cached_bytes = 0
        """Bytes of pixels now."""
        self._images: dict[Hashable, Array] = {}
        self._lock = Lock()  # the preflight reads from several threads

    def read(self, path: Path) -> Array:
        """The image at the path, decoded again if the file has changed; raises what `read_image` does."""
        return self.get(_file_identity(path), lambda: EncodedImage(read_file(path), lambda: os.fspath(path)))

    def get(self, key: Hashable, read_bytes: Callable[[], EncodedImage]) -> Array:
        """The image of that key, decoded if it is not held."""
        held = self._images.get(key)
        return self._decode_and_cache(key, read_bytes()) if held is None else held

    def read_window(self, key: Hashable, read_bytes: Callable[[], EncodedImage], place: Place) -> Array:
        """A window of the image of that key, which is only decoded as a whole where it can be held from now on."""
        image = self._images.get(key)
        if image is None:
            found = read_bytes()
            if found.nbytes > self.limit - self.cached_bytes:
                return found.decode(place)
            image = self._decode_and_cache(key, found)
        return crop_image(image, place(image.shape[1], image.shape[0]))

    def contains(self, key: Hashable) -> bool:
        """Whether the image of that key needs no reading now."""
        return key in self._images

    def clear(self) -> None:
        """Forget every image."""
        with self._lock:
            self._images.clear()
            self.cached_bytes = 0

    def _decode_and_cache(self, key: Hashable, read_bytes: EncodedImage) -> Array:
        image = _as_read_only(read_bytes.decode())
        with self._lock:
            if key not in self._images and image.nbytes <= self.limit - self.cached_bytes:
                self._images[key] = image
                self.cached_bytes += image.nbytes
        return image


IMAGE_CACHE = ImageCache(limit=2**30)
"""One for each process, shared by all its images; loader workers divide the bound among them."""


def size_problem(width: int, height: int, crop: int, where: str) -> str | None:
    """What is wrong if no square crop of `crop` pixels fits into the image, else None."""
    if min(width, height) >= crop:
        return None
    return f"{where}: {width}×{height} px is smaller than the crop of {crop}×{crop} px"


def _raise_unlistable(error: OSError) -> None:
    raise UserError(f"{escape(error.filename)}: this folder cannot be listed ({error.strerror})") from error


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def _file_identity(path: Path) -> Identity:
    try:
        now = path.stat()
    except OSError:
        return (str(path), -1, -1)  # read_image says what is wrong
    return (str(path), now.st_mtime_ns, now.st_size)


def _as_read_only(image: Array) -> Array:
    image = image.view()
    image.flags.writeable = False
    return image
