"""The weights of one network in a checkpoint file of another training program."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from unpairaug.errors import escape

log = logging.getLogger("unpairaug")

AVERAGED = ("generator_ema", "net_g_ema", "netG_ema", "model_ema", "ema_model", "params_ema", "ema")
"""Names under which training programs save the averaged weights (EMA) of a generator: keys of nested state_dicts, or
prefixes of the keys of a flat one, as in MMagic (`generator_ema.conv_first.weight`)."""
LATEST = ("generator", "net_g", "netG", "model", "network")
"""Names for its latest weights."""


def load_descriptor(checkpoint: str) -> Any:
    """The network in a checkpoint file, as a model descriptor of spandrel; averaged weights first.

    Raises:
        UnsupportedModelError: spandrel recognises no architecture in the file.
        Exception: whatever pickle, torch and safetensors raise for a damaged file.
    """
    from spandrel import ModelLoader, UnsupportedModelError

    loader = ModelLoader()
    whole = loader.load_state_dict_from_file(checkpoint)
    state = _read_state(checkpoint) or whole
    for name, weights in (*_find(AVERAGED, state), ("", whole), *_find(LATEST, state)):
        try:
            descriptor = loader.load_from_state_dict(weights)
        except UnsupportedModelError:
            continue
        if name:
            log.info(f"{escape(checkpoint)}: loaded the weights under {name!r}")
        return descriptor
    raise UnsupportedModelError


def _read_state(checkpoint: str) -> dict[str, Any] | None:
    """The whole content of a file, of which spandrel returns one part; None if torch cannot read it."""
    if Path(checkpoint).suffix.lower() == ".safetensors":
        return None
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError):  # objects of other libraries, TorchScript
        return None
    return state if isinstance(state, dict) else None


def _find(names: Sequence[str], state: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Name and state_dict of each network that a checkpoint holds, in the order of the names."""
    from spandrel import canonicalize_state_dict

    inner = state.get("state_dict")
    parts = [state, inner] if isinstance(inner, dict) else [state]
    for name, part in product(names, parts):
        nested, prefix = part.get(name), f"{name}."
        flat = {str(key).removeprefix(prefix): value for key, value in part.items() if str(key).startswith(prefix)}
        if weights := nested if isinstance(nested, dict) else flat:
            yield name, canonicalize_state_dict(weights)
