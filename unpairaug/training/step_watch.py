"""Losses, gradients and weights of every step, kept on the device and read every few steps.

No step waits for the device: its numbers are read together with those of the steps around it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from unpairaug.errors import RunStopped
from unpairaug.losses import Losses
from unpairaug.training.trainer import JointTrainer

CHECK_EVERY = 20
"""Steps between two reads, at most."""
IDLE_STEPS = 20
"""Steps in a row without any gradient after which a weight counts as dead."""
MAX_LOSS_GROWTH, MAX_WEIGHT_GROWTH = 1e4, 1e3
"""How far the mean of a loss term, or the norm of a network's weights, may grow from its first value."""
LEAST_LOSS = 0.01
"""A first value of a loss term below it counts as this much: adversarial terms may start near zero."""
LOSS, GRADIENT = "loss ", "gradient of "
"""How the names of a step's numbers begin."""


class BadStep(Exception):
    """A step whose losses, gradients or weights are not finite. The training loop handles it."""

    def __init__(self, step: int, names: list[str], steps: int) -> None:
        super().__init__(f"not finite in step {step + 1}: {', '.join(names)}")
        self.step, self.names, self.steps = step, names, steps
        """The first bad step, counted from 0; what is not finite, in words; and the steps taken when it was found."""


class Row(NamedTuple):
    """The numbers of one step."""

    step: int
    names: list[str]
    values: Tensor


