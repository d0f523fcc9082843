"""Tasks, heads and translators of others, in all four ways a recipe finds them: real files, real installed packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
import torch

from unpairaug.errors import UserError
from unpairaug.recipe import load_recipe, plugin_recipes
from unpairaug.registry import registry

KINDS = ("task", "head", "translator")
CODE = {
    "task": '''
from unpairaug import Task, register_task
from unpairaug.registry import HeadSpec

@register_task("NAME")
class Toy(Task):
    """Restores NAME. It is a toy."""

    def __init__(self, head: HeadSpec = "vdsr", shade: int = 3) -> None:
        super().__init__(scale=1, head=head)
''',
    "head": '''
from torch import nn
from unpairaug import register_head

@register_head("NAME")
class Toy(nn.Conv2d):
    """Restores NAME. It is a toy."""

    def __init__(self, shade: int = 3) -> None:
        super().__init__(3, 3, shade, padding=shade // 2)
''',
    "translator": '''
from unpairaug import Translator, register_translator

@register_translator("NAME")
class Toy(Translator):
    """Restores NAME. It is a toy."""

    def __init__(self, shade: int = 3) -> None:
        super().__init__()

    def degrade(self, source, rng=None):
        return source * 0.5
''',
}
BUILT_IN = {"task": "sr", "head": "vdsr", "translator": "bicubic"}
everyone = pytest.mark.parametrize("kind", KINDS)


def known(kind: str) -> registry.Registry:
    return getattr(registry, f"{kind}s")


def use(kind: str, name: str) -> None:
    """Build the component as a recipe would, with an option, and run it."""
    made = known(kind).build({"type": name, "shade": 5})
    assert made.config["shade"] == 5
    image = torch.rand(1, 3, 8, 9)
    assert (made.degrade(image) if kind == "translator" else made(image)).shape == image.shape


def package(folder: Path, name: str, entry_points: str, **modules: str) -> Path:
    """The source of a Python package with entry points."""
    (folder / name).mkdir(parents=True)
    for module, text in {"__init__": "", **modules}.items():
        (folder / name / f"{module}.py").write_text(text)
    for number in (1, 2):
        (folder / name / f"{name}_recipe{number}.yaml").write_text(
            f"# Recipe {number} of {name}. It does little.\n"
            f"task: {name}_task\ntranslator: {name}_translator\ndata: {{clean: sample, degraded: sample}}\n"
            "train: {steps: 1}\n"
        )
    (folder / "pyproject.toml").write_text(
        f'[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{name}"\nversion = "1.2"\n{entry_points}\n'
        f'[tool.setuptools]\npackages = ["{name}"]\n[tool.setuptools.package-data]\n{name} = ["*.yaml"]\n'
    )
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed a good package, and one with every fault there is."""
    sources, site = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("site")
    good = "".join(
        f'[project.entry-points."unpairaug.{kind}s"]\nkindly_{kind} = "kindly.of_{kind}:Toy"\n'
        f'contested_{kind} = "kindly.of_{kind}:Toy"\n'
        for kind in KINDS
    )
    bad = "".join(
        f'[project.entry-points."unpairaug.{kind}s"]\nwreck_{kind} = "wreckage.crashes:Toy"\n'
        f'quits_{kind} = "wreckage.quits:Toy"\nno_class_{kind} = "wreckage.quiet:number"\n'
        f'{BUILT_IN[kind]} = "wreckage.quiet:Impostor"\ncontested_{kind} = "wreckage.quiet:Impostor"\n'
        for kind in KINDS
    )
    recipes = '[project.entry-points."unpairaug.recipes"]\n'
    packages = [
        package(
            sources / "kindly",
            "kindly",
            f'{good}{recipes}kindly_recipe1 = "kindly"\n',
            **{f"of_{kind}": CODE[kind].replace("NAME", f"kindly_{kind}") for kind in KINDS},
        ),
        package(
            sources / "wreckage",
            "wreckage",
            f'{bad}{recipes}smoke = "wreckage"\nlost_recipe = "wreckage"\nhomeless_recipe = "no_such_package.at_all"\n',
            crashes=CODE["head"].replace("NAME", "wreck_half") + "\nimport a_package_nobody_wrote\n",
            quits="raise SystemExit('good bye')\n",
            quiet="number = 3\nclass Impostor: ...\n",
        ),
    ]
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    done = subprocess.run([*install, "--target", str(site), *map(str, packages)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages are installed for this test."""
    monkeypatch.syspath_prepend(str(site))


@everyone
def test_a_class_registered_in_the_process_is_found(kind: str):
    exec(CODE[kind].replace("NAME", f"process_{kind}"), {"__name__": f"a_notebook_of_{kind}"})
    use(kind, f"process_{kind}")


@everyone
def test_a_class_is_found_as_module_and_class_and_a_misspelt_module_offers_the_right_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / f"my_folder_{kind}.py").write_text(CODE[kind].replace("NAME", f"path_{kind}"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    use(kind, f"my_folder_{kind}:Toy")
    with pytest.raises(UserError, match=f"did you mean 'my_folder_{kind}'"):
        known(kind).get(f"my_foldr_{kind}:Toy")
    with pytest.raises(UserError, match="did you mean 'Toy'"):
        known(kind).get(f"my_folder_{kind}:Toyy")
    (tmp_path / f"my_folder_{kind}_2.py").write_text("x = 2x")
    with pytest.raises(UserError, match="SyntaxError") as refused:
        known(kind).get(f"my_folder_{kind}_2:Toy")
    assert "did you mean" not in str(refused.value)


@pytest.fixture
def own_folder(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that belongs to `tasks/`, `heads/` or `translators/` as long as the test runs."""
    built_in = __import__(f"unpairaug.{kind}s", fromlist=["__path__"])
    monkeypatch.setattr(built_in, "__path__", [*built_in.__path__, str(tmp_path)])
    monkeypatch.setattr(known(kind), "_broken", {})
    monkeypatch.setattr(known(kind), "_classes", dict(known(kind)._classes))
    return tmp_path


@everyone
def test_a_file_beside_the_built_in_ones_is_found(kind: str, own_folder: Path):
    (own_folder / f"file_{kind}.py").write_text(CODE[kind].replace("NAME", f"file_{kind}"))
    use(kind, f"file_{kind}")


@everyone
def test_a_broken_file_beside_the_built_in_ones_harms_only_who_names_it(kind: str, own_folder: Path):
    code = CODE[kind].replace("NAME", f"half_{kind}") + "\nraise RuntimeError('half way')\n"
    (own_folder / f"a_wreck_{kind}.py").write_text(code)
    known(kind).get(BUILT_IN[kind])
    with pytest.raises(UserError, match=f"unpairaug.{kind}s.a_wreck_{kind} cannot be imported: RuntimeError: half way"):
        known(kind).get(f"a_wreck_{kind}")
    with pytest.raises(UserError, match=f"Not importable: a_wreck_{kind}"):
        known(kind).get(f"half_{kind}")  # its class was registered before the module fell over
    assert BUILT_IN[kind] in known(kind).names()


@everyone
@pytest.mark.usefixtures("installed")
def test_a_class_of_an_installed_package_is_found_and_a_misspelt_name_offers_it(kind: str):
    use(kind, f"kindly_{kind}")
    with pytest.raises(UserError, match=f"did you mean 'kindly_{kind}'"):
        known(kind).get(f"kindley_{kind}")


@everyone
@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wreck", r"wreckage.crashes:Toy of package wreckage 1.2 cannot be loaded: ModuleNotFoundError.*nobody_wrote"),
        ("quits", r"wreckage.quits:Toy of package wreckage 1.2 cannot be loaded: SystemExit: good bye"),
        ("no_class", r"wreckage.quiet:number of package wreckage 1.2 cannot be loaded: TypeError: expected a class"),
        ("contested", r"claimed by package (kindly|wreckage) 1.2 .* and package .*module:Class"),
    ],
)
def test_a_broken_plugin_names_itself_and_its_package(kind: str, name: str, words: str):
    with pytest.raises(UserError, match=words):
        known(kind).get(f"{name}_{kind}")


