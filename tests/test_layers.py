"""Who may import whom: a module imports only from rows below its own, so the package reads from the bottom up."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

# Lowest row first; `package/*` stands for every module of a package that has no row of its own.
ROWS = [
    {"errors", "rng", "options", "memory", "noise_statistics", "tiles", "pixel_transforms", "spectra", "jpeg"}
    | {"two_sample", "data/cameras", "data/recent", "data/bad"},
    {"terms", "plugins", "sharpness", "data/cache", "data/drawn_camera", "scores"},
    {"camera_noise"},
    {"lens"},
    {
        "registry",
        "backbone",
        "losses",
        "networks",
        "spandrel_layout",
        "model_card",
        "pool",
        "bridge",
        "blur",
        "schedule",
        "metrics",
        "progress",
        "data/decode",
        "data/sample",
        "data/storage",
    },
    {"data/images", "adversarial", "noise", "perceptual_metrics"},
    {
        "recipe_yaml",
        "recipe_sections",
        "pretrained",
        "checkpoint",
        "optimizer_state",
        "data/pairs",
        "data/photograph",
        "losses/*",
        "discriminators/*",
        "criterion",
    },
    {"optimizer_sections", "translator_section", "hub", "report/record"},
    {"optimizers", "learning_rates", "restored_folder", "benchmarks/layout"},
    {"data/shard_index", "data/mixture", "data/augment", "benchmarks/*"},
    {"prepare/keys", "prepare/cut", "prepare/shards", "prepare/licences", "prepare/journal"},
    {"prepare/work", "prepare/remove", "benchmarks/arrange"},
    {"prepare/outputs", "prepare/record"},
    {"prepare/run"},
    {"data/shards", "data/order", "data/scan"},
    {"data/sources"},
    {"recipe", "data/streams"},
    {"data/preflight"},
    {"translator", "testing/laws", "new"},
    {"task"},
    {"judged_translator", "augment"},
    {"cycle_translator", "one_sided_translator"},
    {"translators/*", "tasks/*", "heads/*", "testing/*", "samples", "restore", "degrade", "real_path"}
    | {"albumentations", "export/format"},
    {"export/plain", "export/enlarge", "export/card"},
    {"export/for_spandrel", "export/onnx_file", "export/ncnn_file", "comparison_sheet"},
    {"trainer", "evaluate", "export/run", "restore_files", "score_model"},
    {"guards", "choice"},
    {"run_folder"},
    {"build", "loop", "degrade_job", "report/charts", "report/pictures"},
    {"degrade_work", "report/page"},
    {"bench", "bench_data", "dry_run", "degrade_ray", "measure_camera"},
    {"run", "bench_augment", "gap"},
    {"compare"},
    {"commands/train"},
    {"commands/*"},
    {"commands"},
    {"__main__"},
]
RANK = {name: row for row, names in enumerate(ROWS) for name in names}
BATCH_COMMANDS = {"trainer", "build", "loop", "evaluate", "bench", "dry_run", "run", "commands/check"}
ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "unpairaug" / "templates"  # packages of their own, which nothing here imports
FILES = sorted([*(ROOT / "unpairaug").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")])
FILES = [path for path in FILES if not path.is_relative_to(TEMPLATES)]
everywhere = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())


def module_of(path: Path) -> str:
    """A file's import name below `unpairaug`, with slashes: "task", "data/decode", "tasks/sr", "data" for a package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "unpairaug" else parts
    return "/".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in FILES}
PACKAGES = {module.partition("/")[0] for module in MODULES if "/" in module}


def rank(module: str) -> int | None:
    """The row of a module; a package's own `__init__` counts as its highest member unless named; None without a row."""
    if module in PACKAGES and module not in RANK:
        return max(row for name, row in RANK.items() if name.startswith(f"{module}/"))
    return RANK.get(module, RANK.get(f"{module.partition('/')[0]}/*"))


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and module, with slashes, of everything imported from unpairaug, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write it from `unpairaug` down"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        modules = {"/".join(name.split(".")[1:]) for name in names if name.partition(".")[0] == "unpairaug"}
        for module in sorted({module if module in MODULES else module.rpartition("/")[0] for module in modules}):
            yield node.lineno, module


def faults(module: str, tree: ast.AST) -> list[str]:
    """The imports of a module that do not point down."""
    found, own = [], rank(module)
    for line, other in imported(tree):
        if other in ("", module):
            continue  # the root holds the version alone; a name of a package's own `__init__`
        row = rank(other)
        if row is None:
            found.append(f"line {line}: unpairaug/{other} has no row in ROWS")
        elif module in PACKAGES and other.startswith(f"{module}/"):
            continue  # a package's `__init__` may gather what its modules define
        elif own is None or row >= own:
            found.append(f"line {line}: {module} (row {own}) imports {other} (row {row})")
    return found


@everywhere
def test_every_module_has_a_row(path: Path):
    module = module_of(path)
    assert module == "" or rank(module) is not None, f"add {module} to ROWS in this file"


@everywhere
def test_imports_point_down(path: Path):
    if module_of(path) == "":
        return  # the root lends its names lazily, so it may name any module
    found = faults(module_of(path), ast.parse(path.read_text(encoding="utf-8")))
    assert not found, "\n".join(found)


@everywhere
def test_only_its_own_file_knows_a_concrete_task_translator_head_or_loss(path: Path):
    concrete = ("tasks/", "translators/", "heads/", "losses/", "discriminators/")
    named = [other for _, other in imported(ast.parse(path.read_text(encoding="utf-8"))) if other.startswith(concrete)]
    assert not named, f"find {named} through the registry, by name"


@everywhere
def test_only_the_batch_commands_hold_an_accelerator(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    if module_of(path) not in BATCH_COMMANDS:
        assert "Accelerator" not in names | attributes


def test_an_import_that_points_up_or_sideways_is_found_wherever_it_stands():
    tree = ast.parse("def late():\n    from unpairaug.task import Task\n    from unpairaug import pool\n")
    assert [fault.partition(":")[0] for fault in faults("losses", tree)] == ["line 2", "line 3"]
    assert not faults("heads/vdsr", tree)
