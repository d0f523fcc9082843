"""Perceptual metrics of the extra `perceptual`: LPIPS and DISTS by torchmetrics, ColorVideoVDP by `cvvdp`.

LPIPS and DISTS are distances in the features of pretrained networks; lower is better. PSNR and SSIM penalise texture
that is plausible but displaced; these two do not. ColorVideoVDP is a model of what an eye sees on a given display, and
needs no weights; higher is better, at most 10.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from unpairaug.errors import UserError, format_install
from unpairaug.evaluation.metrics import check_sizes

SMALLEST_SIDE = 32
"""Smallest image side in pixels; the networks downsample several times."""

PerceptualMetric = Callable[[np.ndarray, np.ndarray, int], float]
"""(restored, ground truth, border) -> value; images are (H, W, 3) uint8 RGB, the border in pixels is cropped."""


Compare = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(restored, ground truth), each (1, 3, H, W) in [0, 1] -> scalar."""
CVVDP_DISPLAY = "standard_fhd"
"""A 24-inch display of 1920 × 1080 pixels and 200 cd/m², seen from 0.6 m: 38 pixels per degree."""


def _lpips(device: torch.device) -> Compare:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True).to(device)


def _dists(device: torch.device) -> Compare:
    from torchmetrics.functional.image.dists import (
        DISTSNetwork,  # the metric class would load the weights for every image
    )

    return DISTSNetwork().to(device)


def _cvvdp(device: torch.device) -> Compare:
    from pycvvdp import cvvdp

    metric = cvvdp(display_name=CVVDP_DISPLAY, device=device)
    return lambda restored, clean: metric.predict(restored[0], clean[0], dim_order="CHW")[0]


PERCEPTUAL = {"lpips": _lpips, "dists": _dists, "cvvdp": _cvvdp}
"""LPIPS with AlexNet (Zhang et al., 2018), DISTS with VGG-16 (Ding et al., 2020), and ColorVideoVDP (Mantiuk et al.,
2024), built on demand."""


def perceptual_metrics(names: Sequence[str], device: torch.device) -> dict[str, PerceptualMetric]:
    """Load the named metrics of `PERCEPTUAL`.

    Raises:
        UserError: its package is not installed, or the weights of a network cannot be loaded.
    """
    return {name: _load_metric(name, device) for name in names}


def _load_metric(name: str, device: torch.device) -> PerceptualMetric:
    try:
        compare = PERCEPTUAL[name](device)
    except ImportError as error:
        package = "cvvdp" if name == "cvvdp" else "torchmetrics"
        raise UserError(f"--{name} needs {package} ({error}): {format_install('perceptual')}") from error
    except (OSError, RuntimeError) as error:  # raised by torch.hub without a network connection, or for a broken file
        raise UserError(
            f"--{name} needs pretrained weights, which torchvision could not download ({error}); run it once with "
            f"access to download.pytorch.org, or copy the file into {torch.hub.get_dir()}/checkpoints"
        ) from error

    @torch.inference_mode()
    def measure(restored: np.ndarray, clean: np.ndarray, border: int) -> float:
        check_sizes(restored, clean, border, smallest=SMALLEST_SIDE)
        return float(compare(*(_crop_to_tensor(image, border, device) for image in (restored, clean))))

    return measure


def _crop_to_tensor(image: np.ndarray, border: int, device: torch.device) -> torch.Tensor:
    """(1, 3, H, W) in [0, 1]."""
    inner = image[border : image.shape[0] - border, border : image.shape[1] - border]
    return torch.from_numpy(np.ascontiguousarray(inner)).to(device).permute(2, 0, 1)[None].float() / 255
