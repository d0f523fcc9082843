"""Find images in a folder, read them as arrays, and write them; `ImageSet` is a sequence of named images."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unpairaug.data.decode import Array, EncodedImage, Place, crop_image, decode_image
from unpairaug.data.files import read_file, write_file
from unpairaug.data.image_cache import IMAGE_CACHE, Identity, as_read_only, file_identity
from unpairaug.errors import UserError, escape
from unpairaug.registry.suggestions import suggest_folder

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff"),
    *(".bmp", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""File extensions of images, in lower or upper case."""

_RECORDS = ("manifest.jsonl", "prepare.json", "degrade.json", "index.json", "bad.txt")
"""Files that `prepare` and `degrade` leave beside images."""
_MAX_LISTED = 6
"""Extensions that a message lists; the files of the others are counted together."""


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """All images below the folder, sorted by relative path.

    Hidden files and folders are skipped (macOS leaves `._photo.png` beside `photo.png`). Links to folders are followed,
    each folder once.

    Raises:
        UserError: there is no such folder, it is a file, cannot be listed, or it holds no image.
    """
    return find_images(folder)[0]


def find_images(folder: str | os.PathLike[str], unlistable: list[str] | None = None) -> tuple[list[Path], str | None]:
    """The images of `list_images`, and a sentence that counts the other files by extension, None without any.

    Args:
        folder: searched with all folders below it.
        unlistable: takes a message for each folder below it that cannot be listed; None raises the first.

    Raises:
        UserError: as `list_images` does.
    """
    root = Path(folder).expanduser()
    if not os.path.exists(root):  # False, unlike that of Path, for a name that is too long
        hint = escape(suggest_folder(root))
        raise UserError(f"{escape(folder)}: there is no such folder; expected a folder of images{hint}")
    if not root.is_dir():
        raise UserError(f"{escape(folder)}: this is a file; expected the folder that holds the images")
    files = _walk(root, unlistable)
    found = [path for path in files if path.name.lower().endswith(EXTENSIONS)]
    others = Counter(path.suffix.lower() or "no extension" for path in files if not is_record_or_image(path.name))
    skipped = describe_skipped(others)
    if not found:
        there = f", found {skipped}" if skipped else ""
        looked = " ".join(EXTENSIONS)
        raise UserError(f"{escape(folder)}: no image in this folder or below it; looked for {looked}{there}")
    remark = f"{escape(folder)}: skipped {skipped}, which are not read as images" if skipped else None
    return sorted(found, key=lambda path: path.relative_to(root).as_posix()), remark


def _walk(root: Path, unlistable: list[str] | None) -> list[Path]:
    """All files below a folder that are not hidden; each folder once, even if links lead to it."""

    def note(error: OSError) -> None:
        refused = UserError(f"{escape(error.filename)}: this folder cannot be listed ({error.strerror})")
        if unlistable is None or error.filename == os.fspath(root):
            raise refused from error
        unlistable.append(str(refused))

    found: list[Path] = []
    seen: set[str] = set()
    for here, folders, files in os.walk(root, onerror=note, followlinks=True):
        real = os.path.realpath(here)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            found += [Path(here, name) for name in files if not name.startswith(".")]
        seen.add(real)
    return found


def is_record_or_image(name: str) -> bool:
    """Whether a file of this name is an image, or was left by `prepare` or `degrade` beside images."""
    return name in _RECORDS or name.lower().endswith((*EXTENSIONS, ".index.json"))


def describe_skipped(others: Counter[str]) -> str:
    """The number of files of each extension, the most frequent first."""
    listed = [f"{count} {escape(extension[:20])}" for extension, count in others.most_common(_MAX_LISTED)]
    rest = others.total() - sum(count for _, count in others.most_common(_MAX_LISTED))
    return ", ".join([*listed, *([f"{rest} others"] if rest else [])])


def has_images(folder: str | os.PathLike[str]) -> bool:
    """Whether `list_images` finds an image."""
    try:
        return bool(list_images(folder))
    except UserError:
        return False


