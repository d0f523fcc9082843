"""The mean of each loss term since the last line of the log."""

from __future__ import annotations

from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor

from unpairaug.losses import Losses


class RunningLosses:
    """Sums of loss terms on the device, so that no step waits for the device."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.sums: Losses = {}
        self.steps = 0
        """Steps that the sums are of."""

    def __bool__(self) -> bool:
        return bool(self.sums)

    def add(self, losses: Losses) -> None:
        """Add the terms of a step; they must have the same names as those before."""
        self.sums = {name: self.sums.get(name, 0) + loss.float() for name, loss in losses.items()}
        self.steps += 1

    def means(self) -> dict[str, float]:
        """The mean of each term over steps and processes. Collective: every process must call it."""
        sums = torch.stack([*self.sums.values()])
        means = cast("Tensor", self.accelerator.reduce(sums / self.steps, "mean"))
        return dict(zip(self.sums, means.tolist(), strict=True))

    def reset(self) -> None:
        """Start the next sums."""
        self.sums, self.steps = {}, 0

    def state_dict(self) -> dict[str, Any]:
        """The sums of every process, as JSON holds them. Collective: every process must call it."""
        if not self.sums:
            return {"names": [], "sums": [], "steps": 0}
        rows = cast("Tensor", self.accelerator.gather(torch.stack([*self.sums.values()])[None]))
        return {"names": list(self.sums), "sums": rows.tolist(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; with another number of processes, each takes the mean over all."""
        rows = torch.tensor(state["sums"], dtype=torch.float32, device=self.accelerator.device)
        if len(rows):
            is_same = len(rows) == self.accelerator.num_processes
            rows = rows[self.accelerator.process_index] if is_same else rows.mean(0)
        self.sums = dict(zip(state["names"], rows.unbind(), strict=True)) if state["names"] else {}
        self.steps = state["steps"]
