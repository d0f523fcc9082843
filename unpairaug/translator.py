"""The contract of a degradation translator, and the abilities that some translators have beyond it.

A translator needs `degrade`; one that learns fills `generators` and gives `losses_g`, and `losses_d` where it has
discriminators. Each further ability is a protocol of its own below: a translator has it by having its methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Literal, Protocol, SupportsIndex, runtime_checkable

import torch
from torch import Tensor, nn

from unpairaug.camera.measured_camera import CameraReport, Measure, MeasuredCamera
from unpairaug.camera.optics import Progress
from unpairaug.errors import UserError
from unpairaug.losses import Losses
from unpairaug.networks.noise import SignalDependentNoise
from unpairaug.registry import Spec, translators
from unpairaug.rng import Rng
from unpairaug.sharing.hub import HubPart
from unpairaug.sharing.pretrained import Pretrained

Phase = Literal["translator_warmup", "head_warmup", "joint", "head_finish"]
"""Which networks a step trains: the translator alone, the head alone, both, the head alone again."""
MEASURE = "measure"
"""The key of a translator's configuration that says what of the camera is measured."""
CAMERA = "camera."
"""Before the names of the measured camera's tensors among saved weights."""


class Translator(HubPart, nn.Module):
    """Learns from unpaired images how the real camera degrades, and degrades clean images in the same way.

    A subclass names itself with `@register_translator("name")` and overrides `degrade`. To apply a translator, call it:
    `translator(source, rng)`. Images stay on the pixel grid of antialiased bicubic (cell centres): unpaired data cannot
    reveal a shift, and a shift ruins the head.
    """

    part = "translator"
    config: Spec
    """What the translator was built from: `type` and the constructor's options."""
    camera: MeasuredCamera | None
    """What was measured of the real camera (`translator.measure`); None where nothing is."""
    applies_camera: ClassVar[bool] = False
    """Whether `degrade` and the losses of the class apply the camera themselves; else `BehindCamera` does."""
    default_measure: ClassVar[Measure] = "none"
    """`translator.measure` where a recipe does not say it."""

    def __init__(self) -> None:
        super().__init__()
        self.trained: Spec = {}
        self.camera = None
        self.generators = nn.ModuleDict()
        """Networks that degrade or restore; the trainer gives each its learning rate, clip and average."""
        self.discriminators = nn.ModuleDict()
        """Networks that judge; they are neither averaged nor saved with the translator."""
        self.rng: Rng = None
        """Where losses draw random numbers, and calls without `rng`; the trainer renews it every step."""
        self.smallest_side = 1
        """Side in pixels of the smallest images that the losses can be computed on."""

    def forward(self, source: Tensor, rng: Rng = None) -> Tensor:
        """The source (B, 3, h, w) in [0, 1] as the real camera shows it: same shape, not clamped.

        Args:
            source: what `degrade_input` gives.
            rng: see `degrade`.
        """
        return self.degrade(source, self.rng if rng is None else rng)

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        """The degraded source: (B, 3, h, w) in [0, 1] -> the same shape, not clamped.

        Args:
            source: an image of the clean side, at the size of the real images.
            rng: where random numbers are drawn (see `unpairaug.rng`: `normal`, `uniform`, `numpy_generators`); the
                same state of the random generators gives the same image.
        """
        raise NotImplementedError(f"{type(self).__name__} must define degrade(source, rng)")

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """The generators' weighted terms by name, each a scalar.

        Args:
            source: what was degraded, (B, 3, h, w) in [0, 1].
            real: real degraded images of other scenes, the same shape.
            fake: what `degrade` made of `source`, with its gradient.
        """
        return {}

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """The discriminators' weighted terms by name; called after `losses_g` on the same batch, `fake` detached."""
        return {}

    def saved(self) -> tuple[Spec, dict[str, Tensor]]:
        """Its configuration, and the weights that degrading needs: the generators' and the measured camera's."""
        weights = self.generators.state_dict()
        if self.camera is not None:
            weights |= {f"{CAMERA}{name}": tensor for name, tensor in self.camera.state_dict().items()}
        return self.config, weights

    def load_saved(self, weights: Mapping[str, Tensor]) -> None:
        """Load the weights that `saved` gave.

        Raises:
            RuntimeError: they do not fit.
        """
        own = self.generators.state_dict().keys()  # a generator may be called `camera`, too
        of_camera = {n.removeprefix(CAMERA): t for n, t in weights.items() if n.startswith(CAMERA) and n not in own}
        self.generators.load_state_dict({n: t for n, t in weights.items() if n in own or not n.startswith(CAMERA)})
        if self.camera is not None:
            self.camera.load_state_dict(of_camera)
        elif of_camera:
            raise RuntimeError(f"unexpected weights of a measured camera: {', '.join(of_camera)}")

    @classmethod
    def loaded(cls, contents: Pretrained) -> Translator:
        """The translator that a folder holds, of whatever class."""
        translator = build_translator(contents.config)
        translator.load_saved(contents.weights)
        return translator


@runtime_checkable
class TakesClean(Protocol):
    """Ability: with a `scale` above 1, `degrade` takes the clean image and shrinks it itself.

    It takes (B, 3, scale * h, scale * w) and returns (B, 3, h, w). At scale 1 it takes the source, as any other.
    """

    scale: int


@runtime_checkable
class Restores(Protocol):
    """Ability: a way back, for `bridge.feed: restore(fake)` and `real_path.feed: restore(real)`."""

    def restore(self, real: Tensor) -> Tensor:
        """A real degraded image (B, 3, h, w) in [0, 1] as a source would look: the same shape, not clamped."""
        ...


