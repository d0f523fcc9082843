"""The files of recipes: found by path or name, and laid on top of each other where a recipe names its `base`."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Any

from unpairaug.errors import UserError, escape
from unpairaug.recipe.foreign import recognise
from unpairaug.recipe.yaml_file import Document, parse
from unpairaug.recipe.yaml_values import MAX_CHARACTERS
from unpairaug.registry.options import format_value
from unpairaug.registry.plugins import folder_of, plugins
from unpairaug.registry.registry import tasks
from unpairaug.registry.suggestions import suggest

BASE = "base"
"""The key of the recipe below."""
MAX_BASES = 8
"""Recipes below a recipe."""
MAX_BYTES = MAX_CHARACTERS  # a character has at least one


def read_document(recipe: str, above: tuple[str, ...] = ()) -> Document:
    """The recipe in a file, or the bundled one of that name, laid on top of its base.

    Args:
        recipe: path or name.
        above: the files that name this one as their base, from the top down.

    Raises:
        UserError: a file cannot be read or is no recipe, a base is unknown, or the bases form a circle or are too many.
    """
    name, text = read_text(recipe)
    document = parse(text, name)
    if program := recognise(document.values):
        raise UserError(f"{escape(name)} is a configuration of {program}, no recipe: unpairaug import {escape(name)}")
    base = document.values.pop(BASE, None)
    if base is None:
        return document
    place, chain = f"{document.place((BASE,))}: {BASE}", (*above, name)
    below = read_document(_find_base(base, place, chain), chain)
    below.values.pop("output_dir", None)  # two recipes must not share a folder
    below.merge(document.values, document.place)
    drop_scale_if_task_has_none(below)
    below.places.update(document.places)
    below.overrides.clear()
    return below


def follow_run_folder(document: Document) -> None:
    """Let the recipe of a run folder that was moved or copied name this folder, and the initial weights in it."""
    file = Path(document.places[()])
    old, new = document.values.get("output_dir"), file.parent
    if file.name != "recipe.yaml" or not isinstance(old, str) or not (new / "environment.json").is_file():
        return
    if new.resolve() != Path(old).resolve():
        document.values["output_dir"] = str(new)
        for part in ("task", "translator"):
            document.values[part] = _move_paths(document.values.get(part), Path(old), new)


def _move_paths(value: Any, old: Path, new: Path) -> Any:
    """The value with every path within the folder `old` as the same path within `new`."""
    if isinstance(value, dict):
        return {key: _move_paths(item, old, new) for key, item in value.items()}
    if isinstance(value, str) and "\0" not in value and Path(value).is_relative_to(old):
        return str(new / Path(value).relative_to(old))
    return value


def _find_base(base: Any, place: str, chain: tuple[str, ...]) -> str:
    """The file of a base: a path relative to the recipe that names it, or the name of a bundled recipe."""
    if not isinstance(base, str) or not base:
        raise UserError(f"{place}: given {format_value(base)}, should be the name of a recipe, or the path of its file")
    beside = Path(chain[-1]).parent / base
    path = beside if os.path.isfile(beside) else _find_by_name(base)
    if path is None:
        hint = suggest(Path(base).stem, _known_names(), list_known=True)
        raise UserError(f"{place}: no recipe {base!r}: no file {escape(beside)}, and no recipe of that name; {hint}")
    if any(path.resolve() == Path(other).resolve() for other in chain):
        circle = " → ".join(escape(other) for other in (*chain, path))
        raise UserError(f"{place}: the bases form a circle: {circle}; remove one of these lines")
    if len(chain) > MAX_BASES:
        raise UserError(f"{place}: more than {MAX_BASES} recipes below each other; copy what you need from them")
    return str(path)


def bundled_recipes() -> dict[str, Path]:
    """The recipes that come with unpairaug, by name."""
    files = (Path(str(file)) for file in resources.files("unpairaug.recipes").iterdir())
    return {file.stem: file for file in sorted(files) if file.suffix == ".yaml"}


def plugin_recipes() -> dict[str, Path]:
    """The recipes of other installed packages, by name. An entry point maps a recipe's name to the package of its file.

    `derain = "derain_package"` in the group `unpairaug.recipes` is the file `derain.yaml` of that package.
    """
    claims = {name: folder_of(found[0]) for name, found in plugins("unpairaug.recipes").items() if len(found) == 1}
    files = {name: folder / f"{name}.yaml" for name, folder in sorted(claims.items()) if folder}
    return {name: file for name, file in files.items() if file.is_file()}


def _find_by_name(name: str) -> Path | None:
    """The file of a recipe of unpairaug or of another package; those are looked up last, since that is slow."""
    name = name.removeprefix("recipes/").removesuffix(".yaml")  # recipes/cyclesr_sr.yaml works outside of a clone
    return bundled_recipes().get(name) or plugin_recipes().get(name)


def _known_names() -> list[str]:
    return sorted({*plugin_recipes(), *bundled_recipes()})


def read_text(recipe: str) -> tuple[str, str]:
    """The name of the file that `recipe` stands for, and its text."""
    path = Path(recipe)
    try:
        if not path.is_file() and not path.is_dir():
            path = _find_by_name(recipe) or path
        if path.exists() and not path.is_file() and not path.is_dir():  # a pipe would be waited for
            raise UserError(f"recipe {escape(path)} is no regular file; give a YAML file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UserError(f"recipe {escape(path)} has more than {MAX_BYTES} bytes; give a smaller YAML file")
        return str(path), data.decode("utf-8")
    except FileNotFoundError as error:
        raise UserError(
            f"no recipe {recipe!r}: no such file, and no recipe of that name comes with unpairaug or another package; "
            f"{suggest(path.stem, _known_names(), list_known=True)}"
        ) from error
    except (OSError, ValueError) as error:  # UnicodeDecodeError, and a name with NUL
        raise UserError(f"recipe {escape(path)} cannot be read; give a YAML file in UTF-8: {error}") from error


def drop_scale_if_task_has_none(document: Document) -> None:
    """`task.type=…` keeps the file's scale for the new task; remove it if the new task has no scale."""
    task: Any = document.values.get("task")
    if ("task", "type") not in document.overrides or ("task", "scale") in document.overrides:
        return
    try:
        takes_scale = "scale" in tasks.options(str(task["type"])).model_fields
    except UserError:
        return  # no such task: `_validate` says so, with the place
    if not takes_scale:
        task.pop("scale", None)
