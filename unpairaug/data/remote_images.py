"""Single images in a folder behind a URL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from unpairaug.data.decode import Array, EncodedImage, Place
from unpairaug.data.files import MAX_BYTES
from unpairaug.data.image_cache import IMAGE_CACHE, Identity
from unpairaug.data.images import EXTENSIONS, ImageSet, describe_skipped, is_record_or_image
from unpairaug.data.remote_files import list_tree, read_bytes
from unpairaug.data.storage import read_ranges, strip_query
from unpairaug.errors import UserError, escape


def find_remote_images(url: str) -> tuple[dict[str, int], str | None]:
    """The size in bytes of each image below a folder behind a URL, by its sorted relative path.

    Also a sentence that counts the other files by extension, None without any. Hidden files and folders are skipped.

    Raises:
        UserError: the folder cannot be listed, or holds no image.
    """
    tree = {name: size for name, size in list_tree(url).items() if not f"/{name}".count("/.")}
    found = {name: size for name, size in sorted(tree.items()) if name.lower().endswith(EXTENSIONS)}
    names = [name.rpartition("/")[2] for name in tree]
    others = Counter(
        f".{name.rpartition('.')[2].lower()}" if "." in name else "no extension"
        for name in names
        if not is_record_or_image(name)
    )
    skipped = describe_skipped(others)
    if not found:
        there = f", found {skipped}" if skipped else ""
        raise UserError(
            f"{escape(strip_query(url))}: no image and no shard in this folder; looked for {' '.join(EXTENSIONS)} and "
            f".tar{there}"
        )
    remark = f"{escape(strip_query(url))}: skipped {skipped}, which are not read as images" if skipped else None
    return found, remark


class RemoteImages(ImageSet):
    """The images below a folder behind a URL, listed once; shards need far fewer requests."""

    def __init__(self, url: str) -> None:
        self.source, self.root = url, url.rstrip("/")
        self._sizes, skipped = find_remote_images(url)
        self.names = list(self._sizes)
        self.remarks = [skipped] if skipped else []
        self._prefetched: dict[int, bytes] = {}

    def __getitem__(self, i: int) -> Array:
        return IMAGE_CACHE.get(self.identity(i), lambda: self._encoded_image(i))

    def read_window(self, i: int, place: Place) -> Array:
        return IMAGE_CACHE.read_window(self.identity(i), lambda: self._encoded_image(i), place)

    def read_bytes(self, i: int) -> bytes:
        brought = self._prefetched.pop(i, None)
        return read_bytes(self._url(i), MAX_BYTES) if brought is None else brought

    def prefetch(self, wanted: Iterable[int]) -> None:
        self._prefetched = {}
        with suppress(UserError):  # then the images are read one by one, and the error names the broken one
            missing = [i for i in dict.fromkeys(wanted) if not IMAGE_CACHE.contains(self.identity(i))]
            ranges = [(self._url(i), 0, self._sizes[self.names[i]]) for i in missing]
            self._prefetched = dict(zip(missing, read_ranges(ranges), strict=True))

    def identity(self, i: int) -> Identity:
        return self._url(i), 0, self._sizes[self.names[i]]

    def location(self, i: int) -> str:
        return escape(strip_query(self._url(i)))

    def _url(self, i: int) -> str:
        return f"{self.root}/{self.names[i]}"

    def _encoded_image(self, i: int) -> EncodedImage:
        return EncodedImage(self.read_bytes(i), lambda: self.location(i))
