"""Resume a run from a checkpoint, after a check that it is a checkpoint of the same run."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from unpairaug import __version__
from unpairaug.errors import UserError
from unpairaug.recipe import Recipe, differences_of_values
from unpairaug.registry.trust import find_code_names, names_from
from unpairaug.training.checkpoint import Tensors, list_checkpoints, load_checkpoint
from unpairaug.training.checkpoint_selection import CheckpointSelection
from unpairaug.training.data_order import describe_other_readers
from unpairaug.training.run_folder import RunFolder
from unpairaug.training.trainer import JointTrainer
from unpairaug.training.training_data import samples_per_step

MUST_NOT_CHANGE = re.compile(
    r"(task|translator|real_path)\.|train\.seed$|optimizer\.\w+\.(?!(lr|lr_schedule|betas|eps|weight_decay)\b)"
)
"""Keys whose values must equal those of the checkpoint: networks, seed, and what optimisers keep state of."""
MAY_CHANGE = ("output_dir", "train.resume", "train.select_checkpoint", "train.trackers", "data.num_workers")
"""Keys that change nothing that a run computes."""


@dataclass(frozen=True)
class Resumed:
    """Where a run stands when it starts."""

    step: int = 0
    """Steps taken."""
    loop: dict[str, Any] | None = None
    """What `TrainingLoop.state_dict` returned at that step; None at step 0, and for checkpoints that lack it."""
    log_length: int | None = None
    """Bytes of the log at that step; None where the checkpoint is not of this folder."""
    messages: tuple[str, ...] = ()
    """Lines for the log."""
    changes: tuple[str, ...] = ()
    """What differs from the checkpoint's recipe and data, a phrase for each."""


def resume(
    recipe: Recipe,
    trainer: JointTrainer,
    run: RunFolder,
    selection: CheckpointSelection | None = None,
    may_change: Collection[str] | None = None,
) -> Resumed:
    """Load the checkpoint that the recipe asks for.

    Args:
        recipe: with lengths in steps.
        trainer: what the checkpoint is loaded into.
        run: the folder of the run.
        selection: what the checkpoint's best step is loaded into, where steps are scored.
        may_change: the only keys whose values may differ from the checkpoint's; data and number of processes must be
            the same then. None refuses only what would make it another run: another seed or other networks.

    Returns:
        Where the run stands: at step 0 where there is no checkpoint.

    Raises:
        UserError: the folder holds a run although `train.resume` is `never`, its checkpoints are all damaged, or the
            newest whole one is of another run.
    """
    wanted = recipe.train.resume
    if wanted == "never" and (found := list_checkpoints(run.checkpoints)):
        raise UserError(
            f"{run.path} holds a run already ({found[-1].name}), and train.resume is never; give train.resume=auto to "
            f"resume it, or another output_dir"
        )
    path = run.take_newest_checkpoint() if wanted in ("auto", "never") else Path(wanted)
    if path is None:
        return Resumed()
    files, state = load_checkpoint(path)
    processes = trainer.accelerator.num_processes
    changes = _validate_same_run(path, state, recipe, run, processes, may_change)
    _load_checkpoint_state(path, files, state, trainer, selection)
    messages = [f"resumed from {path}" + (f", with {'; '.join(changes)}" if changes else "")]
    messages += _warnings_of_another_batch(state, recipe, processes)
    messages += describe_other_readers(state["recipe"]["data"], state.get("processes") or processes, recipe, processes)
    is_own = path.resolve().parent == run.checkpoints.resolve()
    length = state.get("log_length") if is_own else None
    return Resumed(state["step"], state.get("loop"), length, tuple(messages), tuple(changes))


