"""Exports a trained head or translator to a file, loads it back, and compares the outputs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unpairaug.data.files import WriteError, write_error, write_file
from unpairaug.errors import RunStopped, UserError, escape
from unpairaug.export import darktable_file, for_spandrel, ncnn_file, onnx_file, plain, translator_file
from unpairaug.export.card import describe_head, make_card
from unpairaug.export.format import TOLERANCE, Format, LoadedModel, network_name
from unpairaug.networks.resize import enlarge
from unpairaug.registry.suggestions import suggest
from unpairaug.sharing.pretrained import Part, held_part
from unpairaug.task import Task
from unpairaug.translator import Translator

FORMATS: dict[str, Format] = {
    "onnx": onnx_file.FORMAT,
    "spandrel": for_spandrel.FORMAT,
    "ncnn": ncnn_file.FORMAT,
    "darktable": darktable_file.FORMAT,
    "safetensors": plain.FORMAT,
}
SHAPES = ((1, 3, 45, 61), (1, 3, 64, 48), (1, 3, 17, 32), (3, 3, 16, 24))
"""Shapes of the compared images: sides without common divisors, other sizes, and a batch."""


class Exported(NamedTuple):
    """Result of an export."""

    path: Path
    card: Path
    difference: float
    """Largest difference between the outputs of part and file for random images in [0, 1]."""
    enlarge_first: int = 1
    """Factor of the bicubic enlargement that a head's file needs before its network; 1 for none."""
    part: Part = "task"
    """Whether a task's head or a translator was exported."""
    left_out: str = ""
    """What is left to do with the output of a translator's file, as a sentence."""


def export(model: str, out: Path, format: str, license: str | None = None, trust_code: bool = False) -> Exported:
    """Write the trained head or translator of `model` to `out`, and a card for OpenModelDB to `<name of out>.json`.

    Of a run folder it is the head; its folder `translator/` gives the translator. The file is first written to a
    temporary folder, loaded back, and compared with the part.

    Args:
        license: licence of the weights for the card, an SPDX expression.
        trust_code: see `Task.from_pretrained`.

    Raises:
        UserError: the model or format does not exist, the part does not support the format, or `out` exists.
        RunStopped: the loaded file gives other outputs, or a file cannot be written. Then nothing is written.
    """
    if format not in FORMATS:
        raise UserError(f"no format {format!r}; {suggest(format, FORMATS)}")
    outputs = [out, *(out.with_suffix(suffix) for suffix in FORMATS[format].beside), out.with_name(f"{out.name}.json")]
    _check_outputs(outputs, format)
    part = _load(model, format, trust_code)
    with _temporary_folder(out) as folder:
        files = [Path(folder) / each.name for each in outputs]
        with _name_target(out):
            if isinstance(part, Task):
                exported, card = _write_head(part, files[:-1], FORMATS[format], license)
            else:
                exported, card = _write_translator(part, files[:-1], FORMATS[format], license)
        with _name_target(outputs[-1]):
            write_file(files[-1], f"{json.dumps(card, indent=2, ensure_ascii=False)}\n".encode())
        for file, place in reversed(list(zip(files, outputs, strict=True))):  # `out` last: the others then exist
            _move(file, place)
    return exported._replace(path=out, card=outputs[-1])


def _load(model: str, format: str, trust_code: bool) -> Task | Translator:
    """The head or translator to export.

    Raises:
        UserError: there is none, or the format does not take it.
    """
    if held_part(model) == "translator":
        if format != "onnx":
            raise UserError(
                f"{escape(model)} is a translator, which --format onnx exports, given {format}; to export a head, "
                f"give a run folder or its head/ folder"
            )
        return Translator.from_pretrained(model, trust_code=trust_code)
    task = Task.from_pretrained(model, trust_code=trust_code)
    if task.restorer is not None:
        raise UserError(
            f"the head of {escape(model)} needs translator {task.restorer.config['type']!r} in front of it "
            f"(real_path.feed: restore(real)), but an exported file holds a head alone; `unpairaug "
            f"restore` and `Task.from_pretrained` use both"
        )
    return task


