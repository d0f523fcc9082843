"""Trained parts on disk and on the hub: a folder with `config.json`, `model.safetensors` and a model card."""

from __future__ import annotations

import json
import logging
from functools import cache
from os import PathLike
from pathlib import Path
from time import sleep
from typing import Any, Literal, NamedTuple

from safetensors import SafetensorError
from torch import Tensor

from unpairaug import __version__
from unpairaug.errors import UserError
from unpairaug.registry import Spec
from unpairaug.sharing.manifest import MANIFEST, find_damage, flush_to_disk, write_manifest
from unpairaug.sharing.tensor_file import find_nonfinite, save_tensors

Part = Literal["task", "translator"]
FOLDER: dict[Part, str] = {"task": "head", "translator": "translator"}
"""Where a run folder keeps each part."""

log = logging.getLogger("unpairaug")


class Pretrained(NamedTuple):
    """What a part's folder holds."""

    config: Spec
    """From what the part is built: `type` and the constructor's options."""
    weights: dict[str, Tensor]
    trained: Spec
    """What the run that trained it noted, see `RunFolder`; empty where nobody did."""


def save_part(folder: Path, part: Part, contents: Pretrained, card: str) -> None:
    """Write the part so that `load_part` finds it; the folder is made if it is missing.

    Raises:
        NonFiniteError: a weight is NaN or infinite; the folder is left as it was.
        OSError, SafetensorError: it cannot be written, as on a full disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {"part": part, "unpairaug": __version__, part: contents.config, "trained": contents.trained}
    # Whoever reads while a run writes finds whole files, the old ones or the new ones.
    save_tensors(folder / "model.partial", contents.weights)
    (folder / "config.partial").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "README.partial").write_text(card, encoding="utf-8")
    for name in ("model.partial", "config.partial", "README.partial"):
        flush_to_disk(folder / name)
    (folder / MANIFEST).unlink(missing_ok=True)  # a folder without one is read, so a kill here spoils nothing
    (folder / "model.partial").replace(folder / "model.safetensors")
    (folder / "config.partial").replace(folder / "config.json")
    (folder / "README.partial").replace(folder / "README.md")
    write_manifest(folder, ("config.json", "model.safetensors"))


def load_part(model: str | PathLike[str], part: Part, **download: Any) -> Pretrained:
    """What a run folder, the part's own folder, or a hub repository `user/name` holds of the part.

    Args:
        download: which revision, from where and how, as `huggingface_hub.snapshot_download` takes it.

    Raises:
        UserError: nothing is there, it is the other part, or a file is damaged.
    """
    from safetensors.torch import load_file

    folder = part_folder(model, part, **download)
    config = _config(folder, part)
    _check_manifest(folder)
    try:
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(_not_whole(folder, part, error)) from error
    if names := find_nonfinite(weights):
        raise UserError(f"{folder} holds weights that are not finite, such as {names[0]!r}: training went wrong")
    trained = config.get("trained")
    return Pretrained(_spec(config, part, folder), weights, trained if isinstance(trained, dict) else {})


def _check_manifest(folder: Path, attempts: int = 3) -> None:
    """Check the files against the folder's manifest; a run that writes the folder meanwhile causes another attempt.

    Raises:
        UserError: the weights, or the manifest, are not as they were saved.
    """
    damage = find_damage(folder, may_add_files=True)
    if damage and attempts > 1:
        sleep(0.1)
        return _check_manifest(folder, attempts - 1)
    if damage == {MANIFEST: "is missing"}:
        return _warn_once(f"{folder} has no {MANIFEST}, as earlier versions wrote none: its files are not checked")
    if fault := damage.pop("config.json", None):
        _warn_once(f"config.json of {folder} {fault}; it is used as it is")
    for name, fault in damage.items():
        raise UserError(f"{folder} is damaged: {name!r} {fault}; copy or train it again")


@cache
def _warn_once(text: str) -> None:
    log.warning(f"warning: {text}")


def part_spec(model: str | PathLike[str], part: Part) -> Spec:
    """From what the part is built, as `load_part` says it, without its weights.

    Raises:
        UserError: nothing is there, or it is the other part.
    """
    folder = part_folder(model, part)
    return _spec(_config(folder, part), part, folder)


def _config(folder: Path, part: Part) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(_not_whole(folder, part, error)) from error
    if part not in config:
        raise UserError(f"{folder} holds a {config.get('part', 'model of another program')}, not a {part}")
    return config


def _not_whole(folder: Path, part: Part, error: Exception) -> str:
    return f"{folder} does not hold a whole {part} (config.json and model.safetensors): {error}"


def _spec(config: dict[str, Any], part: Part, folder: Path) -> Spec:
    spec = config[part]
    if not isinstance(spec, dict) or "type" not in spec:
        raise UserError(f"{folder / 'config.json'}: {part!r} must be a mapping with a 'type', got {spec!r}")
    return spec


def part_folder(model: str | PathLike[str], part: Part, **download: Any) -> Path:
    """The folder with the part's files, here or in the hub's cache, of what `load_part` takes.

    Raises:
        UserError: nothing is there.
    """
    given = Path(model)
    for folder in (given / FOLDER[part], given):
        if (folder / "config.json").is_file():
            return folder
    if given.exists():
        raise UserError(
            f"{given} is neither a run folder with a finished {FOLDER[part]}/ nor such a folder itself (no config.json)"
        )
    return _download(str(model), part, download)


def _download(repo_id: str, part: Part, options: dict[str, Any]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo_id, allow_patterns=["*.json", "*.safetensors"], **options))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"no folder {repo_id!r} here, and the hub gave none of that name ({reason}); give a run folder, "
            f"its {FOLDER[part]}/ folder, or a hub id 'user/name'"
        ) from error
    return folder / FOLDER[part] if (folder / FOLDER[part] / "config.json").is_file() else folder
