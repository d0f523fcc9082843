"""Train from a recipe: ``accelerate launch -m unpairaug.run RECIPE [dotted.key=value …]``."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any

from unpairaug.errors import run_cli
from unpairaug.process.allocator import keep_memory
from unpairaug.recipe import load_recipe
from unpairaug.recipe.recipe import Overrides
from unpairaug.training import launcher as launcher  # notes the parent process before torch is imported

if TYPE_CHECKING:
    from unpairaug.training.trained_run import Run

USAGE = "usage: accelerate launch -m unpairaug.run RECIPE [dotted.key=value …]"


def train(recipe: str | PathLike[str], overrides: Overrides = (), **sections: Any) -> Run:
    """Train from a recipe, write its run folder, and return it; a complete run is not repeated.

    ``run = unpairaug.train("cyclesr_sr", data={"clean": "sharp", "degraded": "phone"}, output_dir="runs/phone")``

    Nothing global stays changed: signal handlers, random states and accelerate's state are restored.

    Args:
        recipe: a file, or the name of a bundled recipe.
        overrides: `["train.steps=500"]`, `{"train": {"steps": 500}}` or `{"train.steps": 500}`; see `load_recipe`.
        sections: values by section, on top of the overrides: `data={"clean": …}`, `train={"steps": 500}`.

    Raises:
        UserError: the recipe or the data are wrong; nothing has been trained.
        RunStopped: the run ended before its last step; the message says what is saved.
    """
    loaded = load_recipe(recipe, overrides, **sections)
    # torch is imported after the recipe is checked, so that a mistake in it is reported within a second.
    from unpairaug.data.storage import is_url
    from unpairaug.training.remote_run import RemoteRun
    from unpairaug.training.run_recipe import run_recipe
    from unpairaug.training.trained_run import Run

    with keep_global_state():
        run_recipe(loaded, str(recipe))
    folder = RemoteRun(loaded.output_dir).folder if is_url(loaded.output_dir) else loaded.output_dir
    return Run(folder, trust_code=True)  # what the recipe names, it may run


@contextmanager
def keep_global_state() -> Iterator[None]:
    """Restore random states, the log's handlers and accelerate's state, so that another run can follow."""
    import numpy as np
    import torch
    from accelerate import PartialState
    from accelerate.state import AcceleratorState, GradientState

    log = logging.getLogger("unpairaug")
    level, handlers, states = log.level, [*log.handlers], (random.getstate(), np.random.get_state())
    is_own, is_done = not PartialState._shared_state, False
    try:
        with torch.random.fork_rng(devices=[]):
            yield
        is_done = True
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        log.setLevel(level)
        log.handlers[:] = handlers
        # After an error the other processes of a run may not answer any more.
        if is_own and PartialState._shared_state and (is_done or PartialState().num_processes == 1):
            PartialState().destroy_process_group()
            AcceleratorState._reset_state(reset_partial_state=True)
            GradientState._reset_state()


def main() -> None:
    keep_memory()
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print(f"{__doc__}\n\n{USAGE}\n\nRECIPE is a file, or the name of one that comes with unpairaug.")
        sys.exit(0 if arguments else 2)
    run_cli(lambda: train(arguments[0], arguments[1:]))


if __name__ == "__main__":
    main()
