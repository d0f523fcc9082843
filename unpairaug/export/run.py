"""From a trained head to a file that was loaded back and restores images alike."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor

from unpairaug.errors import RunStopped, UserError
from unpairaug.export import for_spandrel, ncnn_file, onnx_file, plain
from unpairaug.export.card import card
from unpairaug.export.format import Format, Loaded, network_name
from unpairaug.networks.resize import enlarge
from unpairaug.registry.suggestions import suggest
from unpairaug.task import Task

FORMATS: dict[str, Format] = {
    "onnx": onnx_file.FORMAT,
    "spandrel": for_spandrel.FORMAT,
    "ncnn": ncnn_file.FORMAT,
    "safetensors": plain.FORMAT,
}
TOLERANCE = 1e-4
"""Difference that rounding may make, images being in [0, 1]: a fortieth of an 8-bit step."""
SHAPES = ((1, 3, 45, 61), (1, 3, 64, 48), (1, 3, 17, 32), (3, 3, 16, 24))
"""What is compared: sides that no network's size requirements divide, then others, then several at once."""


class Exported(NamedTuple):
    """What came out of an export."""

    path: Path
    card: Path
    difference: float
    """Largest difference between the task's image and the file's, of random ones, both in [0, 1]."""
    enlarge_first: int
    """Factor by which whoever uses the file must enlarge images, bicubic, before its network; 1 is not at all."""


def export(model: str, out: Path, format: str, license: str | None = None) -> Exported:
    """Write the trained head of `model` into the file `out`, after it was loaded back and restored images alike.

    Beside it comes a card, `<name of the file>.json`.

    Args:
        license: of the weights, for the card: an SPDX expression.

    Raises:
        UserError: there is no such model or format, the head cannot have that format, or `out` cannot be written.
        RunStopped: what was loaded back restores differently; nothing is left behind.
    """
    if format not in FORMATS:
        raise UserError(f"no format {format!r}; {suggest(format, FORMATS)}")
    kind = FORMATS[format]
    outs = [out, *(out.with_suffix(suffix) for suffix in kind.beside), out.with_name(f"{out.name}.json")]
    _check_outs(outs, format)
    task = Task.from_pretrained(model)
    if task.restorer is not None:
        raise UserError(
            f"the head of {model} takes what the translator {task.restorer.config['type']!r} restores of an image "
            f"(real_path.feed: restore(real)), and a file for other programs holds a head alone; `unpairaug restore` "
            f"and `Task.from_pretrained` use both"
        )
    with _workplace(out) as folder:
        files = [Path(folder) / each.name for each in outs]
        kind.write(task, files[0])
        loaded = kind.read(files[0], task)
        difference = _compare(task, loaded)
        fields = card(task, out.stem, files[:-1], kind.platform, loaded.architecture, loaded.scale, license)
        files[-1].write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        for file, place in reversed(list(zip(files, outs, strict=True))):  # the one that is asked for comes last
            file.replace(place)
    return Exported(out, outs[-1], difference, task.scale // loaded.scale)


def _compare(task: Task, loaded: Loaded) -> float:
    """The largest difference over several shapes.

    Raises:
        RunStopped: it is more than rounding explains.
        UserError: it is at some sizes, and at others not.
    """
    differences = {shape: _difference(task, loaded, shape) for shape in SHAPES if loaded.takes_batches or shape[0] == 1}
    right = {shape for shape, difference in differences.items() if difference <= TOLERANCE}  # none that is no number
    wrong = [shape for shape in differences if shape not in right]
    worst = max(differences.values())
    if wrong and right:
        raise UserError(
            f"{network_name(task)} does different things at different sizes, which a file of that format cannot: "
            f"loaded back, it restores images of shape {', '.join(map(str, wrong))} differently by up to {worst:.3g} "
            f"of 1, or not at all; nothing was written. `--format safetensors` takes any head"
        )
    if wrong:
        raise RunStopped(
            f"the file loads, but its image differs from the trained task's by up to {worst:.3g} of 1, and "
            f"rounding explains {TOLERANCE:g} at most; nothing was written. Where the task does more than call its "
            f"head, the head alone cannot stand for it"
        )
    return worst


def _difference(task: Task, loaded: Loaded, shape: tuple[int, ...]) -> float:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours, theirs = task(image), _restored(loaded, enlarge(image, task.scale // loaded.scale))
    if theirs is None or ours.shape != theirs.shape:
        return float("inf")
    return (ours.clamp(0, 1) - theirs.clamp(0, 1)).abs().max().item()


def _restored(loaded: Loaded, image: Tensor) -> Tensor | None:
    """None where the engine refuses the size, or says so by an image of none."""
    try:
        return loaded.restore(image)
    except Exception:  # engines raise whatever they like; the comparison says that it did not restore
        return None


def _check_outs(outs: list[Path], format: str) -> None:
    out, suffixes = outs[0], FORMATS[format].suffixes
    if out.suffix.lower() not in suffixes:
        raise UserError(f"{out}: the format {format} is a file that ends in {' or '.join(suffixes)}")
    for each in outs:
        if each.exists():
            raise UserError(f"{each} exists; give another name, or remove it")
    if not out.parent.is_dir():
        raise UserError(f"{out}: there is no folder {out.parent}; make it first, or give another place")


def _workplace(out: Path) -> TemporaryDirectory[str]:
    """A folder beside the file, so that what is finished there can take its place at once."""
    try:
        return TemporaryDirectory(prefix=f".{out.stem}.", dir=out.parent)
    except OSError as error:
        raise UserError(f"{out.parent} cannot be written: {error}; give another place") from error
