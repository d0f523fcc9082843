"""The contract of a downstream task."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from unpairaug.data.array_image import check_tensor_range
from unpairaug.errors import UserError
from unpairaug.losses import Losses
from unpairaug.losses.criterion import Criterion
from unpairaug.registry import Component, HeadSpec, LossSpec, Spec, heads, tasks
from unpairaug.registry.terms import Terms
from unpairaug.sharing.hub import HubPart
from unpairaug.sharing.pretrained import Pretrained
from unpairaug.translator import Restores, Translator, build_translator

COLOURS = 3
"""Channels of every image that is read."""
RESTORER = "translator.restore"
"""The key of a saved task's configuration for the translator that restores first; no option can have this name."""


class Task(HubPart, nn.Module):
    """A restoration task: which image is degraded, which network restores it, and how well that went.

    A subclass names itself with `@register_task("name")`. It passes a `head`, or brings its own network and overrides
    `forward`. It overrides `source` where what is degraded is not the clean image itself, and `loss` (one number) or
    `losses` (named terms) where no registered loss fits.
    """

    part = "task"
    config: Spec
    """What the task was built from: `type` and the constructor's options."""

    def __init__(self, scale: int = 1, head: HeadSpec | nn.Module | None = None, loss: LossSpec = "l1") -> None:
        """Build the head.

        Args:
            scale: side of the restored image over the side of the degraded one.
            head: a registered head as its name or as a section with `type`; any module (B, 3, h, w) ->
                (B, 3, scale * h, scale * w); or None for a subclass that overrides `forward`.
            loss: a registered loss, or a section of weighted terms.

        Raises:
            UserError: the head cannot be built, or not for colour images.
        """
        super().__init__()
        self.trained: Spec = {}
        self.restorer: Translator | None = None
        """What restores an image before the head sees it, see `with_restorer`; None in training."""
        self.scale = scale
        """Side of the restored image over the side of the degraded one."""
        self.head = head if head is None or isinstance(head, nn.Module) else _build_head(head, scale)
        self._loss = loss
        self._criterion: Criterion | None = None
        self._is_range_checked = False

    def source(self, clean: Tensor) -> Tensor:
        """What the translator degrades, (B, 3, H / scale, W / scale), of a clean image (B, 3, H, W); both in [0, 1]."""
        return clean

    def __call__(self, degraded: Tensor) -> Tensor:  # type: ignore[override]  # torch declares an attribute
        """The restored image: `forward`, after the restorer where the task has one.

        Raises:
            UserError: the first image that a trained task sees is not in [0, 1].
        """
        if not self._is_range_checked and not self.training:
            self._check_range(degraded)
        return super().__call__(
            degraded if self.restorer is None else cast("Restores", self.restorer).restore(degraded)
        )

    def _check_range(self, degraded: Tensor) -> None:
        """Check the first image: a later check would let every image wait for the device."""
        is_traced = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        if torch.compiler.is_compiling() or is_traced:
            return
        check_tensor_range(degraded, "an image")
        self._is_range_checked = bool(degraded.numel()) and not degraded.is_meta

    def with_restorer(self, translator: Translator) -> Task:
        """A task of the same weights whose input the translator's way back restores first.

        It is for a head that was trained on restored images (`real_path.feed: restore(real)`). The two are saved and
        loaded as one.
        """
        twin = copy.copy(self)
        twin._modules = {**self._modules}  # so that this task itself stays without one
        twin.restorer = restorer_only(translator)
        return twin

    def forward(self, degraded: Tensor) -> Tensor:
        """The restored image (B, 3, scale * h, scale * w) of a degraded one (B, 3, h, w) in [0, 1]; not clamped."""
        if self.head is None:
            raise NotImplementedError(f"{type(self).__name__} must pass a head to Task.__init__, or override forward")
        return self.head(degraded)

    @property
    def criterion(self) -> Criterion:
        """The terms of `loss`, built at first use: a head at work needs none of them."""
        if self._criterion is None:
            self._criterion = Criterion(self._loss)
        return self._criterion

    @property
    def discriminators(self) -> nn.ModuleDict:
        """Networks that learn to judge the head; the trainer updates them beside it, and they are not saved with it."""
        return self.criterion.discriminators

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        """How far the restored image is from the clean one, both (B, C, H, W): a scalar, the sum of `losses`."""
        called_from_an_override = type(self).loss is not Task.loss
        terms = (self.criterion if called_from_an_override else self).losses(restored, clean)
        return torch.stack([*terms.values()]).sum()

    def losses(self, restored: Tensor, clean: Tensor) -> Losses:
        """The weighted terms of the loss by name; a subclass that overrides `loss` alone has one, called `task`."""
        if type(self).loss is not Task.loss:
            return {"task": self.loss(restored, clean)}
        return self.criterion.losses(restored, clean)

    def losses_d(self, restored: Tensor, clean: Tensor) -> Losses:
        """What the discriminators have to learn, by name; the restored image carries no gradient."""
        return self.criterion.losses_d(restored, clean)

    def __getstate__(self) -> dict[str, Any]:
        """A copy of the task, such as its running average, restores alike and comes without what judges it."""
        return {**self.__dict__, "_criterion": None}

    def saved(self) -> tuple[Spec, dict[str, Tensor]]:
        """Its configuration and weights.

        A head made from a file says in `saved_as` from which spec it can be built without that file. The restorer is
        part of both.
        """
        saved_as: Spec | None = getattr(self.head, "saved_as", None)
        options = [] if saved_as is None else head_options(self.config)
        if len(options) > 1:
            of_head = getattr(self.head, "config", None)
            options = [key for key in options if {**self.config[key], "scale": self.scale} == of_head]
        restorer = {} if self.restorer is None else {RESTORER: self.restorer.config}
        return {**self.config, **dict.fromkeys(options, saved_as), **restorer}, self.state_dict()

    @classmethod
    def loaded(cls, contents: Pretrained) -> Task:
        """The task that a folder holds, whatever class it is of; what judged it in training need not be had."""
        config = {key: value for key, value in contents.config.items() if key != RESTORER}
        task: Task = tasks.build(_without_losses(config))
        task.config = config
        if RESTORER in contents.config:
            task = task.with_restorer(build_translator(contents.config[RESTORER]))
        task.load_state_dict(contents.weights)
        return task


