"""Speed and memory of the data streams, compared with the bare decoder and a plain PyTorch loader."""

from __future__ import annotations

import random
import statistics
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unpairaug.data import FolderImages, StepBatches, UnpairedCrops, create_loader, open_images
from unpairaug.data.image_cache import IMAGE_CACHE
from unpairaug.data.images import ImageSet
from unpairaug.data.shard_index import write_index
from unpairaug.recipe import Recipe

FILES = 200
"""Images of each side that are copied into a folder and into shards."""
PER_SHARD = 50


@dataclass(frozen=True)
class ReaderSpeed:
    """Speed of one reader in one process."""

    name: str
    crops_per_second: float
    """Crops of both sides together per second of CPU time."""
    ratio: float
    """Median over batches of the bare decoder's time divided by this reader's, for the same files."""


@dataclass(frozen=True)
class Files:
    """Both sides' files, as folders and as shards."""

    clean: FolderImages
    degraded: FolderImages
    clean_shards: ImageSet
    degraded_shards: ImageSet


def compare_readers(recipe: Recipe, batches: int, files: int = FILES) -> list[ReaderSpeed]:
    """Time each reader on the same batches in turn, so that other load on the machine affects all equally.

    The cache of decoded images is off, the files are in the page cache, and all readers run in this process.

    Args:
        recipe: determines images, crop, batch size, flips and rotations.
        batches: timed batches of each reader, after 2 warm-up batches.
        files: largest number of images of each side.
    """
    with _temporary_copies(recipe, files) as found, _disabled_cache(), _single_thread():
        names: dict[str, Callable[[], Iterator[object]]] = {
            "bare decoder": lambda: _decode_only(found, recipe, batches + 2),
            "folder": lambda: _stream(found.clean, found.degraded, recipe, batches + 2),
            "shards": lambda: _stream(found.clean_shards, found.degraded_shards, recipe, batches + 2),
            "plain PyTorch loader": lambda: _plain_loader(found, recipe, batches + 2),
        }
        readers = {name: make() for name, make in names.items()}
        times: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(batches + 2):
            order = list(readers)[turn % 4 :] + list(readers)[: turn % 4]  # no reader always follows the same one
            for name in order:
                times[name].append(_time_batch(readers[name]))
    bare = times["bare decoder"][2:]
    return [
        ReaderSpeed(
            name,
            2 * recipe.data.batch_size / statistics.median(taken[2:]),
            statistics.median(b / t for b, t in zip(bare, taken[2:], strict=True)),
        )
        for name, taken in times.items()
    ]


