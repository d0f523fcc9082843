"""When what is trained: translator warm-up, head warm-up, joint; and how learning rates and feedback move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["translator", "head", "joint"]


@dataclass(frozen=True)
class Schedule:
    """Lengths in steps (one step = one update of every network in play)."""

    steps: int
    """Length of the whole run."""
    translator_warmup: int = 0
    """First steps, in which the translator alone is trained."""
    head_warmup: int = 0
    """Steps after that, in which the head alone is trained, on plain sources."""
    feedback: float = 1.0
    """Weight of the head's gradient in the translator; 0 trains the two side by side."""
    feedback_ramp: int = 0
    """Steps of the joint phase over which the feedback grows from 0 to its weight."""
    lr_decay: int = 0
    """Last steps of the run, over which learning rates fall linearly towards 0."""

    def phase(self, step: int) -> Phase:
        if step < self.translator_warmup:
            return "translator"
        return "head" if step < self.translator_warmup + self.head_warmup else "joint"

    def feedback_at(self, step: int) -> float:
        joint = step - self.translator_warmup - self.head_warmup
        return self.feedback * min(1.0, (joint + 1) / (self.feedback_ramp + 1)) if joint >= 0 else 0.0

    def lr_factor(self, step: int) -> float:
        """Factor of every learning rate: 1, then down a straight line that would reach 0 one step after the last."""
        return min(1.0, (self.steps - step) / (self.lr_decay + 1))
