"""Any architecture that spandrel knows, from scratch or from a checkpoint file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from inspect import Parameter, signature
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpairaug.errors import UserError, escape
from unpairaug.heads.checkpoint_file import load_descriptor
from unpairaug.registry import Spec, register_head
from unpairaug.registry.options import UNKNOWN_KEY, Mistake, format_value
from unpairaug.registry.suggestions import suggest
from unpairaug.registry.trust import find_untrusted_source

if TYPE_CHECKING:
    from spandrel import Architecture, ImageModelDescriptor, SizeRequirements

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
PURPOSES = ("SR", "Restoration")
"""What spandrel calls models that turn one image of any content into one; the others want a mask, or a face."""
SCALES = ("scale", "upscale", "upscaling_factor", "up_scale", "upscale_factor")
"""What the architectures call the scale; it is the task's unless the recipe gives it."""
UNSHUFFLES = ("shuffle_factor", "start_unshuffle")
"""What the architectures call the factor by which they first fold pixels into channels; their scale counts it in."""
TRAINING_ALONE = ("drop", "checkpoint", "use_chk", "offload")
"""Parts of the names of parameters that act in training alone, so that no trained weights tell them."""


@register_head("spandrel")
class SpandrelHead(nn.Module):
    """A network of spandrel's main registry: (B, 3, h, w) in [0, 1] -> (B, 3, scale * h, scale * w).

    Either `arch`, the name of an architecture or of its class, with any parameters of its constructor, and random
    weights; or `checkpoint`, a file whose architecture and parameters spandrel tells from the weights. Images are
    extended to the size that the network needs and the result is cut, as spandrel does it; value ranges are the
    network's own business. What spandrel makes of the weights counts: a parameter that it could not tell from them
    would be lost in every program that reads the trained file, and is refused.
    """

    starts_from = "checkpoint"
    """The option that names a file which training starts from; a run keeps a copy of it."""

    def __init__(self, scale: int, arch: str | None = None, checkpoint: str | None = None, **parameters: Any) -> None:
        super().__init__()
        descriptor = _from_file(checkpoint) if checkpoint else _from_scratch(str(arch), parameters, scale)
        _refuse_what_does_not_fit(descriptor, scale, checkpoint or arch)
        self.takes_batches = _takes_batches(descriptor, checkpoint or arch)
        self.scale = scale
        self.model = descriptor.model.train()
        self.architecture = descriptor.architecture.id
        self.requirements: SizeRequirements = descriptor.size_requirements
        # spandrel's own call works under inference mode alone and clamps.
        self.call = descriptor._call_fn
        self.saved_as: Spec = _spec(descriptor.model)
        """What the network can be built from again without the checkpoint file."""

    @classmethod
    def check_options(cls, options: Spec) -> Iterator[Mistake]:
        """What is wrong with options whose types are right."""
        parameters = {key: value for key, value in options.items() if key not in ("scale", "arch", "checkpoint")}
        arch, checkpoint = options["arch"], options["checkpoint"]
        if (arch is None) == (checkpoint is None):
            part, other = ("arch", "checkpoint") if checkpoint is None else ("checkpoint", "arch")
            given = "neither is given" if checkpoint is None else f"both are given; to be rid of the recipe's {other}"
            yield Mistake(
                ("arch",),
                f"give either an architecture, or a checkpoint file that has one: {given}, "
                f"write task.head='{{type: spandrel, {part}: …}}'",
            )
        elif checkpoint is not None:
            yield from _mistakes_of_a_checkpoint(Path(checkpoint), parameters)
        else:
            yield from _mistakes_of_an_architecture(arch, parameters)

    def forward(self, degraded: Tensor) -> Tensor:
        height, width = degraded.shape[-2:]
        padded = _padded(degraded, self.requirements)
        parts = [padded] if self.takes_batches else padded.split(1)
        restored = torch.cat([self.call(self.model, part) for part in parts])
        return restored[..., : self.scale * height, : self.scale * width]

    def spandrel_state(self) -> dict[str, Tensor]:
        """The weights under the names that spandrel knows."""
        return self.model.state_dict()


class _Known(NamedTuple):
    """A network's class, and the architecture that loads it."""

    architecture: Architecture[nn.Module]
    network: type[nn.Module]

    @property
    def parameters(self) -> dict[str, Parameter]:
        parameters = dict(signature(self.network).parameters)
        return {name: parameter for name, parameter in parameters.items() if name != "self"}


