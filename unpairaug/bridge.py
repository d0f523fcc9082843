"""The one place where images pass from the translator to the head, and gradients back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from unpairaug.camera.measured_camera import MeasuredCamera
from unpairaug.rng import Rng, normal, uniform

Feed = Literal["fake", "restore(fake)", "source", "real"]


class Bridge:
    """Makes what the head is fed of a translated image, and passes part of the head's gradient back.

    A deterministic generator can hide information in invisible detail (Chu et al., 2017), and feedback rewards it for
    that. So the head sees what an 8-bit file would hold. A random strength makes the translation an augmentation rather
    than a verdict: on real photographs this decides success.
    """

    def __init__(
        self,
        feed: Feed = "fake",
        strength: float | tuple[float, float] | Literal["measured"] = 1.0,
        round: bool = True,
        perturbation: float | tuple[float, float] | Literal["measured"] = 0.0,
        pairs: float = 0.0,
        domain_weights: bool = False,
    ) -> None:
        self.feed = feed
        """What the head is fed: the translated image; what the translator restores of that; the source alone; or the
        real image where pairs exist (the ceiling)."""
        self.strength = None if strength == "measured" else _as_range(strength)
        """Share of the translation in the blend, drawn uniformly per sample: 0 is the source, 1 the fake; None draws it
        between the measured camera's `min_strength` and 1."""
        self.round = round
        """Round to 8 bits, after a JPEG where the measured camera writes files, with a straight-through gradient."""
        self.perturbation = None if perturbation == "measured" else _as_range(perturbation)
        """Standard deviation of Gaussian noise added before rounding, in 8-bit steps, drawn uniformly per sample; None
        draws it between 0 and the measured camera's `max_perturbation`."""
        self.pairs = pairs
        """Share of the samples whose clean image is the ground truth of the real one; there the real image is fed."""
        self.domain_weights = domain_weights
        """Whether what looks real counts more in the task's loss."""

    def __call__(
        self,
        source: Tensor,
        fake: Tensor,
        real: Tensor,
        feedback: float = 1.0,
        rng: Rng = None,
        camera: MeasuredCamera | None = None,
        restore: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """What the head is fed, (B, C, h, w) in [0, 1].

        Args:
            source: what was degraded, (B, C, h, w) in [0, 1].
            fake: what the translator made of it, the same shape.
            real: real degraded images, the same shape.
            feedback: factor of the head's gradient that flows back into `fake`; 0 detaches it.
            rng: where strength and perturbation are drawn.
            camera: what was measured of the camera; without it full strength, no perturbation and no JPEG follow
                where the recipe says `measured`.
            restore: the translator's way back, which feed `restore(fake)` needs.
        """
        if self.feed in ("real", "source"):
            return real if self.feed == "real" else source
        fake = fake.detach() if feedback == 0 else scale_gradient(fake, feedback)
        fed = source + _draw(self.strengths(camera), fake, rng) * (fake - source)
        perturbation = self.perturbation or (0.0, 0.0 if camera is None else camera.max_perturbation)
        if perturbation != (0, 0):
            fed = fed + _draw(perturbation, fed, rng) / 255 * normal(fed.shape, fed, rng)
        fed = fed.clamp(0, 1)
        if self.round:
            fed = round_to_8_bits(fed if camera is None else camera.apply_jpeg(fed))
        if self.feed == "fake":
            return fed
        assert restore is not None, "feed restore(fake) needs a translator's way back"
        # The head's gradient stops at what restores: it is to imitate real images restored, not to help the head.
        with torch.no_grad():
            return restore(fed).clamp(0, 1)

    def strengths(self, camera: MeasuredCamera | None) -> tuple[float | Tensor, float | Tensor]:
        """The ends between which the share of the translation is drawn."""
        return self.strength or (1.0 if camera is None else camera.min_strength, 1.0)


def _as_range(value: float | tuple[float, float]) -> tuple[float, float]:
    return (value, value) if isinstance(value, (int, float)) else (value[0], value[1])


def _draw(ends: tuple[float | Tensor, float | Tensor], images: Tensor, rng: Rng) -> Tensor:
    """A number for each image, uniform between the ends: (B, 1, 1, 1)."""
    return ends[0] + (ends[1] - ends[0]) * uniform((len(images), 1, 1, 1), images, rng)


def round_to_8_bits(image: Tensor) -> Tensor:
    """The image (any shape, in [0, 1]) on the 256 levels of an 8-bit file; the gradient passes straight through."""
    return image + ((image * 255).round() / 255 - image).detach()


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0] * ctx.factor, None


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """The tensor itself; its gradient is multiplied by the factor."""
    return x if factor == 1 else _ScaleGradient.apply(x, factor)
