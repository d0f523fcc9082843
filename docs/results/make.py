"""Make docs/results.md from what the runs in runs.yaml measured; see the options for training and recording them."""

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
from unpairaug.run import MAY_CHANGE, complete

HERE = Path(__file__).resolve().parent
Plan = dict[str, Any]
"""What runs.yaml says."""
Records = dict[str, dict[str, Any]]
"""By SET/SYSTEM_SEED, what a run was and what it measured."""


@dataclass(frozen=True)
class Run:
    """One training that the page has figures of."""

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


def runs_of(plan: Plan) -> dict[str, Run]:
    """The runs that the plan lists, by name and in its order of sets and systems.

    Raises:
        UserError: it lists a set or a system that it does not have.
    """
    listed = [triple for entry in plan["runs"] for triple in product(entry["sets"], entry["systems"], entry["seeds"])]
    for kind, at in (("sets", 0), ("systems", 1)):
        for name in (triple[at] for triple in listed if triple[at] not in plan[kind]):
            raise UserError(f"runs.yaml: {name!r} is none of its {kind}; {suggest(name, plan[kind])}")
    sets, systems = list(plan["sets"]), list(plan["systems"])
    ordered = sorted(set(listed), key=lambda one: (sets.index(one[0]), systems.index(one[1]), one[2]))
    return {run.name: run for run in (_run(plan, *one) for one in ordered)}


def _run(plan: Plan, set_: str, system: str, seed: int) -> Run:
    """The run with all its overrides, of which a later one takes the place of an earlier one with the same key."""
    options = plan["systems"][system]
    overrides = [*plan["common"], *plan["sets"][set_], *options.get("overrides", ()), f"train.seed={seed}"]
    by_key = {override.partition("=")[0]: override for override in overrides}
    recipe = plan.get("recipes", {}).get(set_, options.get("recipe", system))
    return Run(set_, system, seed, recipe, list(by_key.values()))


def finished(folder: Path) -> Record | None:
    """What the run in the folder left; None where there is none, or it has not taken its last step."""
    found = read_record(folder) if folder.is_dir() else None
    return found if found and found.is_done else None


def train(runs: Iterable[Run], folder: Path, data_root: Path) -> None:
    """Train to its end every run that has not come there, each in folder/SET/SYSTEM_SEED."""
    os.chdir(data_root)  # the plan's folders of images are relative to it
    for run in runs:
        if finished(folder / run.name) is None:
            place = json.dumps(str(folder / run.name), ensure_ascii=False)  # as YAML would quote it
            complete(run.recipe, [*run.overrides, f"output_dir={place}"], MAY_CHANGE)


def record(run: Run, found: Record, data_root: Path) -> dict[str, Any]:
    """What the page and its readers need of a finished run; no path of this machine is in it.

    Raises:
        UserError: the folder holds another run than the one that runs.yaml lists, or it was never validated.
    """
    resolved = _resolved(found, data_root)
    if changed := _changed(run.recipe, run.overrides, resolved):
        raise UserError(
            f"{found.folder} is not what runs.yaml lists as {run.name}: {'; '.join(changed)}; give the --data-root it "
            f"was trained with, train it anew in another folder, or mend runs.yaml"
        )
    steps, val = resolved["train"]["steps"], _by_step(found, "val")
    if steps not in val or not (bicubic := _by_step(found, "val_bicubic")):
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
        "guards": _by_step(found, "guards").get(steps, {}),
        "psnr_rgb": {step: values["psnr_rgb"] for step, values in val.items()},
        "choice": {step: values["score"] for step, values in _by_step(found, "choice").items()},
    }


def _resolved(found: Record, data_root: Path) -> dict[str, Any]:
    """The recipe that the run left, as it wrote it, but for its own place and that of the images."""
    text = (found.recipe_text or "").replace(f"{data_root}{os.sep}", "")
    values = parse(text, f"{found.folder}/recipe.yaml").values
    return {key: value for key, value in values.items() if key != "output_dir"}


def _changed(recipe_name: str, overrides: list[str], resolved: dict[str, Any]) -> list[str]:
    """Where a run's recipe, with defaults of keys that came later, is not what its command gives today, key by key."""
    today = load_recipe(recipe_name, overrides).resolve(steps_per_epoch=1)  # no length here is in epochs
    try:
        was = Recipe.model_validate({**resolved, "output_dir": today.output_dir}).model_dump(mode="json")
    except ValidationError:  # it has keys or values that there are no more, which are told as they are
        was = resolved
    pairs = differences_of_values(was, today.model_dump(mode="json")).items()
    return [f"{key}: {before!r} → {now!r}" for key, (before, now) in pairs if key not in MAY_CHANGE]


