"""`unpairaug new`: packages with a task, translator, head or loss of one's own, from the templates beside this file."""

from __future__ import annotations

import keyword
import re
from importlib.util import find_spec
from pathlib import Path

from unpairaug.errors import RunStopped, UserError
from unpairaug.registry import registry

REGISTRY_FOLDER = Path(__file__).resolve().parent
TEMPLATES = REGISTRY_FOLDER / "templates"
"""A folder for each kind: a whole package in which `my_task`, `my-task` and `MyTask` stand for the name."""

TEMPLATE_SUFFIXES = (".md", ".py", ".toml", ".yaml")
"""Files of a template; files that tools left beside them are not copied."""
RESERVED_NAMES = ("HeadSpec", "Path", "Rng", "Task", "Tensor", "Translator")
"""Classes that the templates import; a new class cannot have their names."""


def write_package(kind: str, name: str, folder: Path | None = None) -> Path:
    """Write a package that brings a `kind` called `name`, and return its folder.

    Args:
        kind: "task", "translator", "head" or "loss".
        name: a Python identifier; with hyphens it is the same name.
        folder: where to write; by default a folder of that name where one stands.

    Raises:
        UserError: the name cannot be used, or the folder holds something already or lies within unpairaug.
        RunStopped: a file cannot be written, for example on a full disk.
    """
    module = _to_module_name(kind, name)
    target = folder or Path(name)
    _check_target_folder(target)
    words = {f"my_{kind}": module, f"my-{kind}": module.replace("_", "-"), f"My{kind.title()}": to_class_name(module)}
    try:
        for file in sorted((TEMPLATES / kind).rglob("*")):
            if file.suffix in TEMPLATE_SUFFIXES:
                written = target / _substitute(file.relative_to(TEMPLATES / kind).as_posix(), words)
                written.parent.mkdir(parents=True, exist_ok=True)
                written.write_text(_substitute(file.read_text(encoding="utf-8"), words), encoding="utf-8")
    except OSError as error:
        raise RunStopped(f"{target} cannot be written ({error.strerror}); give another --folder") from error
    return target


def to_class_name(module: str) -> str:
    """The class of a module: RainRemoval for rain_removal."""
    return "".join(part[:1].upper() + part[1:] for part in module.split("_"))


def _to_module_name(kind: str, name: str) -> str:
    """The name of the Python module.

    Raises:
        UserError: it is invalid, or in use; the message suggests another.
    """
    module = name.replace("-", "_")
    known = getattr(registry, "losses" if kind == "loss" else f"{kind}s")
    if not re.fullmatch(r"[A-Za-z](\w*[A-Za-z0-9])?", module, re.ASCII) or keyword.iskeyword(module):
        said = "is no name for a Python module: use letters, digits and underscores, a letter first, no keyword"
    elif module in known.names():
        said = f"is a {kind} that exists already"
    elif _is_a_module(module) or to_class_name(module) in RESERVED_NAMES:
        said = "is the name of a module or class of Python or unpairaug"
    else:
        return module
    raise UserError(f"{name!r} {said}; try {_suggest_name(kind, module)!r}")


def _is_a_module(name: str) -> bool:
    found = find_spec(name)
    return found is not None and found.origin is not None  # a mere folder of the name has no origin


def _suggest_name(kind: str, module: str) -> str:
    """A valid name near one that is not."""
    parts = re.findall("[A-Za-z0-9]+", module)
    near = "_".join(parts)
    return near if near != module and near[:1].isalpha() and not keyword.iskeyword(near) else f"my_{near or kind}"


def _check_target_folder(target: Path) -> None:
    package = REGISTRY_FOLDER.parent
    own = package.parent if (package.parent / "pyproject.toml").is_file() else package
    if target.resolve().is_relative_to(own):
        raise UserError(
            f"{target.resolve()} lies within unpairaug itself ({own}), and your package is a separate one: "
            f"give --folder {Path('..') / target.name}, or go elsewhere"
        )
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"{target} exists already, and nothing is overwritten: give another name or --folder")


def _substitute(text: str, words: dict[str, str]) -> str:
    for word, own in words.items():
        text = text.replace(word, own)
    return text
