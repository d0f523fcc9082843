"""Three joint steps of every built-in translator, a batch of four divided over the processes: OUT/NAME.safetensors.

python tests/step_every_translator.py OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import save_file
from small_trainer import ADAM, divisible_translators, make_batch, make_trainer

from unpairaug.data import UnpairedBatch

STEPS = 3
SGD = {kind: {"type": "sgd", "lr": 1e-3} for kind in ADAM}
"""Adam would make steps out of the rounding of gradients that are zero, as those of a bias before a norm are."""


def main(out: Path) -> None:
    out.mkdir(exist_ok=True)
    for name, translator in divisible_translators().items():
        trainer = make_trainer(translator, optimizer=SGD)
        state = trainer.accelerator
        for step in range(STEPS):
            batch = make_batch(4 * step)
            share = slice(state.process_index, None, state.num_processes)
            trainer.train_step([UnpairedBatch(*(part[share] for part in batch))], step)
        if state.is_main_process:
            weights = {
                f"{part}.{key}": value.contiguous()
                for part, network in (("task", trainer.task), ("translator", trainer.translator))
                for key, value in network.state_dict().items()
            }
            save_file(weights, out / f"{name}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