@everyone
@pytest.mark.usefixtures("installed")
def test_a_plugin_does_not_replace_a_built_in_of_its_name(kind: str):
    assert known(kind).get(BUILT_IN[kind]).__module__.startswith("unpairaug.")


@everyone
def test_no_class_takes_the_name_of_a_built_in_that_nobody_has_asked_for_yet(kind: str, own_folder: Path):
    (own_folder / f"two_of_{kind}.py").write_text(CODE[kind].replace("NAME", f"another_{kind}"))
    with pytest.raises(ValueError, match=f"{kind} 'another_{kind}' is already"):
        exec(CODE[kind].replace("NAME", f"another_{kind}"), {"__name__": "a_stranger"})


@pytest.mark.usefixtures("installed")
def test_a_recipe_of_an_installed_package_is_found_by_its_bare_name():
    recipe = load_recipe("kindly_recipe1", ["task.shade=7"])
    assert (recipe.task["type"], recipe.task["shade"], recipe.translator["type"]) == (
        "kindly_task",
        7,
        "kindly_translator",
    )
    assert list(plugin_recipes()) == ["kindly_recipe1"], "one without a file, or in nobody's package, is none"
    assert load_recipe("smoke").task["type"] == "sr", "a package must not replace a bundled recipe"
    with pytest.raises(UserError, match="did you mean 'kindly_recipe1'"):
        load_recipe("kindly_recipe2")


