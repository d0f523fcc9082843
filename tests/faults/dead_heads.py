"""Train the head of a recipe from many seeds, and count the heads of which a ReLU layer dies.

    python tests/faults/dead_heads.py --seeds 0:50 --steps 100
    python tests/faults/dead_heads.py --seeds 0:50 --steps 100 --joint
    python tests/faults/dead_heads.py --seeds 0:50 --steps 100 --clean FOLDER --degraded FOLDER train.clip=1

The head is trained alone, on bicubic pairs; or with `--joint` as the recipe says, with the translator and its feedback.
A layer is dead if its output is zero for every image: what is in front of it gets no gradient any more.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from unpairaug.recipe import load_recipe
from unpairaug.training.build import build_trainer
from unpairaug.training.measure_camera import measure_camera
from unpairaug.training.step_reader import StepReader
from unpairaug.training.training_data import open_data, resolve_lengths

BICUBIC = ["translator={type: bicubic}", "bridge={}", "real_path={}", "data.val_clean=null", "data.val_degraded=null"]


@contextmanager
def watch_layers(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """While it lasts, the largest output of each ReLU layer in its last forward pass, by name."""
    largest: dict[str, Tensor] = {}

    def keep(name: str) -> object:
        def hook(_: nn.Module, __: object, output: Tensor) -> None:
            largest[name] = output.detach().amax()

        return hook

    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.ReLU)}
    handles = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    try:
        yield largest
    finally:
        for handle in handles:
            handle.remove()


def find_death(recipe_name: str, overrides: list[str]) -> tuple[int, list[str], float]:
    """The steps of training after which a layer stays dead (-1: none does), those layers, the loss of the head."""
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True)
    recipe = load_recipe(recipe_name, overrides)
    data = open_data(recipe)
    recipe = resolve_lengths(recipe, data, 1)
    trainer = build_trainer(recipe, accelerator)
    measure_camera(recipe, data, trainer)
    alive, dead, loss = -1, [], float("nan")
    with watch_layers(trainer.task.head) as largest:
        for step, batches in enumerate(StepReader(data.crops, recipe, accelerator).read_from(0)):
            losses = trainer.train_step(batches, step)
            dead = [name for name, value in largest.items() if value.item() == 0]
            alive = alive if dead else step
            loss = sum(value.item() for name, value in losses.items() if name.startswith("task"))
    assert largest, "the head has no ReLU layer"
    return (alive + 1 if dead else -1), dead, loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="cyclesr_sr")
    parser.add_argument("--seeds", default="0:50", help="FIRST:END, without END")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--clean", default="sample")
    parser.add_argument("--degraded", default="sample")
    parser.add_argument("--joint", action="store_true", help="train the translator, too")
    parser.add_argument("overrides", nargs="*", help="of the recipe")
    options = parser.parse_args()
    sides = [f"data.clean={options.clean}", f"data.degraded={options.degraded}", f"train.steps={options.steps}"]
    sides += [] if options.joint else BICUBIC
    seeds = range(*map(int, options.seeds.split(":")))
    died = 0
    for count, seed in enumerate(seeds, 1):
        start = time.perf_counter()
        step, dead, loss = find_death(options.recipe, [*sides, f"train.seed={seed}", *options.overrides])
        died += bool(dead)
        found = f"dead after {step} steps: {', '.join(dead)}" if dead else "alive"
        seconds = time.perf_counter() - start
        print(f"seed {seed}: {found}, loss {loss:.5f}, {seconds:.0f} s; {died} of {count} died", flush=True)


if __name__ == "__main__":
    main()
