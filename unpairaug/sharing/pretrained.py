"""Trained parts on disk and on the hub: a folder with `config.json`, `model.safetensors` and a model card.

Whoever made a folder may be a stranger: its files are read as data, within limits, and `config.json` may name code only
if the caller trusts it (`unpairaug.registry.trust`).
"""

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
from unpairaug.errors import UserError, escape
from unpairaug.files import read_json
from unpairaug.registry import Spec
from unpairaug.sharing.hub_id import download
from unpairaug.sharing.manifest import MANIFEST, find_damage, flush_to_disk, write_manifest
from unpairaug.sharing.tensor_file import find_nonfinite, save_tensors

Part = Literal["task", "translator"]
FOLDER: dict[Part, str] = {"task": "head", "translator": "translator"}
"""Where a run folder keeps each part."""
MAX_CONFIG_BYTES = 2**20

log = logging.getLogger("unpairaug")


class Pretrained(NamedTuple):
    """The contents of a part's folder."""

    config: Spec
    """From what the part is built: `type` and the constructor's options."""
    weights: dict[str, Tensor]
    trained: Spec
    """Facts that the training run recorded, see `RunFolder`; empty if the part is not from a run."""
    version: str = __version__
    """Of the unpairaug that saved the part."""


def save_part(folder: Path, part: Part, contents: Pretrained, card: str) -> None:
    """Write the part so that `load_part` finds it; the folder is made if it is missing.

    Raises:
        NonFiniteError: a weight is NaN or infinite; the folder is left as it was.
        OSError: it cannot be written, as on a full disk; the folder is left as it was, or without a manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {"part": part, "unpairaug": __version__, part: contents.config, "trained": contents.trained}
    # A reader finds complete files while a run writes, the old ones or the new ones.
    partials = [folder / name for name in ("model.partial", "config.partial", "README.partial")]
    try:
        save_tensors(partials[0], contents.weights)
        partials[1].write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        partials[2].write_text(card, encoding="utf-8")
        for partial in partials:
            flush_to_disk(partial)
        (folder / MANIFEST).unlink(missing_ok=True)  # a folder without one is read, so a kill here spoils nothing
        for partial, name in zip(partials, ("model.safetensors", "config.json", "README.md"), strict=True):
            partial.replace(folder / name)
        write_manifest(folder, ("config.json", "model.safetensors"))
    except OSError:
        for partial in partials:
            partial.unlink(missing_ok=True)  # it takes room that a full disk lacks
        raise


def load_part(model: str | PathLike[str], part: Part, **options: Any) -> Pretrained:
    """The part in a run folder, in its own folder, or in a hub repository `user/name`, `user/name@revision`.

    Args:
        options: of the download: which revision, from where and how, as `huggingface_hub.snapshot_download` takes it.

    Raises:
        UserError: there is no such part, it is the other part, or a file is damaged.
    """
    folder = part_folder(model, part, **options)
    config = _read_config(folder, part)
    spec, trained = _spec(config, part, folder), config.get("trained")
    _check_manifest(folder)
    weights = _read_weights(folder, part)
    version = str(config.get("unpairaug", "of an unknown version"))
    return Pretrained(spec, weights, trained if isinstance(trained, dict) else {}, version)


def held_part(model: str | PathLike[str]) -> Part:
    """The part that a part's own folder or hub repository holds; of a run folder, which has both, the task.

    Raises:
        UserError: there is no model.
    """
    config = read_json(part_folder(model, "task") / "config.json", MAX_CONFIG_BYTES)
    return "translator" if config.get("part") == "translator" else "task"


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
        return _warn_once(
            f"{escape(folder)} has no {MANIFEST}, as earlier versions wrote none: its files are not checked"
        )
    if fault := damage.pop("config.json", None):
        _warn_once(f"config.json of {escape(folder)} {fault}; it is used as it is")
    for name, fault in damage.items():
        raise UserError(f"{escape(folder)} is damaged: {name!r} {fault}; copy or train it again")


@cache
def _inform_once(text: str) -> None:
    log.info(text)


@cache
def _warn_once(text: str) -> None:
    log.warning(f"warning: {text}")


def part_spec(model: str | PathLike[str], part: Part) -> Spec:
    """The `config` that `load_part` returns, without reading the weights.

    Raises:
        UserError: there is no such part, or it is the other part.
    """
    folder = part_folder(model, part)
    return _spec(_read_config(folder, part), part, folder)


def _better_folders(run: Path, part: Part) -> list[Path]:
    """The part in `best/` of a run folder, if the run's summary says that it is better than the last step's."""
    summary = run / "summary.json"
    values = read_json(summary, MAX_CONFIG_BYTES) if summary.is_file() else {}
    folder = run / "best" / FOLDER[part]
    if values.get("weights") != "best" or not (folder / "config.json").is_file():
        return []
    _inform_once(
        f"{escape(run)}: taking step {escape(values.get('weights_step'))} from best/, which measured better than the "
        f"last; {escape(run / FOLDER[part])} has the last"
    )
    return [folder]


def _read_config(folder: Path, part: Part) -> dict[str, Any]:
    try:
        config = read_json(folder / "config.json", MAX_CONFIG_BYTES)
    except UserError as error:
        raise UserError(_describe_damage(folder, part, error)) from error
    if part not in config:
        other = next((name for name in FOLDER if config.get("part") == name), "model of another program")
        raise UserError(f"{escape(folder)} holds a {other}, not a {part}")
    return config


def _read_weights(folder: Path, part: Part) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    path = folder / "model.safetensors"
    try:
        if path.exists() and not path.is_file():
            raise OSError("model.safetensors is no regular file")
        weights = load_file(path)
    except (OSError, ValueError, OverflowError, SafetensorError) as error:
        raise UserError(_describe_damage(folder, part, error)) from error
    if names := find_nonfinite(weights):
        raise UserError(
            f"{escape(folder)} holds weights that are not finite, such as {names[0]!r}: training went wrong"
        )
    return weights


def _describe_damage(folder: Path, part: Part, error: Exception) -> str:
    reason = error if isinstance(error, UserError) else escape(str(error))
    return f"{escape(folder)} does not hold a whole {part} (config.json and model.safetensors): {reason}"


def _spec(config: dict[str, Any], part: Part, folder: Path) -> Spec:
    spec = config[part]
    if not isinstance(spec, dict) or not isinstance(spec.get("type"), str):
        raise UserError(f"{escape(folder / 'config.json')}: {part!r} should be a section with a 'type'")
    return spec


def part_folder(model: str | PathLike[str], part: Part, **options: Any) -> Path:
    """The folder with the part's files, here or in the hub's cache; arguments as those of `load_part`.

    Of a run folder it is the one in `best/` where that step measured better than the last, as `summary.json` says.

    Raises:
        UserError: there is none.
    """
    given = Path(model)
    try:
        for folder in (*_better_folders(given, part), given / FOLDER[part], given):
            if (folder / "config.json").is_file():
                return folder
        is_here = given.exists()
    except (OSError, ValueError) as error:  # a name that is too long, or that holds NUL
        raise UserError(f"{escape(given)} is no model: {error}") from error
    if is_here:
        raise UserError(
            f"{escape(given)} is neither a run folder with a finished {FOLDER[part]}/ nor such a folder itself "
            "(no config.json)"
        )
    folder = download(str(model), f"its {FOLDER[part]}/ folder", options)
    return folder / FOLDER[part] if (folder / FOLDER[part] / "config.json").is_file() else folder
