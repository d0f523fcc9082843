"""Tensors on disk: a file never holds a value that is not finite."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from unpairaug.errors import RunStopped

MAX_NAMES = 5
"""Tensors that a message names before it only counts them."""


class NonFiniteError(RunStopped):
    """A tensor that was to be saved holds NaN or infinity; nothing was written."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, with text by name as its metadata.

    Raises:
        NonFiniteError: a tensor holds NaN or infinity.
        OSError: it cannot be written, as on a full disk.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    check_finite(tensors, str(path))
    path.touch()
    mode = path.stat().st_mode  # by the umask; `save_file` lets only the owner read
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path, metadata)
    except SafetensorError as error:
        if (found := re.search(r"\(os error (\d+)\)", str(error))) is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
    path.chmod(mode)


def check_finite(tensors: Mapping[str, Tensor], target: str) -> None:
    """Check that every value is finite.

    Args:
        tensors: by the names that the message gives.
        target: what they were to be saved as.

    Raises:
        NonFiniteError: a tensor holds NaN or infinity.
    """
    if names := find_nonfinite(tensors):
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        raise NonFiniteError(f"not finite: {', '.join(names[:MAX_NAMES])}{more}; {target} was not written")


def find_nonfinite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold NaN or infinity. It waits for each device once, not for each tensor."""
    flags: dict[torch.device, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() or tensor.is_complex():
            flags.setdefault(tensor.device, {})[name] = torch.isfinite(tensor).all()
    found = {
        name
        for of_device in flags.values()
        for name, is_finite in zip(of_device, torch.stack([*of_device.values()]).tolist(), strict=True)
        if not is_finite
    }
    return [name for name in tensors if name in found]
