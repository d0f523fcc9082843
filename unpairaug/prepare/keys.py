"""Output names that are valid for every file system, shell and tar reader, one for each source."""

from __future__ import annotations

import unicodedata
from collections import Counter
from hashlib import sha256
from pathlib import PurePosixPath

MAX_NAME = 72
"""Bytes of one path component, without digest (9), window (14) and extension (5): a USTAR header has 100 for a name.
(`_r00c178956969` is the longest window of an image within `MAX_PIXELS`.)"""

MAX_FOLDER = 150
"""Bytes of the folder path; a USTAR header has 155 for it."""


def make_keys(names: list[str], flat: bool = False) -> list[str]:
    """A unique key for each relative path: folders and stem with forward slashes, letters, digits, `-` and `_` only.

    A dot would end the key in WebDataset's format, and a leading dash would look like an option. Keys that would be
    equal (`a.png` and `a.jpg`, `a b.png` and `a_b.png`, on some systems `A.png` and `a.png`) get a digest as suffix.

    Args:
        names: relative paths.
        flat: make folders part of the name.
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
    if safe.startswith(("-", "__")):  # WebDataset skips `__name__` as metadata
        safe = "_" + safe.lstrip("-_")
    if len(safe.encode()) <= MAX_NAME:
        return safe
    return f"{safe.encode()[: MAX_NAME - 9].decode(errors='ignore')}-{_short_digest(part)}"


def _short_digest(name: str) -> str:
    return sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
