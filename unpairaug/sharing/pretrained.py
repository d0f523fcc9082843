"""Trained parts on disk and on the hub: a folder with `config.json`, `model.safetensors` and a model card."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from unpairaug import __version__
from unpairaug.errors import UserError
from unpairaug.registry import Spec

Part = Literal["task", "translator"]
FOLDER: dict[Part, str] = {"task": "head", "translator": "translator"}
"""Where a run folder keeps each part."""


class Pretrained(NamedTuple):
    """What a part's folder holds."""

    config: Spec
    """From what the part is built: `type` and the constructor's options."""
    weights: dict[str, Tensor]
    trained: Spec
    """What the run that trained it noted, see `RunFolder`; empty where nobody did."""


def save_part(folder: Path, part: Part, contents: Pretrained, card: str) -> None:
    """Write the part so that `load_part` finds it; the folder is made if it is missing."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {"part": part, "unpairaug": __version__, part: contents.config, "trained": contents.trained}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in contents.weights.items()}
    # Whoever reads while a run writes finds whole files, the old ones or the new ones.
    save_file(plain, folder / "model.partial")
    (folder / "config.partial").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "README.partial").write_text(card, encoding="utf-8")
    (folder / "model.partial").replace(folder / "model.safetensors")
    (folder / "config.partial").replace(folder / "config.json")
    (folder / "README.partial").replace(folder / "README.md")


def load_part(model: str | PathLike[str], part: Part, **download: Any) -> Pretrained:
    """What a run folder, the part's own folder, or a hub repository `user/name` holds of the part.

    Args:
        download: which revision, from where and how, as `huggingface_hub.snapshot_download` takes it.

    Raises:
        UserError: nothing is there, it is the other part, or a file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = part_folder(model, part, **download)
    config = _config(folder, part)
    try:
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(_not_whole(folder, part, error)) from error
    trained = config.get("trained")
    return Pretrained(_spec(config, part, folder), weights, trained if isinstance(trained, dict) else {})


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
