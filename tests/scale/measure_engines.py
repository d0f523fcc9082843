"""Time heads by PyTorch, by PyTorch in bfloat16, and by ONNX Runtime, in turn, on one thread of a CPU.

    python tests/scale/measure_engines.py

Prints a line for each head: megapixels of the restored image per second of processor time (the best of the rounds), the
ratio to PyTorch, and the PSNR against PyTorch in single precision. Weights are random.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
import torch
from torch import Tensor

from unpairaug.export import onnx_file
from unpairaug.networks.in_place import set_in_place
from unpairaug.process.allocator import keep_memory
from unpairaug.registry import tasks
from unpairaug.task import Task

SIDD = {"width": 32, "middle_blk_num": 1, "enc_blk_nums": [1, 1, 1, 28], "dec_blk_nums": [1, 1, 1, 1]}
HEADS = [
    ("VDSR 12x24, x2", {"type": "vdsr", "depth": 12, "width": 24}, 2, 160),
    ("VDSR 20x64, x2", {"type": "vdsr"}, 2, 96),
    ("EDSR baseline, x2", {"type": "edsr"}, 2, 128),
    ("DnCNN 8x24", {"type": "dncnn", "depth": 8, "width": 24}, 1, 256),
    ("DnCNN 20x64", {"type": "dncnn"}, 1, 160),
    ("NAFNet of SIDD, width 32", {"type": "spandrel", "arch": "NAFNet", **SIDD}, 1, 160),
]
"""Name, head, scale, and side of the degraded image in pixels."""
ROUNDS = 6


def main() -> None:
    torch.set_num_threads(1)
    keep_memory()
    for name, head, scale, side in HEADS:
        torch.manual_seed(0)
        task = tasks.build({"type": "sr", "scale": scale, "head": head}).eval().requires_grad_(False)
        for weight in task.parameters():
            if not weight.any():  # residual networks begin as the identity
                torch.nn.init.normal_(weight, std=0.01)
        image = torch.rand(1, 3, side, side)
        ways = make_ways(task, image)
        outputs, times = measure(ways)
        for way, seconds in times.items():
            rate = outputs[way].shape[-1] ** 2 / 1e6 / seconds
            error = (outputs[way] - outputs["torch"]).float().square().mean().sqrt()
            against = "" if way == "torch" else f"  {-20 * error.log10():5.1f} dB"
            print(f"{name:26} {way:8} {rate:7.3f} megapixels/s  {times['torch'] / seconds:5.2f} ×{against}", flush=True)


def make_ways(task: Task, image: Tensor) -> dict[str, Callable[[], Tensor]]:
    """What restores the image, by name; PyTorch as `restore` calls it."""
    session = open_session(task)
    task = task.to(memory_format=torch.channels_last)
    set_in_place(task.modules())
    last = image.clone(memory_format=torch.channels_last)

    def restore_in_bfloat16() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return task(last)

    return {
        "torch": lambda: task(last),
        "bf16": restore_in_bfloat16,
        "onnx": lambda: torch.from_numpy(session.run(None, {onnx_file.INPUT: image.numpy()})[0]),
    }


def open_session(task: Task) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with TemporaryDirectory() as folder:
        path = Path(folder) / "head.onnx"
        onnx_file.write(task, path)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def measure(ways: dict[str, Callable[[], Tensor]]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The output of each, and its shortest processor time in seconds, after one round to warm up."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    outputs: dict[str, Tensor] = {}
    with torch.inference_mode():
        for _ in range(ROUNDS + 1):
            for way, restore in ways.items():
                start = time.process_time()
                outputs[way] = restore().float()
                times[way].append(time.process_time() - start)
    return outputs, {way: min(taken[1:]) for way, taken in times.items()}


if __name__ == "__main__":
    main()
