"""What an installation holds: nothing but `unpairaug` at the top, everything inside it, working from any folder."""

import ast
import email
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import pytest

from unpairaug.registry.new import TEMPLATE_SUFFIXES

HEAVY = ("torch", "albumentations", "skimage", "tensorboard", "accelerate", "pydantic")


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the source distribution, so that both are right or this fails."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("unpairaug", "tasks", "recipes", "docs"):
        copytree(checkout / name, source / name, ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        copy(checkout / name, source)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, cwd=built)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python with the wheel installed, in a folder that has a stranger's `tasks.py` and `recipes.py`."""
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    zipfile.ZipFile(wheel).extractall(site)
    for name in ("tasks.py", "recipes.py"):
        (folder / name).write_text("raise RuntimeError('this file belongs to somebody else')\n")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(site)}
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, cwd=folder, env=environment, timeout=120
        )

    return run


def contents(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def metadata(wheel: Path) -> email.message.Message:
    name = next(name for name in contents(wheel) if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(zipfile.ZipFile(wheel).read(name))


def test_nothing_but_unpairaug_lands_at_the_top_of_site_packages(wheel: Path):
    tops = {name.partition("/")[0] for name in contents(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"unpairaug"}


def test_every_module_and_recipe_of_the_checkout_is_in_the_wheel(wheel: Path, checkout: Path):
    inside = [path.relative_to(checkout).as_posix() for path in (checkout / "unpairaug").rglob("*.py")]
    beside = [f"unpairaug/{path.relative_to(checkout).as_posix()}" for path in (checkout / "tasks").rglob("*.py")]
    beside += [f"unpairaug/recipes/{path.name}" for path in (checkout / "recipes").iterdir() if path.is_file()]
    beside += [f"unpairaug/{path.relative_to(checkout).as_posix()}" for path in (checkout / "docs").rglob("*.md")]
    inside += [path.relative_to(checkout).as_posix() for path in (checkout / "unpairaug").rglob("*.pyi")]
    templates = [
        path
        for path in (checkout / "unpairaug" / "registry" / "templates").rglob("*")
        if path.suffix in TEMPLATE_SUFFIXES
    ]
    inside += [path.relative_to(checkout).as_posix() for path in templates]
    page = [path for path in (checkout / "unpairaug" / "report").rglob("*") if path.is_file()]
    inside += [path.relative_to(checkout).as_posix() for path in page if path.suffix not in (".py", ".pyc")]
    missing = {*inside, *beside, "unpairaug/py.typed"} - contents(wheel)
    assert not missing, f"{sorted(missing)} missing: list the package under [tool.setuptools] in pyproject.toml"


def test_the_wheel_says_its_licence_and_carries_the_text(wheel: Path):
    assert metadata(wheel)["License-Expression"] == "Apache-2.0"
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in contents(wheel))


def test_every_library_the_code_imports_is_a_declared_dependency(wheel: Path, checkout: Path):
    imported = set()
    for path in [*(checkout / "unpairaug").rglob("*.py"), *(checkout / "tasks").rglob("*.py")]:
        if "templates" in path.parts:
            continue  # packages of their own, with dependencies of their own
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(str(node.module).partition(".")[0])
    lines = metadata(wheel).get_all("Requires-Dist", [])
    requirements = [line for line in lines if not re.search("extra == .dev", line)]  # other extras may be imported
    declared = {canonical(re.split(r"[^\w.-]", line)[0]) for line in requirements}
    installed = {
        **packages_distributions(),
        "pydantic_core": ["pydantic"],
    }  # one release, and documented to be imported
    undeclared = {
        name
        for name in imported - set(sys.stdlib_module_names) - {"unpairaug"}
        if not declared & {canonical(distribution) for distribution in installed.get(name, [name])}
    }
    assert not undeclared, (
        f"add {sorted(undeclared)} to the dependencies in pyproject.toml, or import it where optional"
    )


def test_what_an_extra_brings_is_imported_where_it_is_used_and_nowhere_else(wheel: Path, checkout: Path):
    requirements = metadata(wheel).get_all("Requires-Dist", [])
    always = {canonical(re.split(r"[^\w.-]", line)[0]) for line in requirements if "extra ==" not in line}
    optional = {canonical(re.split(r"[^\w.-]", line)[0]) for line in requirements if "extra ==" in line}
    optional -= {*always, "unpairaug"}
    for path in (checkout / "unpairaug").rglob("*.py"):
        if "templates" in path.parts:
            continue
        body = ast.parse(path.read_text(encoding="utf-8")).body
        names = {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in body if isinstance(node, ast.ImportFrom)}
        assert not optional & {canonical(name.partition(".")[0]) for name in names}, path


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_tasks_and_recipes_are_found_beside_a_strangers_files_of_these_names(elsewhere: Callable):
    done = elsewhere("-c", "import unpairaug.tasks, unpairaug.recipes; print(unpairaug.tasks.__file__)")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parts[-3:] == ("unpairaug", "tasks", "__init__.py")


def test_training_starts_from_any_folder(elsewhere: Callable):
    done = elsewhere("-m", "unpairaug.run", "--help")
    assert done.returncode == 0, done.stderr
    assert "recipe" in done.stdout.lower()


def test_importing_unpairaug_imports_nothing_heavy(elsewhere: Callable):
    done = elsewhere("-c", f"import sys, unpairaug; print([name for name in {HEAVY} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_every_public_name_can_be_had_from_unpairaug():
    import unpairaug

    assert all(getattr(unpairaug, name) is not None for name in unpairaug.__all__)
    assert set(unpairaug.__all__) <= set(dir(unpairaug))


def test_tasks_cannot_be_loaded_under_a_second_name(checkout: Path):
    done = subprocess.run([sys.executable, "-c", "import tasks"], capture_output=True, text=True, cwd=checkout)
    assert "import unpairaug.tasks, not tasks" in done.stderr