def read_image(path: str | os.PathLike[str]) -> Array:
    """Read an image file as upright (H, W, 3) RGB, 8 bits; see `decode_image`.

    Raises:
        UserError: the file is missing, no file, empty, truncated, no image, or claims more than `MAX_PIXELS`.
    """
    return decode_image(read_file(path), os.fspath(path)).copy()


def write_image(path: str | os.PathLike[str], image: Array) -> None:
    """Write an image (H, W, 3) atomically, in the format of the path's extension (JPEG at quality 95).

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


class ImageSet(ABC):
    """A fixed sequence of named images: `images[i]` is (H, W, 3) RGB, 8 bits, read-only."""

    source: str
    """The source as the user wrote it: a folder, shards or `sample`."""
    names: Sequence[str]
    """A unique name for each image, with forward slashes and extension."""
    shard_sizes: NDArray[np.int64] | None = None
    """Images in each shard, in the order of the names; None for single files."""
    remarks: Sequence[str] = ()
    """Warnings about the set: one sentence for each thing that is allowed but probably not intended."""

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def __getitem__(self, i: int) -> Array: ...

    def read_window(self, i: int, place: Place) -> Array:
        """A window of image `i`, read-only. It is cheaper than `images[i]` where the image is not cached."""
        image = self[i]
        return crop_image(image, place(image.shape[1], image.shape[0]))

    @abstractmethod
    def read_bytes(self, i: int) -> bytes:
        """The bytes of the file of image `i`.

        Raises:
            UserError: they cannot be read.
        """

    def prefetch(self, wanted: Iterable[int]) -> None:  # noqa: B027  # a no-op for most sets
        """Load images that are read next; a remote set loads them in one request instead of one by one."""

    def reserve_indexes(self, shards: int) -> None:  # noqa: B027  # likewise
        """Keep the indexes of at least so many shards in memory."""

    def identity(self, i: int) -> Identity | None:
        """A key that changes with the file of image `i`; None where there is no file."""
        return None

    def indexed_size(self, i: int) -> tuple[int, int] | None:
        """(width, height) in pixels of image `i` where an index records it, else None."""
        return None

    def location(self, i: int) -> str:
        """The name of image `i` in messages."""
        return escape(f"{self.source}/{self.names[i]}")

    def stem(self, i: int) -> str:
        """The name of image `i` without its extension; the two images of a pair share it."""
        return PurePosixPath(self.names[i]).with_suffix("").as_posix()


class FolderImages(ImageSet):
    """The images below a folder, decoded at first use and cached (see `ImageCache`)."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.source = os.fspath(folder)
        self.root = Path(folder).expanduser()
        paths, skipped = find_images(folder)
        self.names = [path.relative_to(self.root).as_posix() for path in paths]
        self.remarks = [skipped] if skipped else []

    def __getitem__(self, i: int) -> Array:
        return IMAGE_CACHE.read(self.root / self.names[i])

    def read_window(self, i: int, place: Place) -> Array:
        path = self.root / self.names[i]
        return IMAGE_CACHE.read_window(
            file_identity(path), lambda: EncodedImage(read_file(path), lambda: os.fspath(path)), place
        )

    def read_bytes(self, i: int) -> bytes:
        return read_file(self.root / self.names[i])

    def identity(self, i: int) -> Identity:
        return file_identity(self.root / self.names[i])


class MemoryImages(ImageSet):
    """Images in memory, by name."""

    def __init__(self, source: str, images: Mapping[str, Array]) -> None:
        self.source = source
        self.names = list(images)
        self._images = [as_read_only(image) for image in images.values()]

    def __getitem__(self, i: int) -> Array:
        return self._images[i]

    def read_bytes(self, i: int) -> bytes:
        data = BytesIO()
        Image.fromarray(self._images[i]).save(data, format="PNG")
        return data.getvalue()


def size_problem(width: int, height: int, crop: int, where: str) -> str | None:
    """A message if the image is smaller than a square crop of `crop` pixels, else None."""
    if min(width, height) >= crop:
        return None
    return f"{where}: {width}×{height} px is smaller than the crop of {crop}×{crop} px"
