"""Features of a frozen network of timm that was trained to recognise things."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unpairaug.errors import UserError
from unpairaug.registry.suggestions import suggest

HUB, RANDOM = "hub", "random"


class Backbone(nn.Module):
    """Images (B, 3, H, W) in [0, 1] to what chosen stages of a network of timm make of them.

    It is frozen, and stays in evaluation mode whatever `train` says: its norms never follow a batch.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, asked_by: str, model: str, layers: Sequence[int], weights: str) -> None:
        """Build it and give it its weights.

        Args:
            asked_by: who wants it, for messages.
            model: its name in timm.
            layers: which of the stages that timm offers as features, from 0, in any order.
            weights: "hub" downloads those that timm names, "random" keeps random ones (the same in every run),
                anything else is a .safetensors or .pth file in timm's names.

        Raises:
            UserError: there is no such model or layer, or its weights cannot be had.
        """
        super().__init__()
        try:
            self.network: Any = _network(model, sorted(layers), weights)
        except UserError as error:
            raise UserError(f"{asked_by}: {error}") from error
        self.order = [sorted(layers).index(layer) for layer in layers]
        for name in ("mean", "std"):
            values = torch.tensor(self.network.pretrained_cfg[name]).view(1, -1, 1, 1)
            self.register_buffer(name, values)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Backbone:
        return super().train(False)

    @property
    def widths(self) -> list[int]:
        """Features of each chosen layer."""
        channels = self.network.feature_info.channels()
        return [channels[index] for index in self.order]

    @property
    def smallest_side(self) -> int:
        """Side in pixels of the smallest image of which every layer keeps at least a pixel."""
        return max(self.network.feature_info.reduction())

    def forward(self, image: Tensor) -> list[Tensor]:
        features = self.network((image - self.mean) / self.std)
        return [features[index] for index in self.order]


def _network(model: str, layers: Sequence[int], weights: str) -> nn.Module:
    import timm  # takes seconds to import

    if not timm.is_model(model):
        hint = suggest(model.partition(".")[0], timm.list_models(), instead="timm.list_models() has their names")
        raise UserError(f"timm knows no model {model!r}; {hint}")
    if weights == HUB:
        return _from_the_hub(model, layers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = _features_of(model, layers)
    if weights != RANDOM:
        _load(backbone, model, Path(weights))
    return backbone


def _features_of(model: str, layers: Sequence[int], **options: Any) -> nn.Module:
    import timm

    try:
        return timm.create_model(model, features_only=True, out_indices=tuple(layers), **options)
    except (AssertionError, IndexError) as error:
        raise UserError(
            f"timm's model {model!r} has no features of layers {[*layers]}: {error}; most have layers 0 to 3 or 4"
        ) from error


def _from_the_hub(model: str, layers: Sequence[int]) -> nn.Module:
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return _features_of(model, layers, pretrained=True)
    except (HfHubHTTPError, OSError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the weights of timm's model {model!r} cannot be had from the hub ({reason}). Give a "
            f"file of them as `weights`, or, to go on with random features, `weights: random`"
        ) from error


def _load(backbone: nn.Module, model: str, file: Path) -> None:
    """Give the backbone the weights in the file; what it has no layer for, such as a classifier, is left out."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError
    from timm.models import load_state_dict

    if not os.path.isfile(file):
        raise UserError(
            f"no file {str(file)!r}; `weights` is a .safetensors or .pth file with weights of timm's "
            f"{model!r}, '{HUB}' to download them, or '{RANDOM}'"
        )
    try:
        held = {
            _plain(key): tensor for key, tensor in load_state_dict(str(file), use_ema=False, weights_only=True).items()
        }
        own = {key: held.get(_plain(key)) for key in backbone.state_dict()}
        if missing := [key for key, tensor in own.items() if tensor is None]:
            raise UserError(f"{file} lacks {missing[0]} of timm's model {model!r}; is it another model's?")
        backbone.load_state_dict(own)
    except (OSError, RuntimeError, ValueError, EOFError, UnpicklingError, SafetensorError) as error:
        raise UserError(f"{file} does not hold the weights of timm's model {model!r}: {error}") from error


def _plain(key: str) -> str:
    """A weight's name alike in a whole model and in one cut down to its features, which timm names anew."""
    return key.removeprefix("model.").replace(".", "_")
