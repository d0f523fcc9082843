"""The folder of a run: recipe, environment, log, metrics, samples, checkpoints, trained parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any

from filelock import FileLock, Timeout

from unpairaug import __version__
from unpairaug.data.files import OF_THE_DISK, WriteError, create_folder, name_write_errors, write_error, write_file
from unpairaug.errors import RunStopped, UserError
from unpairaug.recipe import Recipe, to_yaml
from unpairaug.recipe.translator_section import START
from unpairaug.registry import Spec, heads
from unpairaug.sharing.pretrained import part_folder
from unpairaug.sharing.tensor_file import check_finite
from unpairaug.task import Task, head_options
from unpairaug.training.checkpoint import (
    Tensors,
    flatten_files,
    list_checkpoints,
    save_checkpoint,
    take_newest_whole_checkpoint,
)
from unpairaug.training.checkpoint_selection import BestStep
from unpairaug.training.environment import describe_environment
from unpairaug.training.later_steps import remove_later_events, remove_later_metrics, remove_later_sheets
from unpairaug.training.metrics_file import BASELINE_IMAGES
from unpairaug.training.remote_run import RemoteRun
from unpairaug.training.run_log import RunLog
from unpairaug.training.summary import SUMMARY
from unpairaug.translator import Translator

LOCK_PATIENCE = 7.0
"""Seconds to wait for the lock of the folder: loader workers of a killed run may hold it until they end, within 5 s."""


class RunFolder:
    """One run's folder. Only the main process writes: on the others `active` is False, and no call does anything."""

    def __init__(
        self, recipe: Recipe, data: dict[str, str], active: bool = True, remote: RemoteRun | None = None
    ) -> None:
        """Write nothing yet.

        Args:
            recipe: what is trained; its `output_dir` is the folder.
            data: a fingerprint of the images of each side, which decide the order of the samples; saved in checkpoints.
            active: whether this process writes.
            remote: where the folder is copied, if `output_dir` is a URL; the recipe has its local folder then.
        """
        self.path, self.recipe, self.data, self.active = Path(recipe.output_dir), recipe, data, active
        self.remote = remote if active else None
        self.starts = {
            f"task.{key}.{option}": _sha256(file) for key, option, file in _initial_weight_files(recipe.task)
        }
        """SHA-256 of the files with initial weights, by the recipe keys that name them; saved in checkpoints."""
        if start := recipe.translator.get(START):
            self.starts[f"translator.{START}"] = _sha256(part_folder(start, "translator") / "model.safetensors")
        self.checkpoints = self.path / "checkpoints"
        self.lock = FileLock(self.path / ".lock")
        self.processes, self.validation = 1, {}
        self.baseline_images: list[float] = []
        """`psnr_rgb` of the baseline for each validation image, on the main process."""
        self.log = RunLog(self.path / "log.txt")

    def lock_folder(self) -> None:
        """Lock the folder against other runs until `close`, or until this process ends.

        Raises:
            UserError: another run holds the lock.
            WriteError: the folder cannot be created or locked, for example on a full disk.
        """
        if not self.active:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock.acquire(timeout=LOCK_PATIENCE)
        except Timeout as error:
            raise UserError(
                f"another run is writing to {self.path}: wait until it ends, or give another output_dir"
            ) from error
        except OSError as error:
            raise write_error(self.path, error, "output_dir") from error
        self.log.start()

    def open(self, device: str, processes: int, step: int, log_length: int | None = None) -> None:
        """Write recipe and environment, remove what was logged after a step, and open the log.

        Args:
            device: the device of the run.
            processes: the number of processes.
            step: steps taken; with 0, nothing that was logged stays.
            log_length: bytes of the log at that step; None leaves the log as it is.
        """
        if not self.active:
            return
        self.processes = processes
        create_folder(self.path / "samples")
        self._copy_initial_weights()
        output = self.remote.url if self.remote else self.recipe.output_dir
        shown = self.recipe.model_copy(update={"output_dir": output})
        write_file(self.path / "recipe.yaml", to_yaml(shown).encode())
        environment = describe_environment(device, processes)
        write_file(self.path / "environment.json", (json.dumps(environment, indent=2) + "\n").encode())
        (self.path / SUMMARY).unlink(missing_ok=True)  # it is of a complete run
        self._remove_later_steps(step)
        self.log.open(0 if step == 0 else log_length)

    def close(self) -> None:
        """Unlock the folder and close its log; copy the folder to its URL."""
        try:
            self.log.close()
            if self.remote and self.path.exists():
                self.remote.push()
        finally:
            self.lock.release()

    @contextmanager
    def stop_on_write_error(self) -> Iterator[None]:
        """End the run where a file of it cannot be written, with one message that also says what is kept.

        Raises:
            RunStopped: for example on a full disk; the newest checkpoint is complete.
        """
        try:
            yield
        except (WriteError, OSError) as error:
            if isinstance(error, OSError):
                if error.errno not in OF_THE_DISK:
                    raise
                error = write_error(Path(error.filename or self.path), error)
            kept = next(reversed(list_checkpoints(self.checkpoints)), None)
            state = (
                f"{kept} is complete, and the same command resumes from it" if kept else "no checkpoint is saved yet"
            )
            raise RunStopped(f"{error}; {state}") from error

    def log_metrics(self, step: int, split: str, values: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        if split == "val":
            self.validation = {"step": step, **values}
        if self.active:
            path = self.path / "metrics.jsonl"
            with name_write_errors(path), path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "split": split, **values}) + "\n")

    def log_baseline_images(self, psnr: list[float]) -> None:
        """Note the baseline's `psnr_rgb` of each validation image, beside which later steps are measured."""
        self.baseline_images = psnr
        self.log_metrics(0, BASELINE_IMAGES, {"psnr_rgb": psnr})

    def image_counts(self) -> dict[str, int]:
        """The number of training images of each side."""
        return {side: int(text.split()[0]) for side, text in self.data.items()}

    def save(
        self, step: int, files: dict[str, Tensors], state: dict[str, Any], translator: Translator, task: Task
    ) -> None:
        """Write `translator/` and `head/`, and a checkpoint with its recipe; remove the oldest checkpoints.

        Raises:
            WriteError: the files cannot be written, for example on a full disk; earlier checkpoints are complete.
            NonFiniteError: a tensor holds NaN or infinity; nothing is written.
        """
        if not self.active:
            return
        translator.trained = task.trained = self.training_notes(step, task.scale)
        identity = {"recipe": self.recipe.model_dump(mode="json"), "data": self.data, "starts": self.starts}
        state = {**state, **identity, "processes": self.processes, "unpairaug": __version__}
        state["log_length"] = self.log.length()
        check_finite(flatten_files(files), f"the checkpoint of step {step}")
        for part, folder in ((translator, self.path / "translator"), (task, self.path / "head")):
            with name_write_errors(folder, "folder"):
                part.save_pretrained(folder)
        with name_write_errors(self.checkpoints / f"step_{step}", "checkpoint"):
            save_checkpoint(self.checkpoints, step, files, state, self.recipe.train.keep_checkpoints)
        if self.remote:
            self.remote.push()

    def save_best(self, best: BestStep | None) -> None:
        """Write `best/` with `translator/`, `head/` and `selection.json`; remove it if there is no best step yet.

        Raises:
            WriteError: the files cannot be written, for example on a full disk.
        """
        if not self.active:
            return
        folder, partial = self.path / "best", self.path / "best.partial"
        with name_write_errors(folder, "folder"):
            for old in (partial, *([folder] if best is None else [])):
                if old.exists():
                    shutil.rmtree(old)
            if best is None:
                return
            best.translator.trained = best.task.trained = best.notes
            best.translator.save_pretrained(partial / "translator")
            best.task.save_pretrained(partial / "head")
            (partial / "selection.json").write_text(json.dumps(best.values, indent=2) + "\n", encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)

    def training_notes(self, step: int, scale: int) -> Spec:
        """The training as the model cards state it; sources without the folders of this machine."""
        task, translator, data, train = self.recipe.task, self.recipe.translator, self.recipe.data, self.recipe.train
        sides = {side: getattr(data, side) for side in ("clean", "degraded", "val_clean", "val_degraded")}
        heads = [task[key]["type"] for key in head_options(task)]
        return {
            "unpairaug": __version__,
            "steps": step,
            "seed": train.seed,
            "batch_size": data.batch_size * train.gradient_accumulation * self.processes,
            "crop": data.crop,
            "feed": self.recipe.bridge.feed,
            "task": task["type"],
            "scale": scale,
            "head": ", ".join(heads),
            "translator": translator.get("type"),
            "data": {side: _source_names(source) for side, source in sides.items() if source},
            "metrics": self.validation,
        }

    def take_newest_checkpoint(self) -> Path | None:
        """The newest whole checkpoint; None if there is none. Damaged newer ones are renamed, and named in the log.

        Raises:
            UserError: all of them are damaged.
        """
        return take_newest_whole_checkpoint(self.checkpoints, rename=self.active)

    def _copy_initial_weights(self) -> None:
        """Copy initial weights into the folder and let the recipe name the copies: the run depends on no other file."""
        task = dict(self.recipe.task)
        for key, option, file in _initial_weight_files(task):
            copy = self.path / f"{key}_start{file.suffix}"
            _copy(file, copy)
            task[key] = {**task[key], option: str(copy)}
        translator = dict(self.recipe.translator)
        if start := translator.get(START):
            copied, held = self.path / "translator_start", part_folder(start, "translator")
            copied.mkdir(exist_ok=True)
            for name in ("model.safetensors", "config.json"):
                _copy(held / name, copied / name)
            translator[START] = str(copied)
        self.recipe = self.recipe.model_copy(update={"task": task, "translator": translator})

    def _remove_later_steps(self, step: int) -> None:
        """Remove what was logged after a step; rename later checkpoints to `left_…`."""
        for later in list_checkpoints(self.checkpoints, after=step):
            renamed = later.with_name(f"left_{later.name}")
            shutil.rmtree(renamed, ignore_errors=True)
            later.rename(renamed)
        remove_later_events(self.path / "tensorboard", step)
        remove_later_sheets(self.path / "samples", step)
        lines = remove_later_metrics(self.path / "metrics.jsonl", step)
        by_split = {(values := json.loads(line)).pop("split"): values for line in lines}
        self.validation = by_split.get("val", {})
        self.baseline_images = by_split.get(BASELINE_IMAGES, {}).get("psnr_rgb", [])


def _initial_weight_files(task: Spec) -> list[tuple[str, str, Path]]:
    """The task's option, the head's option in it and the file, for each head with initial weights in a file."""
    found = [(key, getattr(heads.get(task[key]["type"]), "starts_from", None)) for key in head_options(task)]
    return [(key, option, Path(task[key][option])) for key, option in found if option and task[key][option]]


def _source_names(source: str | dict[str, float]) -> dict[str, float]:
    """Each source's weight by the last name of its folder, or of its address."""
    named: dict[str, float] = {}
    for text, weight in (source if isinstance(source, dict) else {source: 1.0}).items():
        path = PurePath(text.partition("?")[0])  # the query of an address may be private
        name = path.parent.name if path.suffix == ".tar" and "://" not in text else path.name
        named[name] = named.get(name, 0) + weight
    return named


def _copy(file: Path, copy: Path) -> None:
    """Copy the file atomically."""
    if not (copy.exists() and copy.samefile(file)):
        write_file(copy, file.read_bytes())


def _sha256(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()
