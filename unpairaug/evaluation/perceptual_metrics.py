"""LPIPS and DISTS: distances in the features of pretrained networks, by torchmetrics (extra `perceptual`).

Lower is better. PSNR and SSIM penalise texture that is plausible but displaced; these metrics do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from unpairaug.errors import UserError
from unpairaug.evaluation.metrics import check_sizes

SMALLEST_SIDE = 32
"""Smallest image side in pixels; the networks downsample several times."""

PerceptualMetric = Callable[[np.ndarray, np.ndarray, int], float]
"""(restored, ground truth, border) -> distance; images are (H, W, 3) uint8 RGB, the border in pixels is cropped."""


def _lpips() -> Any:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)


def _dists() -> Any:
    from torchmetrics.functional.image.dists import (
        DISTSNetwork,  # the metric class would load the weights for every image
    )

    return DISTSNetwork()


PERCEPTUAL = {"lpips": _lpips, "dists": _dists}
"""LPIPS with AlexNet (Zhang et al., 2018) and DISTS with VGG-16 (Ding et al., 2020), built on demand."""


def perceptual_metrics(names: Sequence[str], device: torch.device) -> dict[str, PerceptualMetric]:
    """Load the named metrics of `PERCEPTUAL`.

    Raises:
        UserError: torchmetrics is not installed, or the weights of a network cannot be loaded.
    """
    return {name: _load_metric(name, device) for name in names}


def _load_metric(name: str, device: torch.device) -> PerceptualMetric:
    try:
        network = PERCEPTUAL[name]().to(device)
    except ImportError as error:
        raise UserError(f"--{name} needs torchmetrics ({error}): pip install 'unpairaug[perceptual]'") from error
    except (OSError, RuntimeError) as error:  # raised by torch.hub without a network connection, or for a broken file
        raise UserError(
            f"--{name} needs pretrained weights, which torchvision could not download ({error}); run it once with "
            f"access to download.pytorch.org, or copy the file into {torch.hub.get_dir()}/checkpoints"
        ) from error

    @torch.inference_mode()
    def distance(restored: np.ndarray, clean: np.ndarray, border: int) -> float:
        check_sizes(restored, clean, border, smallest=SMALLEST_SIDE)
        return float(network(*(_crop_to_tensor(image, border, device) for image in (restored, clean))))

    return distance


def _crop_to_tensor(image: np.ndarray, border: int, device: torch.device) -> torch.Tensor:
    """(1, 3, H, W) in [0, 1]."""
    inner = image[border : image.shape[0] - border, border : image.shape[1] - border]
    return torch.from_numpy(np.ascontiguousarray(inner)).to(device).permute(2, 0, 1)[None].float() / 255