def _write_head(task: Task, files: list[Path], kind: Format, license: str | None) -> tuple[Exported, dict[str, Any]]:
    """Write the head to the first file and what the format has beside it; the result, and the fields of the card."""
    kind.write(task, files[0])
    loaded = kind.read(files[0], task)
    difference = _compare(task, loaded)
    description = describe_head(task, loaded.scale)
    card = make_card(task, description, files, kind.platform, loaded.architecture, loaded.scale, license)
    return Exported(files[0], files[-1], difference, task.scale // loaded.scale), card


def _write_translator(
    translator: Translator, files: list[Path], kind: Format, license: str | None
) -> tuple[Exported, dict[str, Any]]:
    """As `_write_head`."""
    unfiled, jpeg = translator_file.leave_file_out(translator)
    translator_file.write(unfiled, files[0])
    compared = translator_file.compare(unfiled, files[0])
    left_out = translator_file.describe_file(jpeg)
    description = f"{translator_file.describe(unfiled, compared.any_batch)} {left_out}"
    card = make_card(translator, description, files, kind.platform, translator.config["type"], 1, license)
    return Exported(files[0], files[-1], compared.difference, part="translator", left_out=left_out), card


def _compare(task: Task, loaded: LoadedModel) -> float:
    """The largest difference over several shapes.

    Raises:
        RunStopped: it exceeds `TOLERANCE` at all sizes.
        UserError: it exceeds `TOLERANCE` at some sizes only.
    """
    differences = {shape: _difference(task, loaded, shape) for shape in SHAPES if loaded.takes_batches or shape[0] == 1}
    equal = {shape for shape, difference in differences.items() if difference <= TOLERANCE}  # False for NaN
    different = [shape for shape in differences if shape not in equal]
    worst = max(differences.values())
    if different and equal:
        raise UserError(
            f"{network_name(task)} depends on the image size, which this format cannot express: the loaded file gives "
            f"other outputs for shapes {', '.join(map(str, different))} (difference up to {worst:.3g} for images in "
            f"[0, 1]) or none; nothing was written. `--format safetensors` supports every head"
        )
    if different:
        raise RunStopped(
            f"the output of the loaded file differs from that of the task by up to {worst:.3g} (images in [0, 1], "
            f"tolerance {TOLERANCE:g}); nothing was written. If the task does more than call its head, its head alone "
            f"cannot be exported"
        )
    return worst


def _difference(task: Task, loaded: LoadedModel, shape: tuple[int, ...]) -> float:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours, theirs = task(image), _run_loaded(loaded, enlarge(image, task.scale // loaded.scale))
    if theirs is None or ours.shape != theirs.shape:
        return float("inf")
    return (ours.clamp(0, 1) - theirs.clamp(0, 1)).abs().max().item()


def _run_loaded(loaded: LoadedModel, image: Tensor) -> Tensor | None:
    """The output of the loaded file; None if its engine fails."""
    try:
        return loaded.restore(image)
    except Exception:  # engines raise arbitrary exceptions; the comparison reports the missing output
        return None


def _check_outputs(outputs: list[Path], format: str) -> None:
    out, suffixes = outputs[0], FORMATS[format].suffixes
    if out.suffix.lower() not in suffixes:
        raise UserError(
            f"{escape(out)}: --format {format} needs a file name with the extension {' or '.join(suffixes)}"
        )
    for each in outputs:
        if os.path.exists(each):
            raise UserError(f"{escape(each)} already exists; give another name, or remove it")
    if not os.path.isdir(out.parent):
        raise UserError(f"{escape(out)}: there is no folder {escape(out.parent)}; create it, or give another path")


def _temporary_folder(out: Path) -> TemporaryDirectory[str]:
    """A temporary folder beside the file, so that the finished file can be renamed into place."""
    try:
        return TemporaryDirectory(prefix=".export-", dir=out.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise write_error(out.parent, error, "folder") from error


@contextmanager
def _name_target(place: Path) -> Iterator[None]:
    """Name a file where it is to be, not where it is written first.

    Raises:
        WriteError: it cannot be written.
    """
    try:
        yield
    except WriteError as error:
        if isinstance(error.__cause__, OSError):
            raise write_error(place, error.__cause__) from error
        raise


def _move(file: Path, place: Path) -> None:
    try:
        file.replace(place)
    except OSError as error:
        raise write_error(place, error) from error
