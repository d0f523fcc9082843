"""The phases of a run: translator warm-up, head warm-up, joint, head finish; learning rates and feedback in them."""

from __future__ import annotations

from dataclasses import dataclass

from unpairaug.translator import Phase


@dataclass(frozen=True)
class Schedule:
    """Lengths in steps (one step = one update of every network in play)."""

    steps: int
    """Length of the whole run."""
    translator_warmup: int = 0
    """First steps: only the translator is trained."""
    head_warmup: int = 0
    """Next steps: only the head is trained, on sources without degradation."""
    head_finish: int = 0
    """Last steps: only the head is trained, on fakes of the averaged translator."""
    feedback: float = 1.0
    """Weight of the head's gradient in the translator; with 0 the translator learns without the head."""
    feedback_ramp: int = 0
    """Steps of the joint phase over which the feedback grows from 0 to its weight."""
    lr_decay: int = 0
    """Last steps of each network's training, over which its learning rate falls linearly towards 0."""

    @property
    def translator_end(self) -> int:
        """The step before which the translator is trained."""
        return self.steps - self.head_finish

    def phase(self, step: int) -> Phase:
        """The phase of a step, counted from 0."""
        if step < self.translator_warmup:
            return "translator_warmup"
        if step < self.translator_warmup + self.head_warmup:
            return "head_warmup"
        return "joint" if step < self.translator_end else "head_finish"

    def describe_phases(self) -> str:
        """The phases that have steps, as a line of a log; empty where the whole run is joint training."""
        lengths = {"translator warm-up": self.translator_warmup, "head warm-up": self.head_warmup}
        lengths["joint training"] = self.translator_end - sum(lengths.values())
        lengths["head finish"] = self.head_finish
        first, phases = 1, []
        for name, length in lengths.items():
            if length > 0:
                phases.append(f"{name} from step {first}")
            first += length
        return f"phases: {', '.join(phases)}" if len(phases) > 1 else ""

    def feedback_at(self, step: int) -> float:
        """Weight of the head's gradient in the translator at a step: 0 outside the joint phase, ramped up in it."""
        joint = step - self.translator_warmup - self.head_warmup
        return self.feedback * min(1.0, (joint + 1) / (self.feedback_ramp + 1)) if self.phase(step) == "joint" else 0.0

    def lr_factor(self, step: int, end: int) -> float:
        """Factor of the learning rate of a network trained until `end`: 1, then linear decay to 0 at `end`."""
        return max(0.0, min(1.0, (end - step) / (self.lr_decay + 1)))
