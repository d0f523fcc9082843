"""Guards: ways in which a run goes wrong without an error, measured during training. A guard warns once, nothing more.

Each guard has a section in docs/start/troubleshooting.md: what its numbers mean, and what to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from unpairaug.bridge import round_to_8_bits
from unpairaug.data import UnpairedBatch
from unpairaug.rng import Rng, mix_seed, normal, sample_rng
from unpairaug.training.guard_kinds import Collapse, ColourDrift, Guard, Leak, Saturation, Snapshot
from unpairaug.training.trainer import TRANSLATOR_LEARNS, JointTrainer
from unpairaug.translator import JudgesRealness, Phase, Translator, degrade_input

PATIENCE = 3
"""Bad checks in a row before a guard warns: an untrained translator or discriminator may look bad for a while."""


class Guards:
    """Checks a run at intervals and counts the bad checks of each guard."""

    def __init__(self, trainer: JointTrainer, samples: UnpairedBatch, seed: int) -> None:
        """Start with empty counters.

        Args:
            trainer: whose networks are checked.
            samples: the samples of every check, on the trainer's device.
            seed: of the draws.
        """
        self.trainer, self.samples, self.seed = trainer, samples, seed
        self.collapse = Collapse()
        self.guards: dict[str, Guard] = {g.section: g for g in (ColourDrift(), self.collapse, Saturation(), Leak())}
        self.bad_checks = dict.fromkeys(self.guards, 0)
        """Bad checks in a row of each guard."""
        self.warned: set[str] = set()
        self.colour_sums, self.batches = torch.zeros(2, 3, device=samples.clean.device), 0

    def add_colours(self, batch: UnpairedBatch) -> None:
        """Add the mean colours of a training batch to the running sums."""
        self.colour_sums += torch.stack([image.mean((0, 2, 3)) for image in batch[:2]])
        self.batches += 1

    def mean_colours(self) -> Tensor:
        """Mean colours of the clean and of the real images that this process has read: (2, 3)."""
        return self.colour_sums / max(1, self.batches)

    def check(self, step: int, mean_colours: Tensor) -> tuple[dict[str, float], list[str]]:
        """Measure after `step` steps: the numbers by name, and the new warnings.

        Args:
            step: steps taken.
            mean_colours: from the method of that name, the mean over all processes.
        """
        phase = self.trainer.schedule.phase(step - 1)
        if phase == "translator_warmup":
            return {}, []  # a young translator may do anything: no head is fed with it
        snapshot = self.take_snapshot(phase, mean_colours)
        values, warnings = {}, []
        for section, guard in self.guards.items():
            measured = guard.measure(snapshot)
            fault = guard.find_fault(measured) if measured else None
            self.bad_checks[section] = self.bad_checks[section] + 1 if fault else 0
            if fault and self.bad_checks[section] >= PATIENCE and section not in self.warned:
                self.warned.add(section)
                warnings.append(f"{fault}; see: unpairaug docs {section}")
            values.update(measured)
        return values, warnings

    def state_dict(self) -> dict[str, Any]:
        """Counters, warnings given and colour sums, as JSON holds them. Collective: every process must call it."""
        rows = cast("Tensor", self.trainer.accelerator.gather(self.colour_sums[None]))
        return {
            "bad_checks": dict(self.bad_checks),
            "warned": sorted(self.warned),
            "largest_diversity": self.collapse.largest,
            "colour_sums": rows.tolist(),
            "batches": self.batches,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, on any number of processes.

        Each process takes its own sums where the number of processes is the same, else the mean over all.
        """
        self.bad_checks.update({section: state["bad_checks"].get(section, 0) for section in self.guards})
        self.warned = set(state["warned"])
        self.collapse.largest = state["largest_diversity"]
        rows = torch.tensor(state["colour_sums"], device=self.colour_sums.device)
        accelerator = self.trainer.accelerator
        is_same = len(rows) == accelerator.num_processes
        self.colour_sums = rows[accelerator.process_index] if is_same else rows.mean(0)
        self.batches = state["batches"]

    @torch.no_grad()
    def take_snapshot(self, phase: Phase, mean_colours: Tensor) -> Snapshot:
        """Run the networks as they train on the samples. It changes no state: training goes on as if without it."""
        trainer, (clean, real, _) = self.trainer, self.samples
        translator = trainer.translator_in(phase)
        with _in_eval_mode(translator, trainer.translator, trainer.task):
            source = trainer.task.source(clean)
            degraded_from = degrade_input(translator, clean, source)
            drawn, second = (translator(degraded_from, self.rng(draw)) for draw in (0, 1))
            head_errors, perturbation = self.head_errors(source, drawn, translator)
            fake = drawn.clamp(0, 1)
            judged, judge = None, trainer.translator
            if isinstance(judge, JudgesRealness) and self.has_learning_discriminator(phase):
                judged = judge.realness(real), judge.realness(round_to_8_bits(fake))
        shift = mean_colours[1] - mean_colours[0] + (clean.mean((0, 2, 3)) - source.mean((0, 2, 3)))
        return Snapshot(source, fake, second.clamp(0, 1), shift, judged, head_errors, perturbation)

    def rng(self, draw: int) -> Rng:
        """Generators of a draw, one for each sample; draw 0 is that of the sample sheets."""
        seed = mix_seed(self.seed, draw) if draw else self.seed
        return sample_rng(seed, self.samples.index.tolist(), self.samples.clean.device)

    def has_learning_discriminator(self, phase: Phase) -> bool:
        """Whether a discriminator of degraded images is trained in this phase."""
        learns = any(name.startswith("discriminator_") for name in self.trainer.networks)
        return learns and phase in TRANSLATOR_LEARNS

    def head_errors(
        self, source: Tensor, fake: Tensor, translator: Translator
    ) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None]:
        """The head's errors on its usual input, before and after one 8-bit step of noise, and that noise as rounded."""
        bridge, (clean, real, _) = self.trainer.bridge, self.samples
        if bridge.feed in ("real", "source"):
            return None, None
        fed = bridge(source, fake, real, 0.0, self.rng(2), translator.camera, getattr(translator, "restore", None))
        changed = round_to_8_bits((fed + normal(fed.shape, fed, self.rng(3)) / 255).clamp(0, 1))
        before, after = (self.trainer.task(image) - clean for image in (fed, changed))
        return (before, after), changed - fed


@contextmanager
def _in_eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Set modules to evaluation mode, and each of their parts back to its own mode afterwards."""
    training = [part for module in modules for part in module.modules() if part.training]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
