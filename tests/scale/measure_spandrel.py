"""Restore an image by the program and by spandrel with the same weights, and compare the processor time.

    unpairaug train cyclesr_sr train.steps=120 output_dir=run
    unpairaug export run head.safetensors --format spandrel
    python tests/scale/measure_spandrel.py run head.safetensors [keep]

`keep` lets the allocator keep its memory, as the program's commands do; without it both sides run as in a plain script.
One thread; the best of six, in turn, of an image of 600x450 pixels.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from spandrel import ModelLoader

from unpairaug import Task
from unpairaug.process.allocator import keep_memory
from unpairaug.restoring.restore import restore_image


def main() -> None:
    run, file, *options = sys.argv[1:]
    torch.set_num_threads(1)
    if options == ["keep"]:
        keep_memory()
    task = Task.from_pretrained(run).eval()
    network = ModelLoader().load_from_file(file).model.eval()
    image = np.random.default_rng(0).integers(0, 256, (450, 600, 3), np.uint8)

    def restore() -> np.ndarray:
        return restore_image(task, image)

    @torch.no_grad()
    def restore_by_spandrel() -> np.ndarray:
        degraded = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        restored = network(F.interpolate(degraded, scale_factor=task.scale, mode="bicubic"))
        return (restored[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()

    seconds: dict[str, list[float]] = {}
    for _ in range(6):
        for act in (restore, restore_by_spandrel):
            began = time.process_time()
            act()
            seconds.setdefault(act.__name__, []).append(time.process_time() - began)
    size = task.scale**2 * image.size / 3e6
    for name, times in seconds.items():
        print(f"{name}: {min(times):.2f} s, {size / min(times):.2f} megapixels a second")


if __name__ == "__main__":
    main()
