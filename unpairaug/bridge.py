"""The one door between translator and head."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from unpairaug.rng import Rng, normal, uniform

Feed = Literal["fake", "restore(fake)", "source", "real"]


class Camera(Protocol):
    """What the bridge asks of a translator, see `Translator`."""

    @property
    def doubt(self) -> float | Tensor: ...
    @property
    def trust(self) -> float | Tensor: ...
    def restore(self, real: Tensor) -> Tensor: ...
    def filed(self, seen: Tensor) -> Tensor: ...


class Bridge:
    """Turns a translated image into what the head is fed, and lets part of the head's gradient back through.

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
        domain_weights: bool = False,
    ) -> None:
        self.feed = feed
        """What the head is fed: the translated image; what the translator restores of that; the source alone; or the
        real image where pairs exist (the ceiling)."""
        self.strength = None if strength == "measured" else _as_range(strength)
        """Share of the translation in the blend, drawn uniformly per sample: 0 is the source, 1 the fake; None draws it
        between the translator's `trust` and 1."""
        self.round = round
        """Round to 8 bits, through a JPEG where the translator makes such files, with a straight-through gradient."""
        self.perturbation = None if perturbation == "measured" else _as_range(perturbation)
        """Standard deviation of Gaussian noise added before rounding, in 8-bit steps, drawn uniformly per sample; None
        draws it between 0 and the translator's `doubt`."""
        self.domain_weights = domain_weights
        """Whether what looks real counts more in the task's loss."""

    def __call__(
        self,
        source: Tensor,
        fake: Tensor,
        real: Tensor,
        feedback: float = 1.0,
        rng: Rng = None,
        camera: Camera | None = None,
    ) -> Tensor:
        """What the head is fed, (B, C, h, w) in [0, 1], from source, fake and real of that shape.

        `feedback` scales the gradient that flows back into `fake`; 0 detaches it. `camera` is the
        translator; without one nothing is doubted, and no file follows.
        """
        if self.feed in ("real", "source"):
            return real if self.feed == "real" else source
        fake = fake.detach() if feedback == 0 else scale_gradient(fake, feedback)
        fed = source + _draw(self.strengths(camera), fake, rng) * (fake - source)
        perturbation = self.perturbation or (0.0, camera.doubt if camera else 0.0)
        if perturbation != (0, 0):
            fed = fed + _draw(perturbation, fed, rng) / 255 * normal(fed.shape, fed, rng)
        fed = fed.clamp(0, 1)
        if self.round:
            fed = round_to_8_bits(camera.filed(fed) if camera else fed)
        if self.feed == "fake":
            return fed
        assert camera is not None, "to feed restore(fake) takes a translator's way back"
        # The head's gradient stops at what restores: it is to imitate real images restored, not to help the head.
        with torch.no_grad():
            return camera.restore(fed).clamp(0, 1)

    def strengths(self, camera: Camera | None) -> tuple[float | Tensor, float | Tensor]:
        """The ends between which the share of the translation is drawn."""
        return self.strength or (camera.trust if camera else 1.0, 1.0)


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