def _by_step(found: Record, split: str) -> dict[int, dict[str, float]]:
    return {line.step: {k: round(v, 6) for k, v in line.values.items()} for line in found.of(split)}


def read_records(plan: Plan, folder: Path) -> Records:
    """The records of every set, as far as there are any."""
    files = {name: folder / f"{name}.json" for name in plan["sets"]}
    return {
        f"{name}/{run}": values
        for name, file in files.items()
        if file.exists()
        for run, values in json.loads(file.read_text(encoding="utf-8")).items()
    }


def write_records(plan: Plan, records: Records, folder: Path) -> None:
    """One file for each set that has any, with the records of the runs that the plan lists."""
    for name in plan["sets"]:
        kept = {f"{r.system}_{r.seed}": records[n] for n, r in runs_of(plan).items() if r.set == name and n in records}
        if kept:
            (folder / f"{name}.json").write_text(_json(kept) + "\n", encoding="utf-8")


def _json(value: Any, depth: int = 3, indent: str = "") -> str:
    """JSON with a line for each value of the outer `depth` mappings, so that a difference is one line."""
    if depth == 0 or not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False)
    lines = (
        f"{indent} {json.dumps(str(key))}: {_json(inner, depth - 1, indent + ' ')}" for key, inner in value.items()
    )
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def since_changed(records: Records) -> dict[str, list[str]]:
    """By run, where its command would give another recipe today."""
    found = {name: _changed(one["recipe"], one["overrides"], one["resolved"]) for name, one in records.items()}
    return {name: changed for name, changed in found.items() if changed}


def render(folder: Path) -> str:
    """The page, from the template, the records and the figures of programs in the folder.

    Raises:
        UserError: a run that runs.yaml lists has no record, or one of other overrides; or the template names another.
    """
    plan, records = read_plan(folder), read_records(read_plan(folder), folder)
    runs = runs_of(plan)
    lacking = [name for name, run in runs.items() if records.get(name, {}).get("overrides") != run.overrides]
    if lacking:
        raise UserError(
            f"no record of {', '.join(lacking)}, which runs.yaml lists: give --train RUNS or --record RUNS, or take "
            f"them out of runs.yaml"
        )
    records = {name: records[name] for name in runs}
    measured = yaml.safe_load((folder / "measured.yaml").read_text(encoding="utf-8")) or {}
    figures = Figures(plan["systems"], records, measured, since_changed(records))
    pages = Environment(loader=FileSystemLoader(folder), undefined=StrictUndefined, keep_trailing_newline=True)
    return pages.get_template("results.md.jinja").render(figures.functions())


def make(folder: Path, train_in: Path | None, record_from: Path | None, only: str, data_root: Path) -> None:
    """Train and record what the options ask for, and write the page beside the folder that it is made from."""
    plan, data_root = read_plan(folder), data_root.resolve()
    wanted = [run for name, run in runs_of(plan).items() if fnmatch(name, only)]
    if not wanted:
        raise UserError(f"--only {only}: no run of runs.yaml has such a name; expected SET/SYSTEM_SEED, with * and ?")
    if train_in and record_from:
        raise UserError("--train and --record were given: give one, for what is trained is recorded, too")
    if place := train_in or record_from:
        place = place.resolve()
        if train_in:
            train(wanted, place, data_root)
        found = [(run, finished(place / run.name)) for run in wanted]
        new = {run.name: record(run, left, data_root) for run, left in found if left}
        write_records(plan, {**read_records(plan, folder), **new}, folder)
        print(f"recorded {len(new)} of {len(wanted)} runs")
    folder.with_suffix(".md").write_text(render(folder), encoding="utf-8")


def main(
    train: Annotated[
        Path | None, typer.Option(help="First train in RUNS/SET/SYSTEM_SEED what has not ended, and record it.")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="First record the finished runs in RUNS/SET/SYSTEM_SEED.")] = None,
    only: Annotated[str, typer.Option(help="Train and record these alone; with * and ?.")] = "*",
    data_root: Annotated[Path, typer.Option(help="The folder that the sets' folders of images are in.")] = Path("."),
) -> None:
    """Make docs/results.md from the records beside this program."""
    run_cli(lambda: make(HERE, train, record, only, data_root))


if __name__ == "__main__":
    typer.run(main)
