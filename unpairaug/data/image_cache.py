"""A cache of decoded images, bounded in bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock

from unpairaug.data.decode import Array, EncodedImage, Place, crop_image
from unpairaug.data.files import read_file

Identity = tuple[str, int, int]
"""Path, modification time in ns, and size in bytes of a file."""


class ImageCache:
    """Decoded images, bounded in bytes: the images of a small set are decoded once.

    The cache never evicts: a stream reads every image once an epoch in a new order, so with eviction most images would
    be gone before they are read again.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """Largest size in bytes of pixels; 0 disables the cache."""
        self.cached_bytes = 0
        """Current size in bytes of pixels."""
        self._images: dict[Hashable, Array] = {}
        self._lock = Lock()  # the preflight reads in several threads

    def read(self, path: Path) -> Array:
        """The image at the path, decoded again if the file has changed; raises as `read_image` does."""
        return self.get(file_identity(path), lambda: EncodedImage(read_file(path), lambda: os.fspath(path)))

    def get(self, key: Hashable, open_encoded: Callable[[], EncodedImage]) -> Array:
        """The image of this key, decoded if it is not cached."""
        cached = self._images.get(key)
        return self._decode_and_cache(key, open_encoded()) if cached is None else cached

    def read_window(self, key: Hashable, open_encoded: Callable[[], EncodedImage], place: Place) -> Array:
        """A window of the image of this key; the whole image becomes an array only where it can be cached."""
        image = self._images.get(key)
        if image is None:
            found = open_encoded()
            if found.nbytes > self.limit - self.cached_bytes:
                return found.decode(place)
            image = self._decode_and_cache(key, found)
        return crop_image(image, place(image.shape[1], image.shape[0]))

    def contains(self, key: Hashable) -> bool:
        """Whether the image of this key is cached."""
        return key in self._images

    def clear(self) -> None:
        """Remove all images."""
        with self._lock:
            self._images.clear()
            self.cached_bytes = 0

    def _decode_and_cache(self, key: Hashable, encoded: EncodedImage) -> Array:
        image = as_read_only(encoded.decode())
        with self._lock:
            if key not in self._images and image.nbytes <= self.limit - self.cached_bytes:
                self._images[key] = image
                self.cached_bytes += image.nbytes
        return image


IMAGE_CACHE = ImageCache(limit=2**30)
"""The cache of this process, for all image sets; loader workers divide the limit among them."""


def file_identity(path: Path) -> Identity:
    try:
        now = path.stat()
    except OSError:
        return (str(path), -1, -1)  # read_file raises the error
    return (str(path), now.st_mtime_ns, now.st_size)


def as_read_only(image: Array) -> Array:
    image = image.view()
    image.flags.writeable = False
    return image