def _known() -> dict[str, _Known]:
    """Every class of spandrel's main registry by its name; by its architecture's too where that has one class."""
    from spandrel import MAIN_REGISTRY

    known: dict[str, _Known] = {}
    for support in MAIN_REGISTRY:
        # `class SwinIRArch(Architecture[SwinIR])`, or a union of classes.
        (network,) = get_args(type(support.architecture).__orig_bases__[0])  # type: ignore[attr-defined]
        networks = get_args(network) or (network,)
        named = {each.__name__: _Known(support.architecture, each) for each in networks}
        known |= {support.architecture.id: _Known(support.architecture, network)} if len(networks) == 1 else {}
        known |= named
    return known


def _from_scratch(arch: str, parameters: Spec, scale: int) -> ImageModelDescriptor[nn.Module]:
    """The network as spandrel loads it from the weights that it starts with.

    Raises:
        UserError: its constructor refuses the parameters, or spandrel would not find them in the weights again.
    """
    known = _known()[arch]
    parameters = {**_scale_of(known, parameters, scale), **parameters}
    try:
        weights = known.network(**parameters).state_dict()
        descriptor: Any = known.architecture.load(dict(weights))
    except Exception as error:  # whatever a stranger's constructor raises, it is the parameters that are wrong
        raise UserError(
            f"head 'spandrel': {arch} cannot be built with {format_value(parameters)}, or spandrel cannot load it then:"
            f" {_told(error)}{_advice(known.network)}"
        ) from error
    found = descriptor.model.hyperparameters
    lost = [key for key, value in parameters.items() if not _acts_in_training_alone(key) and _differ(value, found[key])]
    if lost or type(descriptor.model) is not known.network:
        told = ", ".join(f"{key} {format_value(parameters[key])} ({format_value(found[key])})" for key in lost)
        raise UserError(
            f"head 'spandrel': from the weights of {arch}, spandrel would tell another {told or 'class'} (in "
            f"brackets), so no program could load what is trained; leave it out, or give that value"
        )
    training = {key: value for key, value in parameters.items() if _acts_in_training_alone(key)}
    if training:
        descriptor._model = known.network(**{**found, **training})
        descriptor._model.load_state_dict(weights)
    return descriptor


def _scale_of(known: _Known, parameters: Spec, scale: int) -> Spec:
    """The architecture's own parameter for the scale, where it has one."""
    for name in SCALES:
        if name in known.parameters:
            for unshuffle in UNSHUFFLES:
                scale *= parameters.get(unshuffle) or 1
            return {name: [scale] if isinstance(known.parameters[name].default, list) else scale}
    return {}


def _from_file(checkpoint: str) -> ImageModelDescriptor[nn.Module]:
    """The network that a file holds.

    Raises:
        UserError: the file is damaged, or spandrel does not know what is in it.
    """
    from spandrel import UnsupportedModelError

    try:
        return load_descriptor(checkpoint)
    except UnsupportedModelError as error:
        raise UserError(
            f"task.head.checkpoint {checkpoint}: spandrel recognises no architecture of its main registry in it; "
            f"it knows {', '.join(sorted(_known()))}"
        ) from error
    except Exception as error:  # pickle, torch, safetensors and architectures raise whatever they like
        raise UserError(
            f"task.head.checkpoint {checkpoint} cannot be loaded: {_told(error)}; it should hold nothing "
            f" but the network's weights"
        ) from error


def _refuse_what_does_not_fit(descriptor: Any, scale: int, given: object) -> None:
    if descriptor.purpose not in PURPOSES:
        raise UserError(
            f"head 'spandrel': {given} is for {descriptor.purpose}, not for images of any content; take another"
        )
    if descriptor.scale != scale:
        raise UserError(
            f"head 'spandrel': {given} enlarges by {descriptor.scale}, but the task has scale {scale}; take another, "
            f"set task.scale to {descriptor.scale}, or give the parameters that decide it, such as its upsampler"
        )
    channels = (descriptor.input_channels, descriptor.output_channels)
    if channels != (3, 3):
        raise UserError(
            f"head 'spandrel': {given} makes {channels[1]} colour channels of {channels[0]}, but photographs have 3; "
            f"give the parameters that decide it, such as in_nc and out_nc, or take another"
        )


