"""Read the weights of an ESRGAN network from its NCNN files, for `task.head.checkpoint`.

    python docs/guides/ncnn_weights.py realesrgan-x4plus.param realesrgan-x4plus.bin realesrgan-x4plus.safetensors

The `.param` file lists the layers in the order in which they run; the `.bin` file has the weights of each convolution,
in half or single precision, and its bias. ESRGAN's generator (RRDBNet) has one long chain of convolutions, so the order
alone says which is which: the first one, 15 for each block (three dense blocks of five), and six at the end.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

HALF = 0x01306B47
"""The mark of weights in half precision; 0 marks single precision."""
DENSE = [f"RDB{dense}.conv{number}" for dense in (1, 2, 3) for number in (1, 2, 3, 4, 5)]
FIRST, LAST = ["conv_first"], ["conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]


def read_convolutions(param: Path, weights: Path) -> list[tuple[Tensor, Tensor]]:
    """Weight (out, in, kernel, kernel) and bias (out,) of every convolution, in order.

    Raises:
        SystemExit: the files do not belong together, or the weights are quantised.
    """
    data, at, found = weights.read_bytes(), 0, []
    for line in param.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words or words[0] != "Convolution":
            continue
        options = dict(word.split("=") for word in words if re.fullmatch(r"\d+=-?\d+", word))
        outputs, kernel, count = int(options["0"]), int(options["1"]), int(options["6"])
        mark, at = int.from_bytes(data[at : at + 4], "little"), at + 4
        if mark not in (0, HALF):
            sys.exit(f"{weights}: {words[1]} is quantised (mark {mark:#x}); only half and single precision can be read")
        kind, size = (np.float16, 2 * count) if mark else (np.float32, 4 * count)
        weight = np.frombuffer(data, kind, count, at).astype(np.float32).reshape(outputs, -1, kernel, kernel)
        at += -(-size // 4) * 4  # padded to four bytes
        found.append((torch.from_numpy(weight), torch.from_numpy(np.frombuffer(data, np.float32, outputs, at).copy())))
        at += 4 * outputs
    if at != len(data):
        sys.exit(f"{weights} has {len(data)} bytes and {param} describes {at}: they do not belong together")
    return found


def name_convolutions(count: int) -> list[str]:
    """The names of the convolutions in BasicSR's RRDBNet, which spandrel knows.

    Raises:
        SystemExit: no such network has so many convolutions.
    """
    blocks, rest = divmod(count - len(FIRST) - len(LAST), len(DENSE))
    if rest or blocks < 1:
        sys.exit(f"{count} convolutions are no ESRGAN generator, which has 6 and 15 for each block")
    return [*FIRST, *(f"body.{block}.{name.lower()}" for block in range(blocks) for name in DENSE), *LAST]


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    param, weights, target = map(Path, sys.argv[1:])
    convolutions = read_convolutions(param, weights)
    state: dict[str, Tensor] = {}
    for name, (weight, bias) in zip(name_convolutions(len(convolutions)), convolutions, strict=True):
        state |= {f"{name}.weight": weight, f"{name}.bias": bias}
    save_file(state, target)
    print(
        f"{target}: {len(convolutions)} convolutions, {sum(tensor.numel() for tensor in state.values()):,} parameters"
    )


if __name__ == "__main__":
    main()
