"""A small trained-looking run for the tests of `degrade`: its noise is strong, its networks see far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from unpairaug.registry import tasks, translators


def save_translator(folder: Path, **spec: Any) -> Path:
    """A translator's folder, with weights that make something of an image."""
    torch.manual_seed(0)
    translator = translators.build(spec)
    for parameter in translator.generators.parameters():
        if parameter.dim() > 1:
            torch.nn.init.kaiming_normal_(parameter, a=0.5)
    translator.save_pretrained(folder)
    return folder


def save_run(folder: Path, scale: int = 2) -> Path:
    """A run folder of super-resolution with a translator that makes noise."""
    save_translator(folder / "translator", type="stochastic_cyclegan", width=4, depth=3)
    tasks.build({"type": "sr", "scale": scale, "head": {"type": "fsrcnn"}}).save_pretrained(folder / "head")
    return folder


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_photographs(folder: Path, count: int, height: int = 41, width: int = 52) -> Path:
    """A folder of PNG files, every third in a folder below."""
    for i in range(count):
        path = folder / ("below" if i % 3 == 2 else ".") / f"photo {i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(height, width, i)).save(path)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, but for the lock."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
