"""Open mutated shards and indexes, and read all that they still offer.

python tests/faults/fuzz_shards.py --count 5000 --seed 0
"""

from __future__ import annotations

import copy
import io
import json
import os
import random
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mutate import Case, Fault, main, mutate, run_cases
from PIL import Image

from unpairaug.data import open_images
from unpairaug.data.image_cache import IMAGE_CACHE
from unpairaug.data.shard_index import format_folder_index, format_index
from unpairaug.data.tar_scan import scan_shard

IMAGES = 5


def whole_shard(tar_format: int) -> bytes:
    """A shard of small PNGs, one of them with a name too long for a plain header."""
    draw, file = np.random.default_rng(0), io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tar_format) as tar:
        for i in range(IMAGES):
            data = io.BytesIO()
            Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(data, "PNG")
            member = tarfile.TarInfo(f"{'long' * 40 if i == 3 and tar_format != tarfile.USTAR_FORMAT else 'n'}{i}.png")
            member.size = len(data.getvalue())
            tar.addfile(member, io.BytesIO(data.getvalue()))
    return file.getvalue()


def whole_files(folder: Path) -> dict[str, bytes]:
    """Shards in all formats, an index, and a list of shards."""
    formats = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
    files = {name: whole_shard(tar_format) for name, tar_format in formats.items()}
    shard, size = folder / "s.tar", len(files["ustar"])
    shard.write_bytes(files["ustar"])
    files["index"] = format_index("s.tar", size, scan_shard(str(shard), size)).encode()
    files["list"] = format_folder_index({"s.tar": (IMAGES, size)}).encode()
    return files


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Another value in place of one in the JSON of an index."""
    values = json.loads(data)
    strange = (None, True, -1, 2**70, 1e308, "1", "\x1b[2J\n", "../../x", [], {}, [[]] * 3, "9" * 5000, float("nan"))
    for _ in range(rng.choice([1, 1, 3])):
        where = values
        while True:
            keys = list(where) if isinstance(where, dict) else list(range(len(where)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(where[key], dict | list) and where[key] and rng.random() < 0.8:
                where = where[key]
                continue
            where[key] = copy.deepcopy(rng.choice(strange))  # lists of one case are changed again
            break
    return json.dumps(values).encode()


def cases(count: int, seed: int, files: dict[str, bytes]) -> Iterator[Case]:
    """The whole files, then mutations of each in turn."""
    rng, names, others = random.Random(seed), list(files), list(files.values())
    yield from (Case(name, data) for name, data in files.items())
    for number in range(count - len(files)):
        name = names[number % len(names)]
        if name in ("index", "list") and rng.random() < 0.7:
            yield Case(name, mutate_json(files[name], rng))
        else:
            yield Case(name, mutate(files[name], others, rng))


def run(count: int, seed: int) -> tuple[list[Fault], str]:
    """Run the cases in a folder of their own, with a cache of their own."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "data")
        folder.mkdir()
        before = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = str(Path(place, "cache"))
        files = whole_files(folder)

        def read(case: Case) -> None:
            shard, index, listed = folder / "s.tar", folder / "s.index.json", folder / "index.json"
            shard.write_bytes(files["ustar"] if case.kind in ("index", "list") else case.data)
            for path, kind in ((index, "index"), (listed, "list")):
                path.unlink(missing_ok=True)
                if case.kind == kind:
                    path.write_bytes(case.data)
            IMAGE_CACHE.clear()
            images = open_images(str(folder if case.kind == "list" else shard), "clean", 1)
            assert all(remark.isprintable() for remark in images.remarks), images.remarks
            for i in range(min(len(images), 50)):
                assert images.location(i).isprintable() and images.stem(i) is not None and images.names[i]
                images.indexed_size(i)
                assert images[i].shape[2] == 3

        try:
            return run_cases(cases(count, seed, files), read)
        finally:
            os.environ.pop("XDG_CACHE_HOME")
            if before is not None:
                os.environ["XDG_CACHE_HOME"] = before


if __name__ == "__main__":
    main(__doc__ or "", 5000, run)
