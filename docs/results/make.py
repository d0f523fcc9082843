"""Render the pages of docs/results from the records of the runs in runs.yaml; options train and record runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError

from figures import Figures
from unpairaug.errors import UserError, run_cli
from unpairaug.recipe import Recipe, differences_of_values, load_recipe
from unpairaug.recipe.yaml_file import parse
from unpairaug.registry.suggestions import suggest
from unpairaug.report.record import Record, read_record
from unpairaug.training.resume import MAY_CHANGE
from unpairaug.training.run_recipe import run_recipe

HERE = Path(__file__).resolve().parent
Plan = dict[str, Any]
"""Content of runs.yaml."""
Records = dict[str, dict[str, Any]]
"""Recipe, versions and metrics of each run by SET/SYSTEM_SEED."""


@dataclass(frozen=True)
class Run:
    """A training run with figures on the page."""

    set: str
    system: str
    seed: int
    recipe: str
    overrides: list[str]

    @property
    def name(self) -> str:
        return f"{self.set}/{self.system}_{self.seed}"


def read_plan(folder: Path) -> Plan:
    return yaml.safe_load((folder / "runs.yaml").read_text(encoding="utf-8"))


def list_runs(plan: Plan) -> dict[str, Run]:
    """List the runs of the plan by name, in its order of sets and systems.

    Raises:
        UserError: a run names an unknown set or system.
    """
    listed = [triple for entry in plan["runs"] for triple in product(entry["sets"], entry["systems"], entry["seeds"])]
    for kind, at in (("sets", 0), ("systems", 1)):
        for name in (triple[at] for triple in listed if triple[at] not in plan[kind]):
            raise UserError(f"runs.yaml: {name!r} is none of its {kind}; {suggest(name, plan[kind])}")
    sets, systems = list(plan["sets"]), list(plan["systems"])
    ordered = sorted(set(listed), key=lambda one: (sets.index(one[0]), systems.index(one[1]), one[2]))
    return {run.name: run for run in (_run(plan, *one) for one in ordered)}


def _run(plan: Plan, set_: str, system: str, seed: int) -> Run:
    """The run with all its overrides; a later override replaces an earlier one with the same key."""
    options = plan["systems"][system]
    overrides = [*plan["common"], *plan["sets"][set_], *options.get("overrides", ()), f"train.seed={seed}"]
    by_key = {override.partition("=")[0]: override for override in overrides}
    recipe = plan.get("recipes", {}).get(set_, options.get("recipe", system))
    return Run(set_, system, seed, recipe, list(by_key.values()))


def read_finished(folder: Path) -> Record | None:
    """Read the run in the folder; None if there is none or it is not complete."""
    found = read_record(folder) if folder.is_dir() else None
    return found if found and found.is_done else None


def train(runs: Iterable[Run], folder: Path, data_root: Path) -> None:
    """Train all incomplete runs, each in folder/SET/SYSTEM_SEED."""
    os.chdir(data_root)  # the plan's folders of images are relative to it
    for run in runs:
        if read_finished(folder / run.name) is None:
            place = json.dumps(str(folder / run.name), ensure_ascii=False)  # as YAML would quote it
            run_recipe(load_recipe(run.recipe, [*run.overrides, f"output_dir={place}"]), run.recipe, MAY_CHANGE)


def record(run: Run, found: Record, data_root: Path) -> dict[str, Any]:
    """Collect the recipe, versions and metrics of a finished run, without any path of the machine.

    Raises:
        UserError: the folder holds another run than the one that runs.yaml lists, or it was never validated.
    """
    resolved = _read_recipe(found, data_root)
    if changed := _compare_recipe(run.recipe, run.overrides, resolved):
        raise UserError(
            f"{found.folder} is not what runs.yaml lists as {run.name}: {'; '.join(changed)}; give the --data-root it "
            f"was trained with, train it anew in another folder, or mend runs.yaml"
        )
    steps, val = resolved["train"]["steps"], _values_by_step(found, "val")
    if steps not in val or not (
        bicubic := _values_by_step(found, "val_bicubic") or _values_by_step(found, "val_input")
    ):
        raise UserError(f"{found.folder} lacks the validation of step {steps}; remove it, and train it anew")
    packages = found.environment["packages"]
    return {
        "recipe": run.recipe,
        "overrides": run.overrides,
        "resolved": resolved,
        "seed": resolved["train"]["seed"],
        "steps": steps,
        "versions": {"python": found.environment["python"], **{k: packages[k] for k in ("unpairaug", "torch")}},
        "seconds": found.seconds,
        "bicubic": bicubic[0],
        "metrics": val[steps],
        "guards": _values_by_step(found, "guards").get(steps, {}),
        "psnr_rgb": {step: values["psnr_rgb"] for step, values in val.items()},
        "selection": {step: values["score"] for step, values in _values_by_step(found, "selection").items()},
    }


def _read_recipe(found: Record, data_root: Path) -> dict[str, Any]:
    """The resolved recipe of the run, without its output folder and with paths relative to data_root."""
    text = (found.recipe_text or "").replace(f"{data_root}{os.sep}", "")
    values = parse(text, f"{found.folder}/recipe.yaml").values
    return {key: value for key, value in values.items() if key != "output_dir"}


def _compare_recipe(recipe_name: str, overrides: list[str], resolved: dict[str, Any]) -> list[str]:
    """Differences between a run's recipe, with defaults of newer keys, and its command's recipe today, key by key."""
    today = load_recipe(recipe_name, overrides).resolve(steps_per_epoch=1)  # no length here is in epochs
    try:
        was = Recipe.model_validate({**resolved, "output_dir": today.output_dir}).model_dump(mode="json")
    except ValidationError:  # it has keys or values that no longer exist; compare it as it is
        was = resolved
    pairs = differences_of_values(was, today.model_dump(mode="json"))
    if pairs.get("data.order", ("", ""))[1] == "auto":  # the run recorded what it stood for
        del pairs["data.order"]
    return [f"{key}: {before!r} → {now!r}" for key, (before, now) in pairs.items() if key not in MAY_CHANGE]


def _values_by_step(found: Record, split: str) -> dict[int, dict[str, float]]:
    return {line.step: {k: round(v, 6) for k, v in line.values.items()} for line in found.of(split)}


def read_records(plan: Plan, folder: Path) -> Records:
    """Read the records of all sets that have any."""
    files = {name: folder / f"{name}.json" for name in plan["sets"]}
    return {
        f"{name}/{run}": values
        for name, file in files.items()
        if file.exists()
        for run, values in json.loads(file.read_text(encoding="utf-8")).items()
    }


def write_records(plan: Plan, records: Records, folder: Path) -> None:
    """Write one file per set, with the records of the runs that the plan lists."""
    for name in plan["sets"]:
        kept = {
            f"{r.system}_{r.seed}": records[n] for n, r in list_runs(plan).items() if r.set == name and n in records
        }
        if kept:
            (folder / f"{name}.json").write_text(_format_json(kept) + "\n", encoding="utf-8")


def _format_json(value: Any, depth: int = 3, indent: str = "") -> str:
    """Format as JSON with one line per value of the outer `depth` mappings, for readable diffs."""
    if depth == 0 or not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False)
    lines = (
        f"{indent} {json.dumps(str(key))}: {_format_json(inner, depth - 1, indent + ' ')}"
        for key, inner in value.items()
    )
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def find_changed_recipes(records: Records) -> dict[str, list[str]]:
    """Runs whose command gives another recipe today, with the differences."""
    found = {name: _compare_recipe(one["recipe"], one["overrides"], one["resolved"]) for name, one in records.items()}
    return {name: changed for name, changed in found.items() if changed}


def render(folder: Path) -> dict[Path, str]:
    """Render the pages from the templates, the records and the figures of programs in the folder.

    Raises:
        UserError: a listed run has no record, or one with other overrides; or a template names an unlisted run.
    """
    plan, records = read_plan(folder), read_records(read_plan(folder), folder)
    runs = list_runs(plan)
    lacking = [name for name, run in runs.items() if records.get(name, {}).get("overrides") != run.overrides]
    if lacking:
        raise UserError(
            f"no record of {', '.join(lacking)}, which runs.yaml lists: give --train RUNS or --record RUNS, or take "
            f"them out of runs.yaml"
        )
    records = {name: records[name] for name in runs}
    measured = yaml.safe_load((folder / "measured.yaml").read_text(encoding="utf-8")) or {}
    figures = Figures(plan["systems"], records, measured, find_changed_recipes(records))
    pages = Environment(loader=FileSystemLoader(folder), undefined=StrictUndefined, keep_trailing_newline=True)
    return {
        template.with_suffix(""): pages.get_template(template.name).render(figures.functions())
        for template in sorted(folder.glob("*.md.jinja"))
    }


def make(folder: Path, train_in: Path | None, record_from: Path | None, only: str, data_root: Path) -> None:
    """Train and record runs as the options say, and write the pages into the folder."""
    plan, data_root = read_plan(folder), data_root.resolve()
    wanted = [run for name, run in list_runs(plan).items() if fnmatch(name, only)]
    if not wanted:
        raise UserError(f"--only {only}: no run of runs.yaml has such a name; expected SET/SYSTEM_SEED, with * and ?")
    if train_in and record_from:
        raise UserError("--train and --record were given: give only one; --train also records")
    if place := train_in or record_from:
        place = place.resolve()
        if train_in:
            train(wanted, place, data_root)
        found = [(run, read_finished(place / run.name)) for run in wanted]
        new = {run.name: record(run, left, data_root) for run, left in found if left}
        write_records(plan, {**read_records(plan, folder), **new}, folder)
        print(f"recorded {len(new)} of {len(wanted)} runs")
    for page, text in render(folder).items():
        page.write_text(text, encoding="utf-8")


def main(
    train: Annotated[
        Path | None, typer.Option(help="First train incomplete runs in RUNS/SET/SYSTEM_SEED, and record them.")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="First record the finished runs in RUNS/SET/SYSTEM_SEED.")] = None,
    only: Annotated[str, typer.Option(help="Train and record only these runs; may contain * and ?.")] = "*",
    data_root: Annotated[Path, typer.Option(help="Folder that contains the image folders of the sets.")] = Path("."),
) -> None:
    """Render the pages of docs/results from the records beside this program."""
    run_cli(lambda: make(HERE, train, record, only, data_root))


if __name__ == "__main__":
    typer.run(main)
