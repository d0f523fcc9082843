"""A history of generated images for the discriminators to judge."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from unpairaug.rng import Rng, uniform


class ImagePool:
    """Shows a discriminator the newest fake or, half of the time, one from its history (Shrivastava et al., 2017).

    Every position of the batch keeps a history of its own, `size` images over the whole global batch. With one shared
    history, as CycleGAN has it, what is shown would depend on how the batch is divided over processes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        """Images kept, over all positions of the global batch; 0 shows every fake as it comes."""
        self.images: Tensor | None = None  # (B, depth, C, H, W)
        self.filled = 0

    def query(self, fake: Tensor, rng: Rng = None) -> Tensor:
        """The images (B, C, H, W) to show for the newest fakes (B, C, H, W); stores what is not shown."""
        if self.size == 0:
            return fake
        history = self._history(fake)
        if self.filled < history.shape[1]:
            history[:, self.filled] = fake
            self.filled += 1
            return fake
        swap, slot = uniform((len(fake), 2), fake, rng).unbind(1)
        position, slot = torch.arange(len(fake), device=fake.device), (slot * history.shape[1]).long()
        swap = (swap < 0.5).view(-1, 1, 1, 1)
        stored = history[position, slot]
        history[position, slot] = torch.where(swap, fake, stored)
        return torch.where(swap, stored, fake)

    def state(self) -> dict[str, Tensor]:
        """The history, a row for each position of this process's batch; the rows of all processes are the whole."""
        if self.images is None:
            return {}
        return {
            "images": self.images,
            "filled": torch.full((len(self.images),), self.filled, device=self.images.device),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned; an empty history where it returned nothing."""
        self.images, self.filled = (state["images"].clone(), int(state["filled"][0])) if state else (None, 0)

    def _history(self, fake: Tensor) -> Tensor:
        """The history for fakes of this shape, begun anew where the shape has changed."""
        if self.images is None or self.images[:, 0].shape != fake.shape:
            self.images, self.filled = fake.new_zeros(len(fake), self._depth(len(fake)), *fake.shape[1:]), 0
        return self.images

    def _depth(self, batch: int) -> int:
        processes = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        return max(1, self.size // (batch * processes))