def _build_head(spec: HeadSpec, scale: int) -> nn.Module:
    head: nn.Module = heads.build(spec, scale=scale)
    config = cast("Spec", head.config)
    if (channels := config.get("channels", COLOURS)) != COLOURS:
        raise UserError(
            f"head {config['type']!r}: given channels {channels}, but images have {COLOURS} colour "
            f"channels (grey ones are read as colour, too); leave channels out"
        )
    return head


def head_options(config: Spec) -> list[str]:
    """The task's options that are heads, whatever its constructor calls them."""
    fields = tasks.options(config["type"]).model_fields
    return [
        key
        for key, field in fields.items()
        if any(isinstance(mark, Component) and mark.registry is heads for mark in field.metadata)
    ]


def _without_losses(config: Spec) -> Spec:
    """The task's options but its losses, where it can be built without: another machine may lack what they need."""
    fields = tasks.options(config["type"]).model_fields
    marked = {key for key, field in fields.items() if any(isinstance(mark, Terms) for mark in field.metadata)}
    return {key: value for key, value in config.items() if key not in marked or fields[key].is_required()}


def restorer_only(translator: Translator) -> Translator:
    """A copy with the same weights that can only `restore`, in evaluation mode.

    It keeps the generator `restore`, or all of them where none has that name.
    """
    restorer = copy.copy(translator)
    restorer._modules = {**translator._modules}  # so that the translator itself keeps its networks
    kept = [name for name in translator.generators if name == "restore" or "restore" not in translator.generators]
    restorer.generators = nn.ModuleDict({name: translator.generators[name] for name in kept})
    restorer.discriminators, restorer.camera = nn.ModuleDict(), None
    return restorer.eval()
