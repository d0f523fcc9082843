"""Perceptual loss: distance between features of a network that was trained to recognise things."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unpairaug.errors import UserError
from unpairaug.options import nearest
from unpairaug.registry import register_loss

HUB, RANDOM = "hub", "random"
Layer = Annotated[int, Field(ge=0)]


@register_loss("perceptual")
class Perceptual(nn.Module):
    """L1 distance of features of the images (B, 3, H, W) in [0, 1] (Johnson et al., 2016; L1 as in Wang et al., 2018).

    The default is VGG-19's last activation before its fifth pooling, SRGAN's φ5,4 (Ledig et al., 2017).

    Args:
        model: a backbone of timm.
        layers: which of the stages that timm offers as features, from 0.
        layer_weights: the weight of each of them; None weighs each 1.
        weights: the backbone's weights: "hub" downloads those that timm names, "random" keeps random ones (the same
            in every run), anything else is a .safetensors or .pth file in timm's names.

    Raises:
        UserError: there is no such backbone or layer, or its weights cannot be had.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: str = "vgg19",
        layers: tuple[Layer, ...] = (4,),
        layer_weights: tuple[float, ...] | None = None,
        weights: str = HUB,
    ) -> None:
        super().__init__()
        self.layer_weights = (1.0,) * len(layers) if layer_weights is None else layer_weights
        if not layers or len(self.layer_weights) != len(layers):
            raise UserError(
                f"perceptual loss: {len(layers)} layers and {len(self.layer_weights)} layer_weights; give as many"
            )
        self.backbone: Any = _backbone(model, sorted(layers), weights)
        self.order = [sorted(layers).index(layer) for layer in layers]
        self.smallest_side = max(self.backbone.feature_info.reduction())
        for name in ("mean", "std"):
            values = torch.tensor(self.backbone.pretrained_cfg[name]).view(1, -1, 1, 1)
            self.register_buffer(name, values)
        self.eval().requires_grad_(False)

    def features(self, image: Tensor) -> list[Tensor]:
        """What each chosen layer makes of the image."""
        features = self.backbone((image - self.mean) / self.std)
        return [features[index] for index in self.order]

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.features(clean)
        pairs = zip(self.layer_weights, self.features(restored), wanted, strict=True)
        return torch.stack([weight * F.l1_loss(got.float(), want.float()) for weight, got, want in pairs]).sum()


def _backbone(model: str, layers: Sequence[int], weights: str) -> nn.Module:
    import timm  # takes seconds to import

    if not timm.is_model(model):
        near = nearest(model.partition(".")[0], timm.list_models())
        hint = f"did you mean {near!r}?" if near else "timm.list_models() has their names"
        raise UserError(f"perceptual loss: timm knows no model {model!r}; {hint}")
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
            f"perceptual loss: timm's model {model!r} has no features of layers {[*layers]}: {error}; "
            f"most have layers 0 to 3 or 4"
        ) from error


def _from_the_hub(model: str, layers: Sequence[int]) -> nn.Module:
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return _features_of(model, layers, pretrained=True)
    except (HfHubHTTPError, OSError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"perceptual loss: the weights of timm's model {model!r} cannot be had from the hub ({reason}). Give a "
            f"file of them as `weights`, or, to go on with random features, `weights: random`"
        ) from error


def _load(backbone: nn.Module, model: str, file: Path) -> None:
    """Give the backbone the weights in the file; what it has no layer for, such as a classifier, is left out."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError
    from timm.models import load_state_dict

    if not file.is_file():
        raise UserError(
            f"perceptual loss: no file {str(file)!r}; `weights` is a .safetensors or .pth file with weights of timm's "
            f"{model!r}, '{HUB}' to download them, or '{RANDOM}'"
        )
    try:
        held = {_plain(key): tensor for key, tensor in load_state_dict(str(file), use_ema=False).items()}
        own = {key: held.get(_plain(key)) for key in backbone.state_dict()}
        if missing := [key for key, tensor in own.items() if tensor is None]:
            raise UserError(
                f"perceptual loss: {file} lacks {missing[0]} of timm's model {model!r}; is it another model's?"
            )
        backbone.load_state_dict(own)
    except (OSError, RuntimeError, ValueError, EOFError, UnpicklingError, SafetensorError) as error:
        raise UserError(
            f"perceptual loss: {file} does not hold the weights of timm's model {model!r}: {error}"
        ) from error


def _plain(key: str) -> str:
    """A weight's name alike in a whole model and in one cut down to its features, which timm names anew."""
    return key.removeprefix("model.").replace(".", "_")
