"""The public names of unpairaug and its packages, compared with `public_api.txt`.

To remove a name is a decision: it breaks other people's code. Whoever adds or removes one edits the list.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

LIST = Path(__file__).with_name("public_api.txt")
LISTED = LIST.read_text(encoding="utf-8").split()
HEAVY = {"torch", "numpy", "pydantic", "yaml", "PIL", "cv2", "typer", "huggingface_hub", "accelerate", "albumentations"}
MOST_MODULES = 10
"""Modules that `import unpairaug` may import beside Python's own start-up."""


def find_public_names(root: Path) -> list[str]:
    """The names in `__all__` of every package that has one: "unpairaug.Task"."""
    names = []
    for path in sorted((root / "unpairaug").rglob("__init__.py")):
        if "templates" not in path.parts and "__all__" in path.read_text(encoding="utf-8"):
            package = ".".join(path.parent.relative_to(root).parts)
            module = import_module(package)
            names += [f"{package}.{name}" for name in getattr(module, "_public_names", module.__all__)]
    return sorted(names)


def test_the_public_names_are_those_of_the_list(checkout: Path):
    found = find_public_names(checkout)
    missing, new = sorted({*LISTED} - {*found}), sorted({*found} - {*LISTED})
    assert found == sorted(LISTED), f"missing: {missing}; new: {new}; edit {LIST.name} if that is right"


@pytest.mark.parametrize("name", LISTED)
def test_every_public_name_can_be_imported(name: str):
    package, _, attribute = name.rpartition(".")
    assert getattr(import_module(package), attribute) is not None


def test_importing_unpairaug_imports_next_to_nothing():
    code = "import sys; before = set(sys.modules); import unpairaug; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    assert "unpairaug" in modules and not HEAVY & {module.partition(".")[0] for module in modules}
    assert len(modules) <= MOST_MODULES, modules
