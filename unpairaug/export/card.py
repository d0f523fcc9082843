"""The model card of an exported file, in the fields of OpenModelDB."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from unpairaug.task import Task
from unpairaug.translator import Translator


def make_card(
    part: Task | Translator,
    description: str,
    files: list[Path],
    platform: str,
    architecture: str,
    scale: int,
    license: str | None,
) -> dict[str, Any]:
    """The fields of the card of the first file and those beside it; None for those that the publisher must fill in."""
    return {
        "name": files[0].stem,
        "author": None,
        "license": license,
        "tags": [part.config["type"].replace("_", "-")],
        "description": description,
        "date": None,
        "architecture": architecture.lower(),
        "size": None,
        "scale": scale,
        "inputChannels": 3,
        "outputChannels": 3,
        "resources": [_resource(file, platform) for file in files],
        "images": [],
        **_training(part.trained),
    }


def describe_head(task: Task, scale: int) -> str:
    """What the head of a task is, for a file that enlarges by `scale`."""
    unpaired = ", trained on unpaired images" if task.trained.get("feed") == "fake" else ""
    sentences = [f"A head of unpairaug for the task {task.config['type']}{unpaired}."]
    if task.scale > scale:
        sentences.append(f"Enlarge images ×{task.scale // scale} by bicubic interpolation first.")
    if metrics := task.trained.get("metrics"):
        values = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items() if name != "step")
        sentences.append(f"On its validation pairs, at step {metrics['step']}: {values}.")
    return " ".join(sentences)


def _resource(file: Path, platform: str) -> dict[str, Any]:
    contents = file.read_bytes()
    return {
        "platform": platform,
        "type": file.suffix.removeprefix("."),
        "size": len(contents),
        "sha256": sha256(contents).hexdigest(),
        "urls": [],
    }


def _training(trained: dict[str, Any]) -> dict[str, Any]:
    sides = [f"{side.replace('_', ' ')}: {', '.join(names)}" for side, names in trained.get("data", {}).items()]
    fields = {
        "dataset": "; ".join(sides) or None,
        "trainingIterations": trained.get("steps"),
        "trainingBatchSize": trained.get("batch_size"),
        "trainingHRSize": trained.get("crop"),
        "trainingOTF": trained["feed"] == "fake" if "feed" in trained else None,
    }
    return {name: value for name, value in fields.items() if value is not None}
