"""Images without copyright whose statistics are those of photographs."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor


def dead_leaves(seed: int, count: int, side: int = 64) -> Tensor:
    """Discs that occlude each other, as things do in photographs (Lee et al., 2001): (count, 3, side, side)."""
    random = np.random.default_rng(seed)
    crops = []
    for _ in range(count):
        large = Image.new("RGB", (4 * side, 4 * side))
        draw = ImageDraw.Draw(large)
        for _ in range(400):
            radius = min(8 / random.uniform(0.05, 1), 120)
            x, y = random.uniform(-radius, 4 * side + radius, 2)
            colour = tuple(int(random.uniform(30, 225)) for _ in range(3))
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
        crops.append(np.asarray(large.resize((side, side), Image.Resampling.BICUBIC)))
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 255
