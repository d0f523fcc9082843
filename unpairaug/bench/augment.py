"""Speed of a translator as an augmentation, compared with a classic second-order degradation on the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from unpairaug.albumentations import LearnedDegradation
from unpairaug.augment import TranslatorAugment
from unpairaug.bench.timing import time_step

Images = list[NDArray[np.uint8]]
BATCHES = (1, 32)


@dataclass(frozen=True)
class AugmentSpeed:
    """Speed of one way to degrade a batch."""

    name: str
    batch: int
    """Images of a batch."""
    megapixels_per_second: float
    """Of the fastest round."""
    ratio: float
    """Speed relative to the classic degradation; above 1 is faster."""


def compare_augments(model: str, side: int, rounds: int, threads: int) -> Iterator[AugmentSpeed]:
    """Time each way on the same random images in turn, so that other load on the machine affects all equally.

    Args:
        model: a run folder, its `translator/`, or a hub id.
        side: side of the square images in pixels.
        rounds: timed batches of each way, after one warm-up batch.
        threads: threads of torch and OpenCV. The translator uses a GPU if there is one.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with _thread_count(threads):
        for batch in BATCHES:
            images = list(np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8))
            ways = _make_augmentations(model, images, device)
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(rounds + 1):
                for name, way in ways.items():
                    times[name].append(time_step(way, device))
            yield from _compute_speeds({name: taken[1:] for name, taken in times.items()}, batch, side)


def _make_augmentations(model: str, images: Images, device: torch.device) -> dict[str, Callable[[], object]]:
    classic, learned = second_order_degradation(len(images[0])), LearnedDegradation(model, p=1)
    augment, bf16 = TranslatorAugment(model), TranslatorAugment(model, mixed_precision="bf16")
    tensors = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().to(device).float() / 255
    return {
        "classic in albumentations": lambda: [classic(image=image) for image in images],
        "LearnedDegradation": lambda: [learned(image=image) for image in images],
        f"TranslatorAugment on {device.type}": lambda: augment(tensors),
        f"TranslatorAugment on {device.type}, bf16": lambda: bf16(tensors),
    }


def _compute_speeds(times: dict[str, list[float]], batch: int, side: int) -> Iterator[AugmentSpeed]:
    # The minimum, as in `timeit`: other load can only add time.
    shortest = {name: min(taken) for name, taken in times.items()}
    classic = next(iter(shortest.values()))
    for name, taken in shortest.items():
        yield AugmentSpeed(name, batch, batch * side**2 / 1e6 / taken, classic / taken)


def second_order_degradation(side: int) -> Any:
    """Blur, resize, noise and JPEG, twice, then resize back: (H, W, 3) uint8 (after Wang et al., 2021)."""
    once = [
        A.GaussianBlur(blur_limit=(7, 21), sigma_limit=(0.2, 3.0), p=1),
        A.RandomScale(scale_limit=(-0.5, 0.2), interpolation=cv2.INTER_LINEAR, p=1),
        A.GaussNoise(std_range=(0.01, 0.1), p=1),
        A.ImageCompression(quality_range=(30, 95), p=1),
    ]
    return A.Compose([*once, *once, A.Resize(side, side, interpolation=cv2.INTER_CUBIC)], seed=0)


@contextmanager
def _thread_count(count: int) -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
