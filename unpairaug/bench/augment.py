"""Speed of a translator as an augmentation, against a classic second-order degradation, on the same images."""

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
from unpairaug.bench.step import seconds

Images = list[NDArray[np.uint8]]
BATCHES = (1, 32)


@dataclass(frozen=True)
class AugmentSpeed:
    """One way to degrade a batch."""

    name: str
    batch: int
    """Images of a batch."""
    megapixels_per_second: float
    """Of the fastest round."""
    ratio: float
    """To the classic degradation's: above 1 is faster."""


def compare_augments(model: str, side: int, rounds: int, threads: int) -> Iterator[AugmentSpeed]:
    """Degrade the same random images in each way in turn, so that what else the machine does hits all alike.

    Args:
        model: where the translator is.
        side: of the square images, in pixels.
        rounds: timed batches of each way; one more warms up.
        threads: that torch and OpenCV may use. The translator takes a GPU where there is one.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with _threads(threads):
        for batch in BATCHES:
            images = list(np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8))
            ways = _ways(model, images, device)
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(rounds + 1):
                for name, way in ways.items():
                    times[name].append(seconds(way, device))
            yield from _speeds({name: taken[1:] for name, taken in times.items()}, batch, side)


def _ways(model: str, images: Images, device: torch.device) -> dict[str, Callable[[], object]]:
    classic, learned = second_order(len(images[0])), LearnedDegradation(model, p=1)
    augment = TranslatorAugment(model)
    tensors = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().to(device).float() / 255
    return {
        "classic in albumentations": lambda: [classic(image=image) for image in images],
        "LearnedDegradation": lambda: [learned(image=image) for image in images],
        f"TranslatorAugment on {device.type}": lambda: augment(tensors),
    }


def _speeds(times: dict[str, list[float]], batch: int, side: int) -> Iterator[AugmentSpeed]:
    # As `timeit` counts: whatever else a machine does only ever adds to a time, so the shortest is the truest.
    shortest = {name: min(taken) for name, taken in times.items()}
    classic = next(iter(shortest.values()))
    for name, taken in shortest.items():
        yield AugmentSpeed(name, batch, batch * side**2 / 1e6 / taken, classic / taken)


def second_order(side: int) -> Any:
    """Blur, resize, noise and JPEG, twice, and back to the size, on (H, W, 3) in 8 bits (after Wang et al., 2021)."""
    once = [
        A.GaussianBlur(blur_limit=(7, 21), sigma_limit=(0.2, 3.0), p=1),
        A.RandomScale(scale_limit=(-0.5, 0.2), interpolation=cv2.INTER_LINEAR, p=1),
        A.GaussNoise(std_range=(0.01, 0.1), p=1),
        A.ImageCompression(quality_range=(30, 95), p=1),
    ]
    return A.Compose([*once, *once, A.Resize(side, side, interpolation=cv2.INTER_CUBIC)], seed=0)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
