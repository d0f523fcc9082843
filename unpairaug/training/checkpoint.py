"""Checkpoints: a folder `checkpoints/step_<n>/` is either complete or absent."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from unpairaug.errors import UserError

Tensors = dict[str, Tensor]


def save_checkpoint(folder: Path, step: int, files: dict[str, Tensors], state: dict[str, Any], keep: int) -> Path:
    """Write one checkpoint: a safetensors file for each entry of `files`, and `state.json`. Keep the newest `keep`.

    All files are flushed to disk before the folder gets its final name, so a kill or a full disk leaves the earlier
    checkpoints and at most a `.partial` folder, which the next call removes.
    """
    from safetensors.torch import save_file

    partial, final = folder / f"step_{step}.partial", folder / f"step_{step}"
    for leftover in folder.glob("*.partial"):
        shutil.rmtree(leftover)
    partial.mkdir(parents=True)
    for name, tensors in files.items():
        save_file({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, partial / f"{name}.safetensors")
    (partial / "state.json").write_text(json.dumps({"step": step, **state}, indent=2), encoding="utf-8")
    for path in [*partial.iterdir(), partial]:
        _sync(path)
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    _sync(folder)
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def load_checkpoint(path: Path) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """Read the files and the state that `save_checkpoint` wrote.

    Raises:
        UserError: the folder is not a checkpoint, or a file in it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        return {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}, state
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(
            f"{path} is not a whole checkpoint: {error}; name an earlier one with train.resume=… or delete it"
        ) from error


def list_checkpoints(folder: Path, after: int = -1) -> list[Path]:
    """The checkpoints of a run after step `after`, oldest first."""
    steps = {int(m[1]): p for p in folder.glob("step_*") if (m := re.fullmatch(r"step_(\d+)", p.name))}
    return [steps[n] for n in sorted(steps) if n > after]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
