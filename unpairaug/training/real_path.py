"""Loss terms on what the head restores of real images, which have no ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn

from unpairaug.bridge import scale_gradient
from unpairaug.errors import UserError
from unpairaug.losses import Losses
from unpairaug.losses.criterion import Criterion
from unpairaug.networks.generators import PlainGenerator
from unpairaug.registry import Spec
from unpairaug.task import Task
from unpairaug.translator import Restores, Translator, degrade_input

RealFeed = Literal["real", "restore(real)"]


class RealPath:
    """Terms on what the head makes of real images, as logged with `real_` before their names.

    - those of `loss` compare with clean images of other scenes (an adversarial term), or with nothing (`tv`);
    - `cycle`: a generator of its own makes the real image again (CinCGAN's G3, Yuan et al., 2018);
    - `consistency`: the averaged translator does, from the restored image as the task would degrade it.

    Without a weight there is no such path, and it costs nothing.
    """

    def __init__(
        self,
        scale: int,
        feed: RealFeed = "real",
        loss: Spec | None = None,
        lambda_cycle: float = 0.0,
        cycle_width: int = 64,
        cycle_power: Literal[1, 2] = 2,
        lambda_consistency: float = 0.0,
    ) -> None:
        """Build the networks that judge.

        Raises:
            UserError: a term of `loss` needs ground truth, which real images do not have.
        """
        self.feed: RealFeed = feed
        """What the head is given: the real image, or what the translator restored of it."""
        self.criterion = Criterion(loss) if loss else None
        self.lambda_cycle, self.lambda_consistency = lambda_cycle, lambda_consistency
        self.cycle_loss = F.l1_loss if cycle_power == 1 else F.mse_loss
        self.generators = nn.ModuleDict({"cycle": PlainGenerator(cycle_width, scale)} if lambda_cycle else {})
        self.discriminators = self.criterion.discriminators if self.criterion else nn.ModuleDict()
        for name, term in self.criterion.terms.items() if self.criterion else ():
            if not getattr(term, "without_ground_truth", False):
                raise UserError(
                    f"real_path.loss.{name} needs ground truth, which real images do not have; possible here: gan, tv, "
                    f"and losses of your own with `without_ground_truth = True`"
                )

    def __bool__(self) -> bool:
        return self.criterion is not None or self.lambda_cycle > 0 or self.lambda_consistency > 0

    def networks(self) -> Iterator[tuple[str, nn.Module]]:
        """What learns here, under the names by which the trainer steps it."""
        yield from ((f"generator_real_{name}", network) for name, network in self.generators.items())
        yield from ((f"task_discriminator_real_{name}", network) for name, network in self.discriminators.items())

    def restored(self, real: Tensor, task: Task, translator: Translator, feedback: float) -> Tensor:
        """The real image (B, 3, h, w) in [0, 1] through the head, (B, 3, scale * h, scale * w).

        The head's gradient reaches the translator's way back times `feedback`.
        """
        if self.feed == "real":
            return task(real)
        cleaned = cast("Restores", translator).restore(real)
        return task(cleaned.detach() if feedback == 0 else scale_gradient(cleaned, feedback))

    def losses_g(self, restored: Tensor, real: Tensor, clean: Tensor, task: Task, translator: Translator) -> Losses:
        """The weighted terms of the head, and of the generator of the cycle.

        Args:
            restored: from `restored`.
            real: what it was restored from, (B, 3, h, w).
            clean: of other scenes, (B, 3, scale * h, scale * w).
            task: says what of a restored image is degraded.
            translator: the averaged one; it learns nothing here.
        """
        terms = self.criterion.losses(restored, clean) if self.criterion else {}
        if self.lambda_cycle:
            terms["cycle"] = self.lambda_cycle * self.cycle_loss(self.generators["cycle"](restored), real)
        if self.lambda_consistency:
            # Squared, so that the noise of either side moves the value and not the gradient.
            again = translator(degrade_input(translator, restored, task.source(restored)), translator.rng)
            terms["consistency"] = self.lambda_consistency * F.mse_loss(again, real)
        return {f"real_{name}": term for name, term in terms.items()}

    def losses_d(self, restored: Tensor, clean: Tensor) -> Losses:
        """What the discriminators have to learn; the restored images carry no gradient."""
        terms = self.criterion.losses_d(restored, clean) if self.criterion else {}
        return {f"d_real_{name}": term for name, term in terms.items()}