def test_a_class_that_is_no_task_is_refused_with_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_misfit.py").write_text("class Misfit:\n    scale = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=r"Misfit is no task; derive it from unpairaug\.task\.Task"):
        load_recipe("smoke", ["task={type: 'my_misfit:Misfit'}"])


def environment(*first: Path) -> dict[str, str]:
    places = [*first, Path(__file__).resolve().parents[2]]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "ACCELERATE_USE_CPU": "true"}


@pytest.fixture(scope="module")
def listing(site: Path, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What `unpairaug list --options` prints in a checkout with more files, beside the installed packages."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("unpairaug", "tasks", "recipes"):
        copytree(checkout / name, copy / name, ignore=ignore_patterns("__pycache__", ".*"))
    (copy / "pyproject.toml").touch()
    (copy / "tasks" / "file_task.py").write_text(CODE["task"].replace("NAME", "file_task"))
    (copy / "tasks" / "wreck.py").write_text("import a_package_nobody_wrote\n")
    program = "from unpairaug.commands import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "list", "--options"],
        capture_output=True,
        text=True,
        env=environment(copy, site),
        cwd=site,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def line(listing: list[str], name: str, origin: str) -> str:
    """What the list says of a name of that origin."""
    (found,) = [line for line in listing if line.startswith(f"{name} ") and f"  {origin}  " in line]
    return found.partition(f"  {origin}  ")[2].strip()


def test_the_list_has_every_kind_with_name_origin_and_first_sentence(listing: list[str]):
    for title in ("tasks:", "heads:", "translators:", "recipes:"):
        assert title in listing
    assert line(listing, "sr", "built in").startswith("Single-image super-resolution")
    assert line(listing, "file_task", "built in") == "Restores file_task."
    for kind in KINDS:
        assert line(listing, f"kindly_{kind}", "package kindly 1.2") == f"Restores kindly_{kind}."
    assert line(listing, "smoke", "built in").startswith("Every step of a run in seconds")
    assert line(listing, "kindly_recipe1", "package kindly 1.2") == "Recipe 1 of kindly."


def test_the_list_says_what_cannot_be_used_and_why(listing: list[str]):
    reasons = {
        ("wreck", "built in"): "its module cannot be imported: ModuleNotFoundError",
        ("wreck_head", "package wreckage 1.2"): "cannot be loaded: ModuleNotFoundError",
        ("quits_task", "package wreckage 1.2"): "SystemExit: good bye",
        ("contested_translator", "package kindly 1.2"): "is claimed by",
        ("sr", "package wreckage 1.2"): "the name is that of a built-in",
        ("smoke", "package wreckage 1.2"): "the name is that of a built-in",
        ("lost_recipe", "package wreckage 1.2"): "there is no lost_recipe.yaml in wreckage",
        ("homeless_recipe", "package wreckage 1.2"): "there is no homeless_recipe.yaml",
    }
    for (name, origin), reason in reasons.items():
        said = line(listing, name, origin)
        assert said.startswith("CANNOT BE USED: "), said
        assert reason in said


def test_the_list_shows_options_as_a_recipe_writes_them_and_leaves_a_heads_scale_to_the_task(listing: list[str]):
    start = next(i for i, line in enumerate(listing) if line.startswith("vdsr "))
    assert listing[start + 1 : start + 4] == ["    depth: 20", "    width: 64", "    channels: 3"]
    assert "    lambda_identity: 0.5" in listing
