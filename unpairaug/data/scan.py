"""Scan an image set: sizes, pixel formats and digests; results of large sets are cached between runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from hashlib import blake2b
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from unpairaug.data.bit_depth import bit_depth
from unpairaug.data.cache import cache_folder, read_cached, write_cached
from unpairaug.data.colour_space import SRGB, name_colour_space
from unpairaug.data.images import ImageSet
from unpairaug.data.mixture import MixedImages
from unpairaug.errors import UserError

MAX_DECODED = 1000
"""Images that are decoded of a set of shards, evenly spread."""
MAX_SIZED = 2**17
"""Sets of shards with at most this many images have all sizes read from their indexes."""
MIN_CACHED = 1000
"""Scans of sets with at least this many images are cached."""

_VERSION = 2
"""Increase it with every change of `ImageFacts` or their computation, so that older caches are not used."""

_KINDS = {"1": "black and white", "L": "grey", "LA": "grey with alpha", "P": "palette", "RGBA": "RGB with alpha"}


@dataclass(frozen=True)
class ImageFacts:
    """The cached facts of an image; small, because a set may have millions of images."""

    width: int
    height: int
    kind: str = ""
    """Pixel format, such as `RGB, 8 bits`; empty where only the index was read."""
    digest: str = ""
    """Digest of the pixels; likewise empty."""
    colour_space: str = ""
    """Name of the colour space (see `name_colour_space`); likewise empty."""
    is_flat: bool = False
    """Whether all pixels have the same colour."""


@dataclass(frozen=True)
class ScannedImage:
    """One scanned image, or the reason why it cannot be read."""

    location: str
    stem: str
    facts: ImageFacts
    problem: str | None = None


def scan_images(images: ImageSet, whole: bool, threads: int | None = None) -> dict[int, ScannedImage]:
    """Scan a set; returns the scans by image index.

    Args:
        images: single images are all decoded; of shards `MAX_DECODED` images are decoded, and the sizes of the others
            are read from the indexes that record them.
        whole: decode every image of shards, too.
        threads: images decoded at the same time; by default one for each core, at most 16.
    """
    scans: dict[int, ScannedImage] = {}
    first = 0
    with ThreadPoolExecutor(threads or min(16, os.cpu_count() or 1)) as pool:
        for one in images.sets if isinstance(images, MixedImages) else [images]:
            cache = _ScanCache(one)
            indices = _indices_to_decode(one, whole)
            found = zip(indices, pool.map(lambda i, c=cache: _scan_image(c, i), indices), strict=True)
            try:
                scans |= {first + i: scan for i, scan in found}
            finally:
                cache.save()
            for i in _indices_to_size(one, indices):
                if (size := one.indexed_size(i)) is not None:
                    scans[first + i] = ScannedImage(one.location(i), one.stem(i), ImageFacts(*size))
            first += len(one)
    return scans


def _indices_to_decode(images: ImageSet, whole: bool) -> list[int]:
    if whole or len(images) <= MAX_DECODED or images.shard_sizes is None:
        return list(range(len(images)))
    return np.linspace(0, len(images) - 1, MAX_DECODED).astype(int).tolist()


def _indices_to_size(images: ImageSet, decoded: list[int]) -> Iterator[int]:
    if len(decoded) < len(images) <= MAX_SIZED:
        yield from sorted(set(range(len(images))) - set(decoded))


class _ScanCache:
    """The scans of a large set by earlier runs, by path, modification time and size of each file."""

    def __init__(self, images: ImageSet) -> None:
        self.images, self.new = images, False
        words = f"{_VERSION} {os.path.abspath(images.source)}".encode(errors="surrogateescape")
        folder = cache_folder("scans") if len(images) >= MIN_CACHED else None
        self.path = folder and folder / f"{blake2b(words, digest_size=16).hexdigest()}.json"
        self.known: dict[str, ImageFacts] = self._read(self.path) if self.path else {}
        self.used: dict[str, ImageFacts] = {}

    def scan(self, i: int) -> ImageFacts:
        identity = self.images.identity(i) if self.path else None
        key = "\n".join(map(str, identity)) if identity else ""
        facts = self.known.get(key) or _decode_facts(self.images, i)
        if key:
            self.used[key] = facts
            self.new |= key not in self.known
        return facts

    def save(self) -> None:
        """Write the scans of this run; of two simultaneous runs the later one wins."""
        if self.path and self.new:
            write_cached(self.path, json.dumps({key: astuple(facts) for key, facts in self.used.items()}))

    @staticmethod
    def _read(path: Path) -> dict[str, ImageFacts]:
        try:
            return {str(key): ImageFacts(*facts) for key, facts in json.loads(read_cached(path) or "{}").items()}
        except (ValueError, TypeError, AttributeError, RecursionError):
            return {}  # a broken cache file: everything is scanned again


def _scan_image(cache: _ScanCache, i: int) -> ScannedImage:
    location, stem = cache.images.location(i), cache.images.stem(i)
    try:
        return ScannedImage(location, stem, cache.scan(i))
    except UserError as unreadable:
        return ScannedImage(location, stem, ImageFacts(0, 0), str(unreadable))


def _decode_facts(images: ImageSet, i: int) -> ImageFacts:
    image = images[i]
    height, width = image.shape[:2]
    digest = blake2b(f"{width} {height}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)  # not tobytes(): a copy of a large image is not small
    kind, colour_space = _describe_pixels(images, i)
    is_flat = bool((image == image[:1, :1]).all())
    return ImageFacts(width, height, kind, digest.hexdigest(), colour_space, is_flat)


def _describe_pixels(images: ImageSet, i: int) -> tuple[str, str]:
    """Pixel format, such as `RGB, 8 bits`, and name of the colour space."""
    if images.identity(i) is None:
        return "RGB, 8 bits", SRGB  # arrays in memory
    data = images.read_bytes(i)
    with Image.open(BytesIO(data)) as header:
        mode = "grey" if header.mode.startswith("I") else _KINDS.get(header.mode, header.mode)
        return f"{mode}, {bit_depth(header, data)} bits", name_colour_space(header, data)