def _takes_batches(descriptor: Any, given: object) -> bool:
    """Whether the network restores several images at once, tried on small ones; some of spandrel's calls take one.

    Raises:
        UserError: it restores not even one: constructors take numbers that do not go together, and tell only then.
    """
    pair = _padded(torch.zeros(2, 3, 16, 16), descriptor.size_requirements)
    pair = pair.to(memory_format=torch.channels_last)  # what training's convolutions make
    model, call = descriptor.model.eval(), descriptor._call_fn
    with torch.inference_mode():
        try:
            call(model, pair[:1])
        except Exception as error:  # as above
            raise UserError(
                f"head 'spandrel': {given} with its parameters cannot restore an image of {pair.shape[-1]} px: "
                f"{_told(error)}{_advice(type(model))}"
            ) from error
        try:
            call(model, pair)
        except Exception:  # whatever it stumbles over, it can still be given one at a time
            return False
    return True


def _mistakes_of_a_checkpoint(checkpoint: Path, parameters: Spec) -> Iterator[Mistake]:
    if (source := find_untrusted_source()) is not None:  # the file may be a pickle, and no saved head needs it
        said = f"{escape(source)} names a file to read, {escape(checkpoint)}; if you trust its author, --trust-code"
        yield Mistake(("checkpoint",), f"{said} allows it")
        return
    if not os.path.isfile(checkpoint):  # unlike `Path.is_file`, it raises no error for a name that is too long
        yield Mistake(("checkpoint",), f"there is no file {checkpoint}")
    elif checkpoint.suffix.lower() not in SUFFIXES:
        yield Mistake(("checkpoint",), f"given {checkpoint}, should be a file of {', '.join(SUFFIXES)}")
    for key in parameters:
        yield Mistake((key,), "a checkpoint knows its own parameters; leave this out, or name an arch instead")


def _mistakes_of_an_architecture(arch: str, parameters: Spec) -> Iterator[Mistake]:
    known = _known()
    if arch not in known:
        yield Mistake(("arch",), f"spandrel has no architecture {arch!r}; {suggest(arch, sorted(known))}")
        return
    takes = {name: parameter for name, parameter in known[arch].parameters.items() if name != "scale"}
    for key in parameters.keys() - takes.keys():
        yield Mistake((key,), f"{UNKNOWN_KEY}; {suggest(key, takes)}")
    for key, parameter in takes.items():
        if parameter.default is Parameter.empty and key not in parameters and key not in SCALES:
            yield Mistake((key,), f"{arch} requires it, and it is not given")


def _padded(image: Tensor, needs: SizeRequirements) -> Tensor:
    """The image (B, C, h, w), reflected at its right and bottom edge up to what is needed, then repeated."""
    height, width = image.shape[-2:]
    if needs.multiple_of == 1 and not needs.square and min(height, width) >= needs.minimum:
        return image.clone()  # some networks (RCAN) overwrite what they are given
    right, below = needs.get_padding(width, height)
    # A reflection is at most a pixel shorter than the image.
    reflected = F.pad(image, (0, min(right, width - 1), 0, min(below, height - 1)), mode="reflect").clone()
    rest = (0, width + right - reflected.shape[-1], 0, height + below - reflected.shape[-2])
    return F.pad(reflected, rest, mode="replicate")


def _spec(network: Any) -> Spec:
    """Architecture and parameters of a network; what is no plain value is the same in all networks of its class."""
    takes = signature(type(network)).parameters.keys() - {"scale"}
    plain = {key: value for key, value in network.hyperparameters.items() if key in takes and _is_plain(value)}
    return {"type": "spandrel", "arch": type(network).__name__, "checkpoint": None, **plain}


def _advice(network: type) -> str:
    # The default of several is 7, which goes with no image size that spandrel assumes.
    windows = ", such as window_size: 8" if "window_size" in signature(network).parameters else ""
    return f"; see whether its numbers fit each other{windows}"


def _told(error: Exception) -> str:
    """What an error of another library says, on one line."""
    return f"{type(error).__name__}: {shorten(str(error), 240)}"


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _differ(given: Any, found: Any) -> bool:
    as_lists = [list(value) if isinstance(value, (list, tuple)) else value for value in (given, found)]
    return as_lists[0] != as_lists[1]


def _acts_in_training_alone(name: str) -> bool:
    return any(part in name for part in TRAINING_ALONE)