@runtime_checkable
class JudgesRealness(Protocol):
    """Ability: a judge of degraded images, for `bridge.domain_weights`."""

    def realness(self, image: Tensor) -> Tensor:
        """How real each place of an image (B, 3, h, w) looks: (B, 1, h', w') in [0, 1]."""
        ...


@runtime_checkable
class KeepsImages(Protocol):
    """Ability: images of earlier steps that discriminators are shown again; checkpoints keep them."""

    def image_pool(self) -> dict[str, Tensor]:
        """What is kept, by name; each tensor has one row for each position of the batch."""
        ...

    def load_image_pool(self, pool: dict[str, Tensor]) -> None:
        """Load what `image_pool` gave."""


@runtime_checkable
class FollowsPhase(Protocol):
    """Ability: terms that differ between warm-up and joint training; the trainer sets `phase` at every step."""

    phase: Phase


@runtime_checkable
class FollowsSteps(Protocol):
    """Ability: terms that only some steps have; the trainer sets `training_step`, from 0, at every step."""

    training_step: int


def degrade_input(translator: Translator, clean: Tensor, source: Tensor) -> Tensor:
    """What the translator degrades: the source (B, 3, h, w), or the clean image where it shrinks that itself."""
    return source if own_scale(translator) == 1 else clean


def own_scale(translator: Translator) -> int:
    """How many times smaller the translator itself makes an image."""
    return translator.scale if isinstance(translator, TakesClean) else 1


@runtime_checkable
class LearnsNoise(Protocol):
    """Ability: noise of its own, which starts at what was measured. To others the measured camera adds noise."""

    @property
    def learnt_noise(self) -> SignalDependentNoise: ...


class BehindCamera(Translator):
    """Mixed into the class of any translator with `translator.measure`: it learns only what the measurement leaves.

    `degrade` and the losses of the class itself get sources as the measured camera shows them, and discriminators see
    files where the camera writes some. A way back ends at such sources, too.
    """

    camera: MeasuredCamera  # type: ignore[assignment]  # never None here
    plain: ClassVar[type[Translator]]
    """The class that this is mixed into."""
    seen: Tensor | None = None
    """The newest source as the camera shows it, from `forward` for the losses."""

    def forward(self, source: Tensor, rng: Rng = None) -> Tensor:
        rng = self.rng if rng is None else rng
        seen = self.camera.apply_optics(source)
        seen = seen if isinstance(self, LearnsNoise) else seen + self.camera.noise(seen, rng)
        self.seen = seen if self.training and own_scale(self) == 1 else None
        fake = self.degrade(seen, rng)
        return fake if self.training else self.camera.apply_jpeg(fake)

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        return super().losses_g(self._as_seen(source), real, self.camera.apply_jpeg(fake))

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        return super().losses_d(self._as_seen(source), real, self.camera.apply_jpeg(fake))

    def _as_seen(self, source: Tensor) -> Tensor:
        """The source as the camera shows it; unchanged where the class shrinks clean images, as only noise follows."""
        assert self.seen is not None or own_scale(self) > 1, "losses follow a call on the same batch"
        return source if self.seen is None else self.seen

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        # By name, so that copies and worker processes find the class.
        return _new_behind_camera, (self.plain,), super().__reduce_ex__(2)[2]


@cache
def behind_camera(plain: type[Translator]) -> type[Translator]:
    """The translator class with `BehindCamera` mixed in."""
    attributes = {"plain": plain, "__module__": plain.__module__}
    return type(f"{plain.__name__}BehindCamera", (BehindCamera, plain), attributes)


def _new_behind_camera(plain: type[Translator]) -> Translator:
    return object.__new__(behind_camera(plain))


def hold_camera(translator: Translator, measure: Measure) -> Translator:
    """The translator with a camera that is still to be measured (`measure_camera`).

    Raises:
        UserError: it shrinks clean images itself, so that measured optics or noise have no place in front of it.
    """
    if own_scale(translator) > 1 and (measure == "all" or not isinstance(translator, LearnsNoise)):
        possible = "noise or none" if isinstance(translator, LearnsNoise) else "none"
        raise UserError(
            f"translator.measure {measure!r}: {translator.config['type']!r} shrinks clean images by "
            f"{own_scale(translator)} itself, but a camera is measured at the size of real images; give {possible}"
        )
    translator.camera = MeasuredCamera(measure)
    translator.smallest_side = max(translator.smallest_side, MeasuredCamera.smallest_side)
    if not translator.applies_camera:
        translator.__class__ = behind_camera(type(translator))  # type: ignore[assignment]
    return translator


@torch.no_grad()
def measure_camera(
    translator: Translator, source: Tensor, real: Tensor, scenes: int, progress: Progress = iter
) -> CameraReport:
    """Measure the camera that the translator holds, see `MeasuredCamera.measure`; noise that it learns starts there."""
    assert translator.camera is not None, "hold_camera comes first"
    report = translator.camera.measure(source, real, scenes, progress)
    if isinstance(translator, LearnsNoise):
        black, white, share = report.starting_noise()
        translator.learnt_noise.start_at(black, white)
        translator.learnt_noise.start_with(share * report.noise.energy + 1 - share, share * report.noise.shared)
    return report


def build_translator(spec: str | Spec) -> Translator:
    """The translator that a recipe's section or a saved configuration describes: `type`, its options, `measure`.

    Raises:
        UserError: there is no such translator, an option is wrong, or it cannot hold a measured camera.
    """
    given: Spec = {"type": spec} if isinstance(spec, str) else dict(spec)
    measure: Measure | None = given.pop(MEASURE, None)
    translator: Translator = translators.build(given)
    if (measure := measure or translator.default_measure) == "none":
        return translator
    translator = hold_camera(translator, measure)
    translator.config = {**translator.config, MEASURE: measure}
    return translator
