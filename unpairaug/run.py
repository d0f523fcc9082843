"""Train from a recipe: ``accelerate launch -m unpairaug.run RECIPE [dotted.key=value …]``."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from unpairaug import __version__
from unpairaug.errors import UserError, run_cli
from unpairaug.recipe import Recipe, differences_of_values, load_recipe

if TYPE_CHECKING:
    from unpairaug.training.checkpoint import Tensors
    from unpairaug.training.choice import Choice
    from unpairaug.training.run_folder import RunFolder
    from unpairaug.training.trainer import JointTrainer

USAGE = "usage: accelerate launch -m unpairaug.run RECIPE [dotted.key=value …]"

MUST_NOT_CHANGE = re.compile(
    r"(task|translator|real_path)\.|train\.seed$|optimizer\.\w+\.(?!(lr|lr_schedule|betas|eps|weight_decay)\b)"
)
"""Where a recipe must equal that of the checkpoint it goes on from: its networks, and what optimisers remember."""
MAY_CHANGE = ("output_dir", "train.resume", "train.choose", "data.num_workers")
"""What changes nothing of a run."""

log = logging.getLogger("unpairaug")


def train(recipe_name: str, overrides: Sequence[str] = ()) -> None:
    """Train what the recipe says and leave a run folder; the processes part then.

    Raises:
        UserError: recipe or data are wrong; nothing has been trained then.
    """
    complete(recipe_name, overrides)
    from accelerate import PartialState

    PartialState().destroy_process_group()


def complete(recipe_name: str, overrides: Sequence[str] = (), may_change: Collection[str] | None = None) -> int:
    """Take the steps that the recipe's run lacks, and return how many it has then.

    Args:
        recipe_name: a file, or the name of a recipe.
        overrides: `dotted.key=value`, on top of it.
        may_change: where the run goes on, the only keys whose values may be others than before; see `resume`.

    Raises:
        UserError: recipe or data are wrong, or the run in the folder is another.
    """
    recipe = load_recipe(recipe_name, overrides)
    # Heavy imports come after the cheap checks: a mistake in a recipe is told in a second.
    from unpairaug.data import StepBatches, loader
    from unpairaug.training.build import build_trainer, in_steps, make_accelerator, open_data
    from unpairaug.training.choice import Choice, samples
    from unpairaug.training.loop import TrainingLoop, to_device
    from unpairaug.training.measure_camera import measure_camera
    from unpairaug.training.run_folder import RunFolder

    accelerator = make_accelerator(recipe, log_with="tensorboard", project_dir=recipe.output_dir)
    processes = accelerator.num_processes
    log_to_console(accelerator.is_main_process)
    data = open_data(recipe, processes)
    recipe = in_steps(recipe, data, processes)
    trainer = build_trainer(recipe, accelerator)
    steps = trainer.schedule.steps
    with closing(RunFolder(recipe, data.identity(), active=accelerator.is_main_process)) as run:
        run.claim()
        choice = None
        if recipe.train.choose and accelerator.is_main_process:
            choice = Choice(trainer, to_device(data.shown(samples(recipe.data.crop)), accelerator), recipe.train.seed)
        start = resume(recipe, trainer, run, choice, may_change)
        if start >= steps:
            how = "train.steps=… adds some, another output_dir starts anew"
            log.info(f"{run.path} has taken all its {start} steps" + (f"; {how}" if may_change is None else ""))
            return start
        run.open(str(accelerator.device), processes, start)
        accelerator.init_trackers("tensorboard", init_kwargs={"tensorboard": {"purge_step": start + 1}})
        log.info(f"{recipe_name} → {recipe.output_dir}, {processes} × {accelerator.device}\n{data.report}")
        log.info(data.passes(recipe, processes))
        if start == 0:
            measure_camera(recipe, data, trainer, run)

        accumulation, rank = recipe.train.gradient_accumulation, accelerator.process_index
        batches = StepBatches(start, steps, recipe.data.batch_size, accumulation, rank, processes)
        run.keep_best(choice.best if choice else None)
        sides = data.shown(), data.validation
        loop = TrainingLoop(accelerator, trainer, recipe.train, run, *sides, start, data.bad, choice)
        loop.run_to_the_end(loader(data.crops, batches, recipe.data.num_workers, accelerator.device.type == "cuda"))
        log.info(f"done: {run.path / 'head'} restores, {run.path / 'translator'} degrades")
        for tracker in accelerator.trackers:
            tracker.finish()
    return steps


def resume(
    recipe: Recipe,
    trainer: JointTrainer,
    run: RunFolder,
    choice: Choice | None = None,
    may_change: Collection[str] | None = None,
) -> int:
    """Load the checkpoint that the recipe asks for, and return the step to go on from.

    Args:
        recipe: with lengths in steps.
        trainer: what the checkpoint is loaded into.
        run: the folder of the run.
        choice: what the checkpoint's best step is loaded into, where steps are chosen.
        may_change: the only keys whose values may be others than the checkpoint's, whose data and number of processes
            must be the same then; None refuses no more than another seed or other networks.

    Raises:
        UserError: the folder holds a run although none is wanted, or one that cannot be continued.
    """
    wanted = recipe.train.resume
    path = run.latest_checkpoint() if wanted in ("auto", "never") else Path(wanted)
    if path is None:
        return 0
    if wanted == "never":
        raise UserError(
            f"{run.path} holds a run already ({path.name}): train.resume=auto goes on, another output_dir starts anew"
        )
    from unpairaug.training.checkpoint import load_checkpoint

    files, state = load_checkpoint(path)
    changed = differences_of_values(_values_of(path, state["recipe"], recipe), recipe.model_dump(mode="json"))
    for key, _ in run.starts.items() & state.get("starts", {}).items():  # the same weights, wherever their file is
        changed.pop(key, None)
    allowed = MAY_CHANGE if may_change is None else may_change
    told = [f"{key}: {before!r} → {now!r}" for key, (before, now) in changed.items() if key not in allowed]
    before = state.get("data", run.data)
    told += [f"{side}: {before[side]} → {now}" for side, now in run.data.items() if before[side] != now]
    if may_change is not None and (processes := trainer.accelerator.num_processes) != state.get("processes", processes):
        told.append(f"processes: {state['processes']} → {processes}")
    if any(MUST_NOT_CHANGE.match(key) for key in changed) or (may_change is not None and told):
        raise UserError(
            f"{path} is of another run, so it cannot be continued: {'; '.join(told)}; give another output_dir"
        )
    _take_back(path, files, state, trainer, choice)
    log.info(f"goes on from {path}" + (f", with {'; '.join(told)}" if told else ""))
    return state["step"]


def _take_back(
    path: Path, files: dict[str, Tensors], state: dict[str, Any], trainer: JointTrainer, choice: Choice | None
) -> None:
    """Give trainer and choice what the checkpoint holds.

    Raises:
        UserError: it does not fit, as one of another version may not.
    """
    try:
        trainer.load_state(files, state)
        if choice is not None:
            choice.load_state(files.get("best", {}), state.get("best"))
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"{path} does not fit the networks of unpairaug {__version__}; continue with the version that saved it, or "
            f"give another output_dir: {error}"
        ) from error


def _values_of(checkpoint: Path, old: dict[str, Any], new: Recipe) -> dict[str, Any]:
    """The recipe that a checkpoint was trained with, completed with defaults of keys that came later.

    Raises:
        UserError: it has keys that there are no more.
    """
    with suppress(ValidationError):
        return Recipe.model_validate(old).model_dump(mode="json")
    # A component was built from a file that is gone, so it can only be compared as it is; or keys are.
    components = new.model_dump(mode="json", include={"task", "translator"})
    try:
        sections = Recipe.model_validate({**old, **components}).model_dump(mode="json")
        if any(_lacks_keys_of(old[name], component) for name, component in components.items()):
            raise KeyError
    except (ValidationError, KeyError) as error:
        raise UserError(
            f"{checkpoint} was left by another version of unpairaug, whose recipes had other keys; go on with that "
            f"version, or give another output_dir"
        ) from error
    return {**sections, **{name: old[name] for name in components}}


def _lacks_keys_of(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return old["type"] == new["type"] and not old.keys() <= new.keys()


def log_to_console(is_main: bool) -> None:
    """Plain lines on standard output, from one process alone; each once, however often this is called."""
    log.setLevel(logging.INFO if is_main else logging.ERROR)
    for handler in [handler for handler in log.handlers if type(handler) is logging.StreamHandler]:
        log.removeHandler(handler)
    log.addHandler(logging.StreamHandler(sys.stdout))


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print(f"{__doc__}\n\n{USAGE}\n\nRECIPE is a file, or the name of one that comes with unpairaug.")
        sys.exit(0 if arguments else 2)
    run_cli(lambda: train(arguments[0], arguments[1:]))


if __name__ == "__main__":
    main()
