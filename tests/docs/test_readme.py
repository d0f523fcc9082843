"""Everything that the README and the guides name exists: commands, recipes, overrides, recipe keys, files, links."""

import re
import shlex
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from shutil import copytree

import pytest
from order_of_packages import ORDER
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import reference_pages
from unpairaug.commands import main
from unpairaug.recipe import Recipe, load_recipe
from unpairaug.recipe.optimizer_sections import LR_SCHEDULES
from unpairaug.recipe.renamed import RENAMED
from unpairaug.recipe.yaml_file import parse
from unpairaug.registry import Registry, discriminators, heads, losses, tasks, translators

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
PAGES = [path for path in PAGES if path.name not in reference_pages.PAGES]
page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


def find_blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def find_commands(path: Path) -> list[list[str]]:
    """The words of every command of a page; a backslash joins lines, a comment is dropped."""
    lines = [line for block in find_blocks(path, "bash") for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def read_section(path: Path, heading: str) -> str:
    """The text below a heading of the second level, up to the next."""
    return path.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def training_arguments(words: list[str]) -> list[str] | None:
    """Recipe and overrides of a command that trains or checks, without options; None for other commands."""
    for start in (["-m", "unpairaug.run"], *(["unpairaug", name] for name in ("train", "check", "compare"))):
        for i in range(len(words)):
            if words[i : i + 2] == start:
                return list(takewhile(lambda word: not word.startswith("-"), words[i + 2 :]))
    return None


@pytest.fixture
def folder_of_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a reader of the README: the recipes of a clone, and the modules that the README shows."""
    copytree(ROOT / "recipes", tmp_path / "recipes")
    for block in find_blocks(ROOT / "README.md", "python"):
        if name := re.match(r"# (\w+\.py)\n", block):
            (tmp_path / name[1]).write_text(block, encoding="utf-8")
            monkeypatch.delitem(sys.modules, name[1].removesuffix(".py"), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "RealESRGAN_x2plus.pth").touch()  # a checkpoint that a page fine-tunes
    return tmp_path


def test_the_first_command_after_the_installation_trains():
    install, train = find_commands(ROOT / "README.md")[:2]
    assert install == ["pip", "install", "-e", "."]
    assert train == ["accelerate", "launch", "-m", "unpairaug.run", "recipes/cyclesr_sr.yaml"]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_ci_installs_and_tests_with_the_commands_of_contributing():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    shown = [words for words in find_commands(ROOT / "CONTRIBUTING.md") if words[0] in ("pip", "pytest")]
    run = [
        shlex.split(line.replace("check ", "", 1)) for line in script.splitlines() if "pip" in line or "pytest" in line
    ]
    assert shown and all(words in run for words in shown)


@page
def test_every_command_and_option_a_page_names_exists(path: Path, monkeypatch: pytest.MonkeyPatch):
    for words in find_commands(path):
        if "unpairaug" in words:  # alone, or after `accelerate launch -m`
            command = words[words.index("unpairaug") :]
            monkeypatch.setattr(sys, "argv", [*command, "--help"])  # parses the command without running it
            with pytest.raises(SystemExit) as end:
                main()
            assert end.value.code == 0, shlex.join(words)


@pytest.mark.parametrize("path", [page for page in PAGES if not page.stem.startswith("add_a_")], ids=lambda p: p.name)
def test_every_recipe_and_override_a_page_shows_loads(path: Path, folder_of_a_reader: Path):
    # Tutorials write their own recipes; tests/docs/test_tutorials.py runs them.
    for words in find_commands(path):
        if (arguments := training_arguments(words)) and arguments[0] != "RECIPE":
            load_recipe(arguments[0], arguments[1:])


def test_the_head_that_the_readme_writes_restores_an_image(folder_of_a_reader: Path):
    import torch

    task = tasks.build({"type": "sr", "scale": 3, "head": {"type": "my_heads:SmallNet", "width": 8}})
    assert task(torch.rand(1, 3, 9, 10)).shape == (1, 3, 27, 30)


def read_prose(path: Path) -> str:
    """The text of a page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def heading_anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", read_prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@page
def test_every_link_of_a_page_leads_to_a_file_and_to_a_heading_of_it(path: Path):
    links = re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", read_prose(path))
    for name, anchor in [link for link in links if "://" not in link[0]]:
        target = path.parent / name if name else path
        assert target.exists() or target.name in reference_pages.PAGES, name
        assert not anchor or anchor in heading_anchors(target), f"{name}#{anchor}"


def test_the_tree_of_contributing_lists_every_package_and_module_of_the_root_in_the_order_of_imports():
    tree = (
        read_section(ROOT / "CONTRIBUTING.md", "Where a change belongs").partition("```text\n")[2].partition("```")[0]
    )
    listed = [line.split()[0].strip("/").removesuffix(".py") for line in tree.splitlines() if line.startswith("  ")]
    present = {path.parent.name for path in (ROOT / "unpairaug").glob("*/__init__.py")}
    present |= {path.stem for path in (ROOT / "unpairaug").glob("*.py") if path.name != "__init__.py"}
    assert listed == [name for name in ORDER if name != "tasks"] and {*listed} == present


def read_reference(text: str) -> dict[str, str]:
    """Default of each key in the tables of a text."""
    return dict(re.findall(r"^\| `([\w.]+)` \| (.*?) ?\|", text, re.MULTILINE))


def iterate_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Dotted key and field of all sections of a recipe, recursively."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from iterate_fields(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def assert_same_keys_and_defaults(documented: dict[str, str], known: dict[str, FieldInfo]) -> None:
    assert documented.keys() == known.keys()
    for key, field in known.items():
        if not field.is_required():
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert parse(f"value: {documented[key]}", key).values["value"] == default, key


def test_the_recipe_reference_has_every_key_with_its_default_and_no_other():
    sections = (ROOT / "docs" / "reference" / "recipes.md").read_text(encoding="utf-8").split("\n## ")
    documented = read_reference(
        "\n## ".join(s for s in sections if not s.startswith(("Task", "Translator", "Learning rates")))
    )
    assert_same_keys_and_defaults(
        documented, {key: field for key, field in iterate_fields(Recipe) if key not in ("task", "translator")}
    )


def test_the_recipe_reference_has_every_option_of_every_learning_rate_schedule_and_no_other():
    rows = read_reference(read_section(ROOT / "docs" / "reference" / "recipes.md", "Learning rates"))
    assert rows.pop("lr_schedule.type") == ""
    known = [dict(iterate_fields(kind, "lr_schedule.")) for kind in LR_SCHEDULES.values()]
    assert_same_keys_and_defaults(
        rows, {key: field for options in known for key, field in options.items() if not key.endswith(".type")}
    )


@pytest.mark.parametrize(
    ("registry", "prefix"),
    [
        (tasks, "task."),
        (translators, "translator."),
        (heads, "task.head."),
        (losses, "task.loss.{}."),
        (discriminators, "discriminator."),
    ],
)
def test_the_recipe_reference_has_every_built_in_component_and_its_options(registry: Registry, prefix: str):
    text = (ROOT / "docs" / "reference" / "recipes.md").read_text(encoding="utf-8")
    for name in registry.names():
        if registry.get(name).__module__.startswith(f"{registry.group}."):
            table = re.split(r"\n##+ ", text.partition(f"\n### {registry.kind.title()} `{name}`\n")[2])[0]
            options = registry.options(name, without=["scale"] if registry is heads else []).model_fields
            assert_same_keys_and_defaults(
                read_reference(table), {prefix.format(name) + key: field for key, field in options.items()}
            )


def test_the_recipe_reference_lists_every_built_in_loss_and_shows_a_section_that_can_be_built():
    page = ROOT / "docs" / "reference" / "recipes.md"
    text = page.read_text(encoding="utf-8").partition("\n### Losses\n")[2].partition("\n### ")[0]
    built_in = {name for name in losses.names() if losses.get(name).__module__.startswith(f"{losses.group}.")}
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == built_in
    (section,) = (block for block in find_blocks(page, "yaml") if "perceptual" in block)
    shown = parse(section, "docs/reference/recipes.md").values["task"]["loss"]
    assert all(tasks.complete({"type": "sr", "loss": {name: shown[name]}}) for name in shown if name != "edges")


def test_the_glossary_lists_every_renamed_recipe_key_and_no_other():
    table = read_section(ROOT / "docs" / "reference" / "glossary.md", "Names of earlier versions")
    rows = re.findall(r"^\| `([\w.]+).*?` \| `([\w.]+).* \| recipe key \|$", table, re.MULTILINE)
    assert dict(rows) == {old: new.key for old, new in RENAMED.items()}