class StepWatch:
    """Watches that training stays finite, that it does not diverge, and that every network learns."""

    def __init__(self, trainer: JointTrainer) -> None:
        self.trainer = trainer
        self.rows: list[Row] = []
        """Of the steps since the last read."""
        self.first_losses: dict[str, float] = {}
        self.first_weights = {name: norm.item() for name, norm in self._weight_norms().items()}
        self.warned: set[str] = set()
        """Networks that a warning was given of."""
        self.latest: dict[str, float] = {}
        """As of the last read: `gradient_norm_<network>`, and `dead_<network>`, the share of its dead weights."""

    def add(self, step: int, losses: Losses) -> None:
        """Keep the numbers of a step, counted from 0; they stay on the device."""
        norms = self.trainer.gradients.norms
        if losses:
            names = [*(LOSS + name for name in losses), *(GRADIENT + name for name in norms)]
            values = torch.stack([*losses.values(), *norms.values()]).detach().float()
            self.rows.append(Row(step, names, values))

    def check(self, steps: int) -> list[str]:
        """Read what was kept, and return new warnings. Collective: every process must call it.

        Args:
            steps: steps taken.

        Raises:
            BadStep: a loss, a gradient or a weight is not finite.
            RunStopped: the run has diverged.
        """
        if not self.rows:
            return []
        rows, self.rows = self.rows, []
        every, norms, idle = self._read(rows)
        if bad := self._find_bad(rows, every):
            raise BadStep(*bad, steps)
        if names := [f"weights of {name}" for name, norm in norms.items() if not math.isfinite(norm)]:
            raise BadStep(rows[-1].step, names, steps)
        self._check_divergence(rows, every, norms, steps)
        dead = self._find_dead(idle)
        self.latest = {f"dead_{name}": len(found) / total for name, (found, total) in dead.items()}
        for name, value in zip(rows[-1].names, every[0][-1], strict=True):
            if name.startswith(GRADIENT) and math.isfinite(value):
                self.latest[f"gradient_norm_{name.removeprefix(GRADIENT)}"] = value
        return [*self._new_warnings(dead)]

    def state_dict(self) -> dict[str, Any]:
        """What later checks depend on, as JSON holds it."""
        gradients = self.trainer.gradients.state_dict()
        first = {"first_losses": self.first_losses, "first_weights": self.first_weights}
        return {**first, "warned": sorted(self.warned), "gradients": gradients}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, and forget the steps since the last read."""
        self.rows = []
        self.first_losses, self.first_weights = dict(state["first_losses"]), dict(state["first_weights"])
        self.warned = set(state["warned"])
        self.trainer.gradients.load_state_dict(state["gradients"])

    def _weight_norms(self) -> dict[str, Tensor]:
        """The norm of each network's weights, on the device."""
        parameters = {name: [*network.parameters()] for name, network in self.trainer.networks.items()}
        return {name: torch.nn.utils.get_total_norm(own).detach() for name, own in parameters.items() if own}

    def _read(self, rows: list[Row]) -> tuple[list[list[list[float]]], dict[str, float], list[float]]:
        """In one transfer: the values of the rows, for each process; the norms of the weights; the idle steps."""
        norms = self._weight_norms()
        idle = [steps.float() for _, steps in self.trainer.gradients.idle_steps.values()]
        parts = [*(row.values for row in rows), torch.stack([*norms.values()]), *idle]
        gathered = cast("Tensor", self.trainer.accelerator.gather(torch.cat(parts)[None]))
        found = [[part.tolist() for part in flat.split([len(part) for part in parts])] for flat in gathered.cpu()]
        own = found[0]
        weights = dict(zip(norms, own[len(rows)], strict=True))
        return [flat[: len(rows)] for flat in found], weights, [n for part in own[len(rows) + 1 :] for n in part]

    def _find_bad(self, rows: list[Row], every: list[list[list[float]]]) -> tuple[int, list[str]] | None:
        """The first step with a value that is not finite on any process, and the names of such values.

        In fp16 a gradient that overflows is normal while a loss scale is being found: the scaler leaves the step out.
        """
        scaler = self.trainer.accelerator.scaler
        is_scaled = scaler is not None and scaler.get_scale() >= 1
        for row, *values in zip(rows, *every, strict=True):
            wrong = [
                name
                for name, *found in zip(row.names, *values, strict=True)
                if not all(map(math.isfinite, found)) and not (is_scaled and name.startswith(GRADIENT))
            ]
            if wrong:
                return row.step, wrong
        return None

    def _check_divergence(
        self, rows: list[Row], every: list[list[list[float]]], norms: dict[str, float], steps: int
    ) -> None:
        """Compare losses and weights with their first values.

        Raises:
            RunStopped: one has grown too far.
        """
        losses: dict[str, list[float]] = {}
        for row, *values in zip(rows, *every, strict=True):
            for name, *found in zip(row.names, *values, strict=True):
                if name.startswith(LOSS):
                    losses.setdefault(name, []).append(abs(sum(found) / len(found)))
        for name, values in losses.items():
            first = max(self.first_losses.setdefault(name, values[0]), LEAST_LOSS)
            if (mean := sum(values) / len(values)) > MAX_LOSS_GROWTH * first:
                self._stop(f"{name} has grown from {first:.3g} to {mean:.3g}", steps)
        for name, norm in norms.items():
            first = self.first_weights[name]
            if norm > MAX_WEIGHT_GROWTH * max(first, 1.0):
                self._stop(f"the norm of the weights of {name} has grown from {first:.3g} to {norm:.3g}", steps)

    def _stop(self, what: str, steps: int) -> None:
        raise RunStopped(
            f"diverged: {what} after {steps} steps; nothing of it is saved, and earlier checkpoints are complete. "
            f"Lower the learning rates, or set train.clip; see: unpairaug docs divergence"
        )

    def _find_dead(self, idle: list[float]) -> dict[str, tuple[list[str], int]]:
        """For each network that learns, the names of its weights without a gradient, and how many weights it has.

        Biases do not count: that of a last layer gets a gradient even where everything before it is dead.
        """
        found, left = {}, iter(idle)
        for network, (names, _) in self.trainer.gradients.idle_steps.items():
            sizes = dict(self.trainer.networks[network].named_parameters())
            steps = {name: next(left) for name in names}
            weights = [name for name in names if sizes[name].ndim > 1]
            found[network] = [name for name in weights if steps[name] >= IDLE_STEPS], max(1, len(weights))
        return found

    def _new_warnings(self, dead: dict[str, tuple[list[str], int]]) -> Iterator[str]:
        for network, (names, total) in dead.items():
            if names and network not in self.warned:
                self.warned.add(network)
                yield (
                    f"no gradient: {len(names)} of {total} weights of {network} have had no gradient for {IDLE_STEPS} "
                    f"steps or more, the first of them {names[0]}: it has stopped learning; "
                    f"see: unpairaug docs no-gradient"
                )
