"""NCNN, for Upscayl and other programs on phones and any graphics card: a `.param` file and a `.bin` beside it."""

from __future__ import annotations

import re
import subprocess
import warnings
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from unpairaug.errors import UserError
from unpairaug.export.enlarge import portable
from unpairaug.export.format import Format, Loaded, alone, network_name, require, told
from unpairaug.task import Task

INPUT, OUTPUT = "data", "output"
"""What Upscayl and the programs it descends from call the network's ends."""
SHAPES = ("[1,3,48,64]f32", "[1,3,64,80]f32")
"""Two sizes, from which pnnx tells that sizes are free."""


def write(task: Task, path: Path) -> None:
    require("ncnn", "pnnx", "ncnn")
    with TemporaryDirectory() as folder:
        traced = Path(folder) / "head.pt"
        _trace(task, traced)
        said = _convert(traced)
        param = traced.with_suffix(".ncnn.param")
        text = param.read_text(encoding="utf-8") if param.exists() else ""
        foreign = sorted(
            set(re.findall(r"^((?:pnnx\.|F\.|nn\.|torch\.|Tensor\.|aten::|prim::)\S+)", text, re.MULTILINE))
        )
        if foreign or not text:
            why = f"it has no counterpart of {', '.join(foreign)}" if foreign else f"pnnx ended with: {said}"
            raise UserError(f"{network_name(task)} cannot become an NCNN file: {why}. {_elsewhere()}")
        text = re.sub(r"\bin0\b", INPUT, re.sub(r"\bout0\b", OUTPUT, text))
        path.write_text(text, encoding="utf-8")
        path.with_suffix(".bin").write_bytes(traced.with_suffix(".ncnn.bin").read_bytes())


def read(path: Path, task: Task) -> Loaded:
    import numpy as np

    ncnn: Any = import_module("ncnn")  # its names come from a library that no type checker sees
    network = ncnn.Net()
    network.opt.num_threads = torch.get_num_threads()
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(network.opt, f"use_{option}", False)
    if network.load_param(str(path)) or network.load_model(str(path.with_suffix(".bin"))):
        raise UserError(f"NCNN cannot load what became of {network_name(task)}. {_elsewhere()}")

    def restore(image: Tensor) -> Tensor:
        extractor = network.create_extractor()
        extractor.input(INPUT, ncnn.Mat(np.ascontiguousarray(image[0].numpy())).clone())  # it only borrows the array
        return torch.from_numpy(np.array(extractor.extract(OUTPUT)[1]))[None]

    return Loaded(restore, task.scale, network_name(task), takes_batches=False)


def _trace(task: Task, path: Path) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            torch.jit.trace(alone(portable(task)), torch.rand(1, 3, 48, 64)).save(str(path))  # type: ignore[union-attr]
        except Exception as error:  # a network of anybody's
            raise UserError(f"{network_name(task)} cannot be traced for NCNN: {told(error)}. {_elsewhere()}") from error


def _convert(traced: Path) -> str:
    """Run pnnx; what it wrote is beside the traced file. The last line that it said."""
    import pnnx

    command = [pnnx.EXEC_PATH, traced.name, f"inputshape={SHAPES[0]}", f"inputshape2={SHAPES[1]}", "fp16=0"]
    ended = subprocess.run(command, cwd=traced.parent, capture_output=True, text=True, errors="replace")
    return ((ended.stderr + ended.stdout).strip().splitlines() or [f"exit code {ended.returncode}"])[-1]


def _elsewhere() -> str:
    return "`--format onnx` takes more networks, and `--format safetensors` any"


FORMAT = Format((".param",), write, read, "ncnn", beside=(".bin",))
