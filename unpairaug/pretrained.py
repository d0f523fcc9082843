"""Trained parts on disk and on the hub: a folder with `config.json` and `model.safetensors`."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from unpairaug import __version__
from unpairaug.errors import UserError
from unpairaug.registry import Spec

Part = Literal["task", "translator"]
FOLDER: dict[Part, str] = {"task": "head", "translator": "translator"}
"""Where a run folder keeps each part."""


def save_pretrained(folder: str | PathLike[str], part: Part, config: Spec, weights: dict[str, Tensor]) -> None:
    """Write the part so that `load_pretrained` finds it; the folder is made if it is missing."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"part": part, "unpairaug": __version__, part: config}, indent=2)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    # Whoever reads while a run writes finds a whole file, the old one or the new one.
    save_file(plain, folder / "model.partial")
    (folder / "config.partial").write_text(text + "\n", encoding="utf-8")
    (folder / "model.partial").replace(folder / "model.safetensors")
    (folder / "config.partial").replace(folder / "config.json")


def load_pretrained(model: str | PathLike[str], part: Part) -> tuple[Spec, dict[str, Tensor]]:
    """The part's configuration and weights, from a run folder, the part's own folder, or a hub id `user/name`.

    Raises:
        UserError: nothing is there, it is the other part, or a file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = _find(model, part)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(
            f"{folder} does not hold a whole {part} (config.json and model.safetensors): {error}"
        ) from error
    if part not in config:
        raise UserError(f"{folder} holds a {config.get('part', 'model of another program')}, not a {part}")
    return _spec(config, part, folder), weights


def _spec(config: dict[str, Any], part: Part, folder: Path) -> Spec:
    spec = config[part]
    if not isinstance(spec, dict) or "type" not in spec:
        raise UserError(f"{folder / 'config.json'}: {part!r} must be a mapping with a 'type', got {spec!r}")
    return spec


def _find(model: str | PathLike[str], part: Part) -> Path:
    given = Path(model)
    for folder in (given / FOLDER[part], given):
        if (folder / "config.json").is_file():
            return folder
    if given.exists():
        raise UserError(
            f"{given} is neither a run folder with a finished {FOLDER[part]}/ nor such a folder itself (no config.json)"
        )
    return _download(str(model), part)


def _download(repo_id: str, part: Part) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo_id, allow_patterns=["*.json", "*.safetensors"]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"no folder {repo_id!r} here, and the hub gave none of that name ({reason}); give a run folder, "
            f"its {FOLDER[part]}/ folder, or a hub id 'user/name'"
        ) from error
    return folder / FOLDER[part] if (folder / FOLDER[part] / "config.json").is_file() else folder
