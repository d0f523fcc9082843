"""The contract of a degradation translator."""

from __future__ import annotations

import copy
from typing import Literal

from torch import Tensor, nn

from unpairaug.losses import Losses
from unpairaug.registry import Spec, translators
from unpairaug.rng import Rng
from unpairaug.sharing.hub import HubPart
from unpairaug.sharing.pretrained import Pretrained

Phase = Literal["translator_warmup", "head_warmup", "joint", "head_finish"]
"""Which networks a step trains: the translator alone, the head alone, both, the head alone again."""


class Translator(HubPart, nn.Module):
    """Learns from unpaired images how the real camera degrades, and degrades clean ones alike.

    A subclass names itself with `@register_translator("name")` and fills `generators` and `discriminators`; the trainer
    gives each of them its learning rate, clip and average. `losses_g` and `losses_d` are the two sides of the
    adversarial game. Images stay on the pixel grid of antialiased bicubic (cell centres): unpaired data cannot reveal a
    shift, and a shift ruins the head.
    """

    part = "translator"
    config: Spec
    """What the translator was built from: `type` and the constructor's options."""
    scale: int = 1
    """Side of the image that `degrade` takes over that of the one it makes. Above 1, it takes the clean image."""

    def __init__(self) -> None:
        super().__init__()
        self.trained: Spec = {}
        self.generators = nn.ModuleDict()
        self.discriminators = nn.ModuleDict()
        self.rng: Rng = None
        """Where noise is drawn from when a call brings no generator of its own; the trainer renews it every step."""
        self.phase: Phase = "joint"
        """Where the run stands, for terms whose weights differ between warm-up and joint phase; the trainer says it."""
        self.smallest_side = 1
        """Side in pixels of the smallest images that the losses can be computed on."""

    measures: bool = False
    """Whether `measure` is to be called before training."""

    @property
    def doubt(self) -> float | Tensor:
        """Standard deviation, in 8-bit steps, of noise that stands for what the translator may get wrong.

        The head is fed up to that much with `bridge.perturbation: measured`; it follows from what `measure` found.
        """
        return 0.0

    @property
    def trust(self) -> float | Tensor:
        """The least share of its translation that the head is fed with `bridge.strength: measured`, at most 1."""
        return 1.0

    def filed(self, seen: Tensor) -> Tensor:
        """What the camera's files keep of images (B, C, h, w) in [0, 1]; the gradient passes straight through.

        `degrade` ends in it, but not in training: a discriminator's gradient would pass the file with what the file
        takes away, and so raise it without end. There it is the bridge that ends in it.
        """
        return seen

    def measure(self, source: Tensor, real: Tensor, scenes: int) -> dict[str, float]:
        """Take from unpaired crops (N, C, h, w) in [0, 1] what needs no training, and say what was found.

        `scenes` is the number of images that they are from, of the side that has fewer. Called once, before the first
        step of a translator that learns from nothing, with crops that cover all images.
        """
        raise NotImplementedError(f"translator {self.config['type']!r} has nothing to measure")

    def given(self, clean: Tensor, source: Tensor) -> Tensor:
        """What `degrade` takes: the source, or the clean image where the translator shrinks it itself."""
        return source if self.scale == 1 else clean

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        """The source (B, C, h, w) in [0, 1] as the real camera would show it: the same shape, not clamped.

        With a `scale` above 1 it takes the clean image (B, C, scale * h, scale * w). A stochastic translator draws its
        noise from `rng`: the same seed gives the same image.
        """
        raise NotImplementedError(f"{type(self).__name__} must say how it degrades")

    def restore(self, real: Tensor) -> Tensor:
        """A real degraded image (B, C, h, w) in [0, 1] as a source would look, where the translator has a way back."""
        raise NotImplementedError(f"translator {self.config['type']!r} has no restoring generator")

    def way_back(self) -> Translator:
        """A translator of the same weights that can do nothing but `restore`, in evaluation mode; nobody trains it.

        Of the generators it has `restore` alone, where there is one of that name.
        """
        twin, restoring = copy.copy(self), "restore" in self.generators
        twin._modules = {**self._modules}  # the copy's alone, so that this translator stays as it is
        kept = [name for name in self.generators if name == "restore" or not restoring]
        twin.generators = nn.ModuleDict({name: self.generators[name] for name in kept})
        twin.discriminators = nn.ModuleDict()
        return twin.eval()

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """The generators' weighted terms. `fake` is `degrade(source)`, still attached; all (B, C, h, w) in [0, 1]."""
        return {}

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """The discriminators' weighted terms, asked after `losses_g` on the same batch."""
        return {}

    def realness(self, image: Tensor) -> Tensor:
        """How real the translator's own judge finds each place of an image (B, C, h, w): (B, 1, h', w') in [0, 1]."""
        raise NotImplementedError(f"translator {self.config['type']!r} has no discriminator of degraded images")

    def memory(self) -> dict[str, Tensor]:
        """What the translator remembers between steps beside its weights, one row for each position of the batch."""
        return {}

    def load_memory(self, memory: dict[str, Tensor]) -> None:
        """Take back what `memory` gave."""

    def saved(self) -> tuple[Spec, dict[str, Tensor]]:
        """Its configuration and the generators' weights; nothing that judges is needed to degrade."""
        return self.config, self.generators.state_dict()

    @classmethod
    def loaded(cls, contents: Pretrained) -> Translator:
        """The translator that a folder holds, whatever class it is of."""
        translator: Translator = translators.build(contents.config)
        translator.generators.load_state_dict(contents.weights)
        return translator
