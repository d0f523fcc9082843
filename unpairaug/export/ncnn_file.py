"""NCNN, for Upscayl and programs on phones and any graphics card: a `.param` and a `.bin` file."""

from __future__ import annotations

import re
import subprocess
import warnings
from importlib import import_module
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from unpairaug.data.files import write_file
from unpairaug.errors import UserError
from unpairaug.export.enlarge import make_portable
from unpairaug.export.format import (
    Format,
    LoadedModel,
    format_error,
    network_name,
    prepare_for_tracing,
    require_packages,
)
from unpairaug.task import Task

INPUT, OUTPUT = "data", "output"
"""Names of input and output that Upscayl and Real-ESRGAN-ncnn expect."""
SHAPES = ("[1,3,48,64]f32", "[1,3,64,80]f32")
"""Two input sizes, from which pnnx infers that sizes are dynamic."""


def write(task: Task, path: Path) -> None:
    require_packages("ncnn", "pnnx", "ncnn")
    with TemporaryDirectory() as folder:
        traced = Path(folder) / "head.pt"
        _trace(task, traced)
        message = _convert(traced)
        param = traced.with_suffix(".ncnn.param")
        text = param.read_text(encoding="utf-8") if param.exists() else ""
        unsupported = sorted(
            set(re.findall(r"^((?:pnnx\.|F\.|nn\.|torch\.|Tensor\.|aten::|prim::)\S+)", text, re.MULTILINE))
        )
        if unsupported or not text:
            why = (
                f"NCNN has no operation for {', '.join(unsupported)}" if unsupported else f"pnnx ended with: {message}"
            )
            raise UserError(f"{network_name(task)} cannot be converted to NCNN: {why}. {_suggest_format()}")
        text = re.sub(r"\bin0\b", INPUT, re.sub(r"\bout0\b", OUTPUT, text))
        write_file(path, text.encode())
        write_file(path.with_suffix(".bin"), traced.with_suffix(".ncnn.bin").read_bytes())


def read(path: Path, task: Task) -> LoadedModel:
    import numpy as np

    ncnn: Any = import_module("ncnn")  # a binary module without type stubs
    network = ncnn.Net()
    network.opt.num_threads = torch.get_num_threads()
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(network.opt, f"use_{option}", False)
    if network.load_param(str(path)) or network.load_model(str(path.with_suffix(".bin"))):
        raise UserError(f"NCNN cannot load the converted {network_name(task)}. {_suggest_format()}")

    def restore(image: Tensor) -> Tensor:
        extractor = network.create_extractor()
        extractor.input(INPUT, ncnn.Mat(np.ascontiguousarray(image[0].numpy())).clone())  # Mat does not copy the array
        return torch.from_numpy(np.array(extractor.extract(OUTPUT)[1]))[None]

    return LoadedModel(restore, task.scale, network_name(task), takes_batches=False)


def _trace(task: Task, path: Path) -> None:
    traced = BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            torch.jit.save(torch.jit.trace(prepare_for_tracing(make_portable(task)), torch.rand(1, 3, 48, 64)), traced)
        except Exception as error:  # any network, any exception
            raise UserError(
                f"{network_name(task)} cannot be traced for NCNN: {format_error(error)}. {_suggest_format()}"
            ) from error
    write_file(path, traced.getvalue())


def _convert(traced: Path) -> str:
    """Run pnnx, which writes beside the traced file; return the last line of its output."""
    import pnnx

    command = [pnnx.EXEC_PATH, traced.name, f"inputshape={SHAPES[0]}", f"inputshape2={SHAPES[1]}", "fp16=0"]
    ended = subprocess.run(command, cwd=traced.parent, capture_output=True, text=True, errors="replace")
    return ((ended.stderr + ended.stdout).strip().splitlines() or [f"exit code {ended.returncode}"])[-1]


def _suggest_format() -> str:
    return "`--format onnx` supports more networks, and `--format safetensors` all"


FORMAT = Format((".param",), write, read, "ncnn", beside=(".bin",))