def memory_over(recipe: Recipe, samples: int, readings: int = 10, files: int = FILES) -> Iterator[tuple[int, int]]:
    """Yield (samples read from shards, resident memory in bytes) at even intervals.

    Decoded images are cached as in training: memory grows until all are cached, or fill `IMAGE_CACHE.limit`.
    """
    with _temporary_copies(recipe, files) as found, _single_thread():
        size = recipe.data.batch_size
        batches = -(-samples // size)
        every = max(1, batches // readings)
        for done, _ in enumerate(_stream(found.clean_shards, found.degraded_shards, recipe, batches), start=1):
            if done == 1 or done % every == 0 or done == batches:
                yield done * size, psutil.Process().memory_info().rss


def _stream(clean: ImageSet, degraded: ImageSet, recipe: Recipe, batches: int) -> Iterator[object]:
    return iter(create_loader(_crops(clean, degraded, recipe), StepBatches(0, batches, recipe.data.batch_size)))


def _crops(clean: ImageSet, degraded: ImageSet, recipe: Recipe) -> UnpairedCrops:
    data, scale = recipe.data, recipe.task.get("scale", 1)
    options = {"flip": data.flip, "rotate": data.rotate, "lanes": data.batch_size}
    return UnpairedCrops(clean, degraded, crop=data.crop, scale=scale, seed=recipe.train.seed, **options)


def _decode_only(files: Files, recipe: Recipe, batches: int) -> Iterator[object]:
    """Only read and decode the files that the streams show: JPEGs by simplejpeg, others by Pillow."""
    for batch in _files_of_batches(files, recipe, batches):
        for path in (path for pair in batch for path in pair):
            data = path.read_bytes()
            if data.startswith(b"\xff\xd8"):
                simplejpeg.decode_jpeg(data)
                continue
            with Image.open(BytesIO(data)) as image:
                np.asarray(image if image.mode == "RGB" else image.convert("RGB"))  # convert() would copy it
        yield batch


def _plain_loader(files: Files, recipe: Recipe, batches: int) -> Iterator[object]:
    """A plain PyTorch pipeline: PIL, random crops and flips, a DataLoader for each side."""
    batches_of_files = _files_of_batches(files, recipe, batches)
    sides = [
        _PlainCrops(
            [pair[side] for batch in batches_of_files for pair in batch], crop, recipe.data.flip, recipe.data.rotate
        )
        for side, crop in enumerate((recipe.data.crop, recipe.data.crop // recipe.task.get("scale", 1)))
    ]
    return zip(*(DataLoader(side, batch_size=recipe.data.batch_size) for side in sides), strict=True)


class _PlainCrops(Dataset[Tensor]):
    """Random crops of one side with the flips and rotations of the recipe, uint8."""

    def __init__(self, paths: list[Path], crop: int, flip: bool, rotate: bool) -> None:
        self.paths, self.crop = paths, crop
        flips = [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM] if flip else []
        self.turns = [*flips, Image.Transpose.ROTATE_90] if rotate else flips

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Tensor:
        with open(self.paths[i], "rb") as file:
            image = Image.open(file).convert("RGB")
        left, top = (random.randint(0, side - self.crop) for side in image.size)
        image = image.crop((left, top, left + self.crop, top + self.crop))
        for turn in self.turns:
            image = image.transpose(turn) if random.random() < 0.5 else image
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _files_of_batches(files: Files, recipe: Recipe, batches: int) -> list[list[tuple[Path, Path]]]:
    """The (clean, degraded) files of each batch of the streams."""
    crops, size = _crops(files.clean, files.degraded, recipe), recipe.data.batch_size
    pairs = [
        (files.clean.root / files.clean.names[i], files.degraded.root / files.degraded.names[j])
        for i, j in (crops.image_indices(k) for k in range(batches * size))
    ]
    return [pairs[at : at + size] for at in range(0, len(pairs), size)]


def _time_batch(reader: Iterator[object]) -> float:
    """CPU seconds for the next batch; time of other processes does not count."""
    began = time.process_time()
    next(reader)
    return time.process_time() - began


@contextmanager
def _temporary_copies(recipe: Recipe, files: int) -> Iterator[Files]:
    scale = recipe.task.get("scale", 1)
    with TemporaryDirectory(prefix="unpairaug-bench-") as root:
        found: list[ImageSet] = []
        for part in ("clean", "degraded"):
            images = open_images(getattr(recipe.data, part), part, scale)
            _write_copies(images, min(files, len(images)), Path(root, part), Path(root, f"{part}_shards"))
            found.append(FolderImages(Path(root, part)))
            found.append(open_images(str(Path(root, f"{part}_shards")), part, scale))
        clean, clean_shards, degraded, degraded_shards = found
        assert isinstance(clean, FolderImages) and isinstance(degraded, FolderImages)
        yield Files(clean, degraded, clean_shards, degraded_shards)


def _write_copies(images: ImageSet, count: int, folder: Path, shards: Path) -> None:
    folder.mkdir()
    shards.mkdir()
    for first in range(0, count, PER_SHARD):
        shard = shards / f"shard-{first // PER_SHARD:04}.tar"
        with tarfile.open(shard, "w") as tar:
            for i in range(first, min(first + PER_SHARD, count)):
                path = folder / f"{i:06}{PurePosixPath(images.names[i]).suffix}"
                path.write_bytes(images.read_bytes(i))
                tar.add(path, path.name)
        write_index(str(shard))


@contextmanager
def _disabled_cache() -> Iterator[None]:
    limit, IMAGE_CACHE.limit = IMAGE_CACHE.limit, 0
    IMAGE_CACHE.clear()
    try:
        yield
    finally:
        IMAGE_CACHE.limit = limit


@contextmanager
def _single_thread() -> Iterator[None]:
    """One thread, as in a loader worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
