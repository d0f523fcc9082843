"""Names for outputs that every file system, shell and tar reader takes, one for each source."""

from __future__ import annotations

import unicodedata
from collections import Counter
from hashlib import sha256
from pathlib import PurePosixPath

MAX_NAME = 72
"""Bytes of one part of a path, before the 9 of a digest, the 14 of a window and the 5 of an extension: the plainest tar
header has 100 for a name. (`_r00c178956969` is the longest window of an image that is not refused for its pixels.)"""

MAX_FOLDER = 150
"""Bytes of the folders before it; the plainest tar header has 155."""


def make_keys(names: list[str], flat: bool = False) -> list[str]:
    """One key for each relative path: its folders and stem with forward slashes, of letters, digits, `-` and `_` alone.

    With `flat`, folders become part of the name.

    A dot would end the key in a tar of WebDataset's format, a dash at the front look like an option. Keys that would be
    the same (`a.png` and `a.jpg`, `a b.png` and `a_b.png`, on some systems `A.png` and `a.png`) end in a digest.
    """
    plain = [_plain_key(name).replace("/", "_" if flat else "/") for name in names]
    count = Counter(key.casefold() for key in plain)
    return [
        key if count[key.casefold()] == 1 else f"{key}-{_short_digest(name)}"
        for name, key in zip(names, plain, strict=True)
    ]


def _plain_key(name: str) -> str:
    *folders, stem = [_safe_part(part) for part in PurePosixPath(name).with_suffix("").parts]
    folder = "/".join(folders)
    if len(folder.encode()) > MAX_FOLDER:
        folder = f"{_safe_part(folders[0])}/{_short_digest(PurePosixPath(name).parent.as_posix())}"
    return f"{folder}/{stem}" if folder else stem


def _safe_part(part: str) -> str:
    letters = unicodedata.normalize("NFC", part)
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in letters)
    if safe.startswith(("-", "__")):  # WebDataset takes `__name__` for a note about the data and skips it
        safe = "_" + safe.lstrip("-_")
    if len(safe.encode()) <= MAX_NAME:
        return safe
    return f"{safe.encode()[: MAX_NAME - 9].decode(errors='ignore')}-{_short_digest(part)}"


def _short_digest(name: str) -> str:
    return sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
