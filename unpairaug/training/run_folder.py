"""What a run leaves on disk: recipe, environment, log, metrics, samples, checkpoints, trained parts."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import sys
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from math import inf
from pathlib import Path, PurePath
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from unpairaug import __version__
from unpairaug.errors import RunStopped, UserError
from unpairaug.recipe import Recipe, to_yaml
from unpairaug.recipe.translator_section import START
from unpairaug.registry import Spec, heads
from unpairaug.sharing.pretrained import part_folder
from unpairaug.task import Task, head_options
from unpairaug.training.checkpoint import Tensors, list_checkpoints, save_checkpoint
from unpairaug.training.choice import Best
from unpairaug.translator import Translator

log = logging.getLogger("unpairaug")

PACKAGES = ["torch", "accelerate", "albumentations", "numpy", "pillow", "scikit-image", "safetensors", "spandrel"]


class RunFolder:
    """One run's folder. Only the main process writes; `active` is False on the others, whose calls do nothing."""

    def __init__(self, recipe: Recipe, data: dict[str, str], active: bool = True) -> None:
        """Nothing is written yet.

        Args:
            recipe: what is trained, and where it goes.
            data: what the order of the samples follows from beside the recipe; kept in checkpoints.
            active: whether this process writes.
        """
        self.path, self.recipe, self.data, self.active = Path(recipe.output_dir), recipe, data, active
        self.starts = {f"task.{key}.{option}": _digest(file) for key, option, file in _starts(recipe.task)}
        """Digests of the files that networks start from, by the keys that name them; kept in checkpoints, too."""
        if start := recipe.translator.get(START):
            self.starts[f"translator.{START}"] = _digest(part_folder(start, "translator") / "model.safetensors")
        self.checkpoints = self.path / "checkpoints"
        self.lock = FileLock(self.path / ".lock")
        self.processes, self.validation = 1, {}
        self.log_file: logging.Handler | None = None

    def claim(self) -> None:
        """Keep other runs out of the folder until `close`, or for as long as this process lives.

        Raises:
            UserError: another run writes there, or the folder cannot be made.
        """
        if not self.active:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"another run is writing to {self.path}: wait for it, or give another output_dir"
            ) from error
        except OSError as error:
            raise UserError(f"output_dir {self.path} cannot be written: {error}; give another output_dir") from error
        # From here on, so that it says where a run goes on from; made with its first line: a refused run makes none.
        self.log_file = logging.FileHandler(self.path / "log.txt", encoding="utf-8", delay=True)
        self.log_file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        log.addHandler(self.log_file)

    def open(self, device: str, processes: int, resumed_at: int) -> None:
        """Write recipe and environment; what a resumed run leaves behind is forgotten or put aside."""
        if not self.active:
            return
        self.processes = processes
        (self.path / "samples").mkdir(exist_ok=True)
        self._keep_starts()
        (self.path / "recipe.yaml").write_text(to_yaml(self.recipe), encoding="utf-8")
        environment = {
            "command": " ".join(sys.argv),
            "python": platform.python_version(),
            "system": platform.platform(),
            "cpu_cores": os.cpu_count(),
            "device": device,
            "processes": processes,
            "packages": {name: _version(name) for name in ["unpairaug", *PACKAGES]},
        }
        (self.path / "environment.json").write_text(json.dumps(environment, indent=2) + "\n", encoding="utf-8")
        self._forget_what_came_after(resumed_at)

    def close(self) -> None:
        """Let other runs in, and log no further lines here."""
        if self.log_file is not None:
            log.removeHandler(self.log_file)
            self.log_file.close()
        self.lock.release()

    def metrics(self, step: int, split: str, values: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        if split == "val":
            self.validation = {"step": step, **values}
        if self.active:
            with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "split": split, **values}) + "\n")

    def save(
        self, step: int, files: dict[str, Tensors], state: dict[str, Any], translator: Translator, task: Task
    ) -> None:
        """Write `translator/` and `head/`, loadable by `from_pretrained`, and a checkpoint that knows its recipe.

        The oldest checkpoints go (see `train.keep_checkpoints`).

        Raises:
            RunStopped: it cannot be written, as on a full disk; the earlier ones are whole.
        """
        if not self.active:
            return
        translator.trained = task.trained = self.notes(step, task.scale)
        told = {"recipe": self.recipe.model_dump(mode="json"), "data": self.data, "starts": self.starts}
        state = {**state, **told, "processes": self.processes}
        try:
            translator.save_pretrained(self.path / "translator")
            task.save_pretrained(self.path / "head")
            save_checkpoint(self.checkpoints, step, files, state, self.recipe.train.keep_checkpoints)
        except (OSError, SafetensorError) as error:
            kept = self.latest_checkpoint()
            raise RunStopped(
                f"the checkpoint of step {step} cannot be written: {error}. "
                + (f"{kept} is whole: make room and give the same command again" if kept else "No earlier one is there")
            ) from error

    def keep_best(self, best: Best | None) -> None:
        """Write `best/`: its own `translator/` and `head/`, and `choice.json`; or none, if no step was chosen yet.

        Raises:
            RunStopped: it cannot be written, as on a full disk.
        """
        if not self.active:
            return
        folder, partial = self.path / "best", self.path / "best.partial"
        try:
            for left in (partial, *([folder] if best is None else [])):
                if left.exists():
                    shutil.rmtree(left)
            if best is None:
                return
            best.translator.trained = best.task.trained = best.notes
            best.translator.save_pretrained(partial / "translator")
            best.task.save_pretrained(partial / "head")
            (partial / "choice.json").write_text(json.dumps(best.values, indent=2) + "\n", encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
        except (OSError, SafetensorError) as error:
            raise RunStopped(
                f"{folder} cannot be written: {error}. Make room and give the same command again"
            ) from error

    def notes(self, step: int, scale: int) -> Spec:
        """What the parts' model cards say of their training; sources without the folders of this machine."""
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
            "data": {side: _names(source) for side, source in sides.items() if source},
            "metrics": self.validation,
        }

    def latest_checkpoint(self) -> Path | None:
        return next(reversed(list_checkpoints(self.checkpoints)), None)

    def _keep_starts(self) -> None:
        """Copy what heads start from into the folder and let the recipe name the copies: a run depends on no other."""
        task = dict(self.recipe.task)
        for key, option, file in _starts(task):
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

    def _forget_what_came_after(self, step: int) -> None:
        """Drop metrics of steps that will be taken again; give later checkpoints another name, out of the way."""
        for later in list_checkpoints(self.checkpoints, after=step):
            aside = later.with_name(f"left_{later.name}")
            shutil.rmtree(aside, ignore_errors=True)
            later.rename(aside)
        path = self.path / "metrics.jsonl"
        if path.exists():
            lines = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
            measured = [values for line in lines if (values := json.loads(line)).pop("split") == "val"]
            self.validation = measured[-1] if measured else {}
            partial = path.with_suffix(".partial")
            partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            partial.replace(path)


def _starts(task: Spec) -> list[tuple[str, str, Path]]:
    """The task's option, the head's option in it and the file, for each head that starts from a file."""
    found = [(key, getattr(heads.get(task[key]["type"]), "starts_from", None)) for key in head_options(task)]
    return [(key, option, Path(task[key][option])) for key, option in found if option and task[key][option]]


def _names(source: str | dict[str, float]) -> dict[str, float]:
    """Each source's weight by the last name of its folder, or of its address."""
    named: dict[str, float] = {}
    for text, weight in (source if isinstance(source, dict) else {source: 1.0}).items():
        path = PurePath(text.partition("?")[0])  # what an address asks may be nobody else's business
        name = path.parent.name if path.suffix == ".tar" and "://" not in text else path.name
        named[name] = named.get(name, 0) + weight
    return named


def _copy(file: Path, copy: Path) -> None:
    """Copy the file, whole or not at all."""
    if not (copy.exists() and copy.samefile(file)):
        partial = copy.with_name(f"{copy.name}.partial")
        shutil.copyfile(file, partial)
        partial.replace(copy)


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def _step_of(line: str) -> float:
    """The step of a line of metrics; a line that a kill or a full disk cut short belongs to none."""
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:
        return inf


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
