"""Distances between images in the features of pretrained networks, by torchmetrics (the extra `perceptual`).

Lower is nearer. They judge texture that PSNR and SSIM punish for lying elsewhere, so they stand beside those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from unpairaug.errors import UserError
from unpairaug.evaluation.metrics import check_sizes

SMALLEST = 32
"""Pixels a side; the networks halve an image several times."""

PerceptualMetric = Callable[[np.ndarray, np.ndarray, int], float]
"""Of two (H, W, 3) uint8 RGB images, without a border of so many pixels."""


def _lpips() -> Any:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)


def _dists() -> Any:
    from torchmetrics.functional.image.dists import DISTSNetwork  # its metric would read the weights for each image

    return DISTSNetwork()


PERCEPTUAL = {"lpips": _lpips, "dists": _dists}
"""LPIPS with AlexNet (Zhang et al., 2018) and DISTS with VGG-16 (Ding et al., 2020), each built on demand."""


def perceptual_metrics(names: Sequence[str], device: torch.device) -> dict[str, PerceptualMetric]:
    """The metrics of these names of `PERCEPTUAL`, ready to measure.

    Raises:
        UserError: torchmetrics is not installed, or the weights of a network are neither here nor to be had.
    """
    return {name: _ready(name, device) for name in names}


def _ready(name: str, device: torch.device) -> PerceptualMetric:
    try:
        network = PERCEPTUAL[name]().to(device)
    except ImportError as error:
        raise UserError(f"--{name} needs torchmetrics ({error}): pip install 'unpairaug[perceptual]'") from error
    except (OSError, RuntimeError) as error:  # what torch.hub raises without a network, and of a broken file
        raise UserError(
            f"--{name} needs pretrained weights, which torchvision could not get ({error}); run it once where "
            f"download.pytorch.org can be reached, or copy the file into {torch.hub.get_dir()}/checkpoints"
        ) from error

    @torch.inference_mode()
    def distance(restored: np.ndarray, clean: np.ndarray, border: int) -> float:
        check_sizes(restored, clean, border, smallest=SMALLEST)
        return float(network(*(_inner(image, border, device) for image in (restored, clean))))

    return distance


def _inner(image: np.ndarray, border: int, device: torch.device) -> torch.Tensor:
    """(1, 3, H, W) in [0, 1]."""
    inner = image[border : image.shape[0] - border, border : image.shape[1] - border]
    return torch.from_numpy(np.ascontiguousarray(inner)).to(device).permute(2, 0, 1)[None].float() / 255
