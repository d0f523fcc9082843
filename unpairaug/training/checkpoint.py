"""Checkpoints: a folder `checkpoints/step_<n>/` is either complete or absent, and damage to it is found."""

from __future__ import annotations

import json
import logging
import re
import shutil
from itertools import count
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from unpairaug.errors import UserError
from unpairaug.files import read_json
from unpairaug.sharing.manifest import MANIFEST, find_damage, flush_to_disk, write_manifest
from unpairaug.sharing.tensor_file import check_finite, save_tensors

Tensors = dict[str, Tensor]
MAX_STATE_BYTES = 64 * 2**20

log = logging.getLogger("unpairaug")


def save_checkpoint(folder: Path, step: int, files: dict[str, Tensors], state: dict[str, Any], keep: int) -> Path:
    """Write one checkpoint: a safetensors file for each entry of `files`, and `state.json`. Keep the newest `keep`.

    All files are flushed to disk before the folder gets its final name, so a kill or a full disk leaves the earlier
    checkpoints and at most a `.partial` folder, which the next call removes.

    Raises:
        NonFiniteError: a tensor holds NaN or infinity.
        OSError: it cannot be written, as on a full disk.
    """
    partial, final = folder / f"step_{step}.partial", folder / f"step_{step}"
    check_finite(flatten_files(files), str(final))
    for leftover in folder.glob("*.partial"):
        shutil.rmtree(leftover)
    try:
        partial.mkdir(parents=True)
        for name, tensors in files.items():
            save_tensors(partial / f"{name}.safetensors", tensors)
        (partial / "state.json").write_text(json.dumps({"step": step, **state}, indent=2), encoding="utf-8")
        write_manifest(partial)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)  # it takes room that a full disk lacks
        raise
    if final.exists():
        _remove(final)
    partial.rename(final)
    flush_to_disk(folder)
    for old in list_checkpoints(folder)[:-keep]:
        _remove(old)
    return final


def flatten_files(files: dict[str, Tensors]) -> Tensors:
    """The tensors of all files, as "file: name"."""
    return {f"{name}: {key}": tensor for name, tensors in files.items() for key, tensor in tensors.items()}


def load_checkpoint(path: Path) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """Read the files and the state that `save_checkpoint` wrote.

    Raises:
        UserError: the folder is not a checkpoint, or a file in it is damaged.
    """
    from safetensors.torch import load_file

    if damage := find_checkpoint_damage(path):
        raise UserError(
            f"{path} is not a complete checkpoint: {damage}; name an earlier one with train.resume=…, or delete it"
        )
    try:
        state = read_json(path / "state.json", MAX_STATE_BYTES)
        return {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}, state
    except (UserError, OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read: {error}; name another checkpoint with train.resume=…") from error


def find_checkpoint_damage(path: Path) -> str | None:
    """What differs from what `save_checkpoint` wrote, in words; None for a whole checkpoint."""
    if not path.is_dir():
        return "there is no such folder"
    if (path / "state.json").is_file() and not (path / MANIFEST).exists():
        return f"it has no {MANIFEST}: it is incomplete, or of an earlier version of unpairaug"
    for name, fault in find_damage(path).items():
        return f"{name!r} {fault}"
    try:
        step = read_json(path / "state.json", MAX_STATE_BYTES)["step"]
    except (UserError, KeyError):
        return "its state.json does not say which step it is of"
    named = re.fullmatch(r"step_(\d+)", path.name)
    return f"it is of step {step!r}" if named and int(named[1]) != step else None


def take_newest_whole_checkpoint(folder: Path, rename: bool) -> Path | None:
    """The newest checkpoint of a run that is whole; None where there is no checkpoint.

    Args:
        folder: with the checkpoints.
        rename: rename damaged checkpoints that are newer to `damaged_step_<n>`; each is named in the log.

    Raises:
        UserError: there are checkpoints, and all of them are damaged; they keep their names then.
    """
    damaged: dict[Path, str] = {}
    for path in reversed(list_checkpoints(folder)):
        if damage := find_checkpoint_damage(path):
            damaged[path] = damage
            continue
        for other, fault in damaged.items() if rename else ():
            log.warning(f"warning: {other} is damaged: {fault}; renamed to {_set_aside(other).name}")
        return path
    if damaged:
        faults = "; ".join(f"{path.name}: {damage}" for path, damage in damaged.items())
        raise UserError(
            f"no checkpoint in {folder} is whole ({faults}); give another output_dir to start a new run, or delete "
            f"these folders to start this one again"
        )
    return None


def list_checkpoints(folder: Path, after: int = -1) -> list[Path]:
    """The checkpoints of a run after step `after`, oldest first."""
    steps = {int(m[1]): p for p in folder.glob("step_*") if (m := re.fullmatch(r"step_(\d+)", p.name))}
    return [steps[n] for n in sorted(steps) if n > after]


def _set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint, and return its new path."""
    names = (f"damaged_{path.name}" + (f"_{n}" if n else "") for n in count())
    return path.rename(next(new for name in names if not (new := path.with_name(name)).exists()))


def _remove(path: Path) -> None:
    """Remove a checkpoint; a kill leaves it whole, or under a name that is no checkpoint's."""
    shutil.rmtree(path.rename(path.with_name(f"old_{path.name}.partial")))
