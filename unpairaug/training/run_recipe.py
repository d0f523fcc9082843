"""A whole run: build the parts, resume from the latest checkpoint, train to the last step."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import closing

from accelerate import Accelerator

from unpairaug.data.storage import is_url
from unpairaug.recipe import Recipe
from unpairaug.terminal.console import log_to_console
from unpairaug.training.build import build_trainer, make_accelerator
from unpairaug.training.checkpoint_selection import CheckpointSelection, sample_count
from unpairaug.training.data_order import resolve_order
from unpairaug.training.events import show_write_errors_once
from unpairaug.training.loop import TrainingLoop
from unpairaug.training.measure_camera import format_camera, measure_camera
from unpairaug.training.remote_run import RemoteRun
from unpairaug.training.resume import Resumed, resume
from unpairaug.training.run_folder import RunFolder
from unpairaug.training.step_reader import StepReader, to_device
from unpairaug.training.stopping import StopRequests, explain_lost_processes
from unpairaug.training.summary import SUMMARY, write_summary
from unpairaug.training.summary_text import format_summary, format_warning
from unpairaug.training.trackers import check_installed, start_trackers
from unpairaug.training.trainer import JointTrainer
from unpairaug.training.training_data import TrainingData, open_data, resolve_lengths

log = logging.getLogger("unpairaug")


def run_recipe(recipe: Recipe, name: str, may_change: Collection[str] | None = None) -> int:
    """Take the steps that the recipe's run lacks. Collective: every process must call it.

    Args:
        recipe: what is trained; its `output_dir` may hold a part of the run already.
        name: what the log calls the recipe.
        may_change: where the run is resumed, the only keys whose values may differ from before; see `resume`.

    Returns:
        The number of steps that the run has then.

    Raises:
        UserError: the data are wrong, or the folder holds another run.
        RunStopped: the run ended before its last step.
    """
    check_installed(recipe.train.trackers)
    accelerator = make_accelerator(recipe, project_dir=recipe.output_dir)
    log_to_console(accelerator.is_main_process)
    remote = None
    if is_url(url := recipe.output_dir):
        remote = RemoteRun(url)
        recipe = recipe.model_copy(update={"output_dir": str(remote.folder)})
        if accelerator.is_local_main_process:
            remote.pull()
        accelerator.wait_for_everyone()
    stop = StopRequests(accelerator)
    with stop.handlers(), explain_lost_processes(accelerator.num_processes):
        return _run(recipe, name, accelerator, stop, may_change, remote)


def _run(
    recipe: Recipe,
    name: str,
    accelerator: Accelerator,
    stop: StopRequests,
    may_change: Collection[str] | None,
    remote: RemoteRun | None,
) -> int:
    """Build the parts, resume, and train; the number of steps that the run has then."""
    log.info("checking the images of the recipe")
    data = open_data(recipe, accelerator.num_processes)
    recipe = resolve_lengths(recipe, data, accelerator.num_processes)
    recipe, order = resolve_order(recipe, data, accelerator.num_processes)
    trainer = build_trainer(recipe, accelerator)
    with closing(RunFolder(recipe, data.identity(), active=accelerator.is_main_process, remote=remote)) as run:
        run.lock_folder()
        with run.stop_on_write_error(), show_write_errors_once():
            return _train(recipe, name, order, trainer, data, run, stop, may_change)


def _train(
    recipe: Recipe,
    name: str,
    order: str,
    trainer: JointTrainer,
    data: TrainingData,
    run: RunFolder,
    stop: StopRequests,
    may_change: Collection[str] | None,
) -> int:
    """Resume in the run's locked folder, and take the steps that are left; returns how many the run has then."""
    accelerator, steps = trainer.accelerator, trainer.schedule.steps
    selection = _make_selection(recipe, trainer, data)
    start = resume(recipe, trainer, run, selection, may_change)
    if start.step >= steps:
        _log_nothing_to_do(run, recipe, start, is_alone=may_change is None)
        return start.step
    _open_folder(recipe, name, run, accelerator, data, start)
    log.info(order)
    if phases := trainer.schedule.describe_phases():
        log.info(phases)
    if start.step == 0 and (found := measure_camera(recipe, data, trainer)):
        run.log_metrics(0, "camera", found)
        log.info(format_camera(found))
    run.save_best(selection.best if selection else None)
    sides = data.first_samples(), data.validation
    reader = StepReader(data.samples(recipe.bridge.pairs), recipe, accelerator)
    loop = TrainingLoop(accelerator, trainer, recipe.train, run, *sides, reader, start.step, data.bad, selection, stop)
    if start.loop is not None:
        loop.load_state_dict(start.loop)
    loop.run_steps()
    log.info(f"completed {steps} of {steps} steps")
    _log_summary(run, recipe)
    for tracker in accelerator.trackers:
        tracker.finish()
    return steps


def _make_selection(recipe: Recipe, trainer: JointTrainer, data: TrainingData) -> CheckpointSelection | None:
    """What scores the steps of the run, on the main process alone; None where the recipe wants none."""
    accelerator = trainer.accelerator
    if not (recipe.train.select_checkpoint and accelerator.is_main_process):
        return None
    samples = to_device(data.first_samples(sample_count(recipe.data.crop)), accelerator)
    return CheckpointSelection(trainer, samples, recipe.train.seed)


def _open_folder(
    recipe: Recipe, name: str, run: RunFolder, accelerator: Accelerator, data: TrainingData, start: Resumed
) -> None:
    """Prepare the folder and the event files for the next steps, and log what is trained on."""
    processes = accelerator.num_processes
    run.open(str(accelerator.device), processes, start.step, start.log_length)
    start_trackers(accelerator, recipe)
    for message in start.messages:
        log.info(message)
    log.info(f"{name} → {recipe.output_dir}, {processes} × {accelerator.device}\n{data.report}")
    log.info(data.epochs(recipe, processes))


def _log_nothing_to_do(run: RunFolder, recipe: Recipe, start: Resumed, is_alone: bool) -> None:
    hint = "; train.steps=… adds steps, another output_dir starts a new run" if is_alone else ""
    log.info(f"completed {start.step} of {start.step} steps already, in {run.path}{hint}")
    if start.changes:
        log.warning(f"warning: not applied, as no step is left: {'; '.join(start.changes)}")
    if is_alone:
        _log_summary(run, recipe)


def _log_summary(run: RunFolder, recipe: Recipe) -> None:
    """Write `summary.json`, and log the summary and its warning; a repetition only shows them."""
    if not run.active:
        return
    is_repeated = (run.path / SUMMARY).exists()
    summary = write_summary(run.path, recipe, run.image_counts())
    log.info(format_summary(summary, run.path), extra={"is_result": True, "is_repeated": is_repeated})
    if warning := format_warning(summary):
        log.warning(warning, extra={"is_repeated": is_repeated})