def _validate_same_run(
    path: Path,
    state: dict[str, Any],
    recipe: Recipe,
    run: RunFolder,
    processes: int,
    may_change: Collection[str] | None,
) -> list[str]:
    """What has changed since the checkpoint, a phrase for each change.

    Raises:
        UserError: too much has: see `resume`.
    """
    changed = differences_of_values(_recipe_of_checkpoint(path, state, recipe), recipe.model_dump(mode="json"))
    for key, _ in run.starts.items() & state.get("starts", {}).items():  # the same weights in another place
        changed.pop(key, None)
    if changed.get("data.order", ("", ""))[0] == "auto":  # not recorded by earlier versions, which had one order
        del changed["data.order"]
    allowed = MAY_CHANGE if may_change is None else may_change
    changes = [f"{key}: {old!r} → {new!r}" for key, (old, new) in changed.items() if key not in allowed]
    data = state.get("data", run.data)
    changes += [f"{side}: {data[side]} → {new}" for side, new in run.data.items() if data[side] != new]
    if processes != state.get("processes", processes):
        changes.append(f"processes: {state['processes']} → {processes}")
    if any(MUST_NOT_CHANGE.match(key) for key in changed) or (may_change is not None and changes):
        raise UserError(
            f"{path} is of another run and cannot be resumed: {'; '.join(changes)}; give another output_dir"
        )
    return changes


def _warnings_of_another_batch(state: dict[str, Any], recipe: Recipe, processes: int) -> list[str]:
    """A warning where another number of processes has changed the number of samples in a step."""
    old, before = state["recipe"], state.get("processes", processes)
    samples = old["data"]["batch_size"] * old["train"]["gradient_accumulation"] * before
    now = samples_per_step(recipe, processes)
    if processes == before or now == samples:
        return []
    each = samples / (processes * recipe.train.gradient_accumulation)
    hint = f"data.batch_size={each:.0f} keeps {samples}" if each.is_integer() else f"{samples} cannot be shared evenly"
    return [
        f"warning: a step has {now} samples of each side instead of {samples}, because there "
        f"{'is 1 process' if processes == 1 else f'are {processes} processes'} instead of {before}; {hint}"
    ]


def _load_checkpoint_state(
    path: Path,
    files: dict[str, Tensors],
    state: dict[str, Any],
    trainer: JointTrainer,
    selection: CheckpointSelection | None,
) -> None:
    """Load what the checkpoint holds into trainer and selection.

    Raises:
        UserError: its tensors do not fit, as those of another version may not.
    """
    try:
        trainer.load_state(files, state)
        if selection is not None:
            selection.load_state(files.get("best", {}), state.get("best"))
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"{path} was saved by unpairaug {_version(state)} and does not fit the networks of unpairaug "
            f"{__version__}; resume with the version that saved it, or give another output_dir: {error}"
        ) from error


def _recipe_of_checkpoint(checkpoint: Path, state: dict[str, Any], new: Recipe) -> dict[str, Any]:
    """The recipe that a checkpoint was trained with, completed with the defaults of keys that were added later.

    Raises:
        UserError: it has keys that no longer exist.
    """
    old = state["recipe"]
    with suppress(ValidationError), names_from(str(checkpoint), trusted=find_code_names(new.model_dump())):
        return Recipe.model_validate(old).model_dump(mode="json")
    # A component whose initial weights are in a file cannot be validated without it: its values are compared as is.
    components = new.model_dump(mode="json", include={"task", "translator"})
    try:
        sections = Recipe.model_validate({**old, **components}).model_dump(mode="json")
        if any(_lacks_keys_of(old[name], component) for name, component in components.items()):
            raise KeyError
    except (ValidationError, KeyError) as error:
        raise UserError(
            f"{checkpoint} was saved by another version of unpairaug ({_version(state)}, this is {__version__}), whose "
            f"recipes have other keys; resume with that version, or give another output_dir"
        ) from error
    return {**sections, **{name: old[name] for name in components}}


def _version(state: dict[str, Any]) -> str:
    return state.get("unpairaug", "of an unknown version")


def _lacks_keys_of(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return old["type"] == new["type"] and not old.keys() <= new.keys()
