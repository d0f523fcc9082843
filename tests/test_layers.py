"""A package imports only those below it in `ORDER`, so the program reads from the top down."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest
from order_of_packages import ORDER

HOLDS_AN_ACCELERATOR = {"commands", "bench", "training", "evaluation"}
ROOT_MODULES = 10
ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "unpairaug" / "registry" / "templates"  # packages of their own, which nothing here imports
FILES = sorted([*(ROOT / "unpairaug").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")])
FILES = [path for path in FILES if not path.is_relative_to(TEMPLATES)]
everywhere = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())


def module_of(path: Path) -> str:
    """A file's import name below `unpairaug`: "task", "data.decode", "tasks.sr"; "data" for a package's `__init__`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "unpairaug" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}
PACKAGES = {module.partition(".")[0] for module in MODULES if module}
TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and module of everything imported from `unpairaug`, inside functions and for type checkers too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write it from `unpairaug` down"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        modules = {
            name.removeprefix("unpairaug").lstrip(".") for name in names if name.partition(".")[0] == "unpairaug"
        }
        for module in sorted({name if name in MODULES else name.rpartition(".")[0] for name in modules}):
            yield node.lineno, module


def upward(module: str, tree: ast.AST) -> list[str]:
    """The imports of a module from a package above its own."""
    package = module.partition(".")[0]
    others = [(line, other) for line, other in imported(tree) if other and other.partition(".")[0] != package]
    wrong = [(line, other) for line, other in others if ORDER.index(other.partition(".")[0]) <= ORDER.index(package)]
    return [f"line {line}: {module} imports {other}, which stands above it in ORDER" for line, other in wrong]


def test_every_package_has_its_place():
    assert sorted(ORDER) == sorted(PACKAGES), "add the package to ORDER, above all that it imports"


def test_the_root_holds_few_modules():
    modules = [path.name for path in (ROOT / "unpairaug").glob("*.py")]
    assert len(modules) <= ROOT_MODULES, f"{sorted(modules)}: put the new one into the package of its stage"


@everywhere
def test_imports_point_down(path: Path):
    module = module_of(path)
    found = upward(module, TREES[module]) if module else []  # the root lends its names lazily
    assert not found, "\n".join(found)


def test_no_modules_import_each_other_in_a_circle():
    arrows = {module: {other for _, other in imported(tree)} - {module} for module, tree in TREES.items()}
    assert list(TopologicalSorter(arrows).static_order())  # raises CycleError, which names the circle


def registers(tree: ast.AST) -> bool:
    """Whether a class in it is given a name that recipes can use."""
    decorators = chain.from_iterable(node.decorator_list for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    calls = [decorator.func for decorator in decorators if isinstance(decorator, ast.Call)]
    return any(isinstance(call, ast.Name) and call.id.startswith("register_") for call in calls)


@everywhere
def test_only_its_own_file_knows_a_concrete_task_translator_head_or_loss(path: Path):
    named = [other for _, other in imported(TREES[module_of(path)]) if other and registers(TREES[other])]
    assert not named, f"find {named} through the registry, by name"


@everywhere
def test_only_training_and_the_batch_commands_hold_an_accelerator(path: Path):
    tree = TREES[module_of(path)]
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    if module_of(path).partition(".")[0] not in HOLDS_AN_ACCELERATOR:
        assert "Accelerator" not in names | attributes


@pytest.mark.parametrize("source", ["from unpairaug.task import Task", "def late():\n    import unpairaug.run"])
def test_an_import_that_points_up_is_found_wherever_it_stands(source: str):
    assert upward("losses.gan", ast.parse(source)) and not upward("commands.train", ast.parse(source))
