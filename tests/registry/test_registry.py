"""Names to classes, and constructors to checked options."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError
from torch import nn

from unpairaug.errors import UserError
from unpairaug.registry import HeadSpec, Registry, heads, registry as registry_module, tasks
from unpairaug.registry.source_text import read_builtins
from unpairaug.task import Task


@heads.register("toy_head")
class ToyHead(nn.Module):
    def __init__(self, scale: int, depth: Annotated[int, Field(ge=3)] = 20, sizes: tuple[int, ...] = (1, 2)) -> None:
        super().__init__()
        self.scale, self.depth, self.sizes = scale, depth, sizes


@heads.register("toy_plain_head")
class ToyPlainHead(nn.Module):
    def __init__(self, norm: Literal["batch", "none"] | None = "batch", slope: float = 0.1, bias: bool = True) -> None:
        super().__init__()
        self.norm, self.slope, self.bias = norm, slope, bias


@tasks.register("toy_task")
class ToyTask(Task):
    def __init__(self, scale: int = 4, head: HeadSpec = "toy_head") -> None:
        super().__init__(scale, head)


class Open:
    def __init__(self, width: int = 1, **options: Any) -> None:
        self.options = {"width": width, **options}


class Passing:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...


@pytest.fixture
def toys() -> Registry[Any]:
    """A registry without built-in modules."""
    toys: Registry[Any] = Registry("toy")
    toys.register("ball")(ToyPlainHead)
    toys.register("kite")(Open)
    toys.register("passing")(Passing)
    return toys


def test_a_registered_class_is_found_by_its_name_and_knows_it(toys: Registry[Any]):
    assert toys.get("kite") is Open
    assert toys.names() == ["ball", "kite", "passing"]


def test_another_class_under_a_known_name_is_refused_but_a_new_definition_of_the_same_is_not(toys: Registry[Any]):
    with pytest.raises(ValueError, match="already"):
        toys.register("ball")(Open)
    again = type("Open", (), {"__module__": Open.__module__, "__qualname__": Open.__qualname__})
    assert toys.register("kite")(again) is toys.get("kite")


def test_an_unknown_name_tells_the_nearest_and_all_others(toys: Registry[Any]):
    with pytest.raises(UserError, match=r"no toy is called 'bal'; did you mean 'ball'\? Known: ball, kite, passing"):
        toys.get("bal")


def test_a_file_of_weights_as_a_head_gets_the_head_that_opens_it():
    with pytest.raises(UserError, match=r"give \{type: spandrel, checkpoint: x4plus\.pth\}$"):
        registry_module.heads.get("x4plus.pth")


@pytest.mark.parametrize("kinds", ["tasks", "translators", "heads", "losses", "discriminators"])
def test_every_name_leads_to_a_class_whose_options_can_be_read(kinds: str):
    registry: Registry[Any] = getattr(registry_module, kinds)
    assert registry.group == f"unpairaug.{kinds}"
    for name in registry.names():
        assert isinstance(registry.get(name), type)
        registry.options(name)


@pytest.mark.parametrize("kinds", ["tasks", "translators", "heads", "losses", "discriminators"])
def test_every_built_in_class_registers_itself_with_the_decorator_and_is_found_by_the_scan(kinds: str):
    registry: Registry[Any] = getattr(registry_module, kinds)
    package = import_module(registry.group)
    text = "".join(file.read_text(encoding="utf-8") for file in sorted(Path(package.__path__[0]).glob("*.py")))
    decorated = re.findall(rf'^@register_{registry.kind}\("(\w+)"\)\nclass', text, re.MULTILINE)
    built_in = [entry.name for entry in registry.entries() if entry.origin == "built in"]
    assert sorted(decorated) == built_in and built_in


@pytest.mark.parametrize("kinds", ["tasks", "translators", "heads", "losses", "discriminators"])
def test_the_source_of_a_built_in_class_says_what_its_import_does(kinds: str):
    registry: Registry[Any] = getattr(registry_module, kinds)
    imported, read = ({entry.name: entry for entry in some} for some in (registry.entries(), registry.read_entries()))
    built_in = [name for name, entry in imported.items() if entry.origin == "built in"]
    assert built_in == [name for name, entry in read.items() if entry.origin == "built in"]
    for name in built_in:
        assert inspect.cleandoc(imported[name].doc) == inspect.cleandoc(read[name].doc) != ""


def test_a_built_in_module_that_is_no_python_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "unreadable_toys").mkdir()
    (tmp_path / "unreadable_toys" / "torn.py").write_text("class Torn(")
    monkeypatch.syspath_prepend(tmp_path)
    assert read_builtins("unreadable_toys")["torn"].fault.startswith("its module is no Python: SyntaxError")


def test_a_class_of_a_module_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_toys_of_the_day.py").write_text(
        "from torch import nn\n"
        "class Top(nn.Module):\n    def __init__(self, spin: int = 1):\n"
        "        super().__init__()\n        self.spin = spin\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    assert heads.build({"type": "my_toys_of_the_day:Top", "spin": 3}).spin == 3
    with pytest.raises(UserError, match="no class 'Tip'; did you mean 'Top'"):
        heads.get("my_toys_of_the_day:Tip")


def test_a_module_that_is_missing_or_broken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_broken_toys.py").write_text("import a_package_nobody_wrote\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="module 'no_such_toys' cannot be imported"):
        heads.get("no_such_toys:Top")
    with pytest.raises(UserError, match=r"my_broken_toys:Top.*No module named 'a_package_nobody_wrote'"):
        heads.get("my_broken_toys:Top")


def test_a_component_is_built_with_its_options_and_built_again_from_its_config():
    task = tasks.build({"type": "toy_task", "scale": 2, "head": {"type": "toy_head", "depth": 5, "sizes": [7]}})
    assert (task.head.scale, task.head.depth, task.head.sizes) == (2, 5, (7,))
    assert task.config == {"type": "toy_task", "scale": 2, "head": {"type": "toy_head", "depth": 5, "sizes": (7,)}}
    assert tasks.build(task.config).config == task.config
    assert heads.build(task.head.config).config == task.head.config


def test_a_name_alone_is_a_component_with_its_defaults():
    assert tasks.build("toy_task").config == tasks.build({"type": "toy_task"}).config
    assert tasks.build("toy_task").head.scale == 4


def test_options_without_a_type_belong_to_the_default_component():
    assert tasks.build({"type": "toy_task", "head": {"depth": 6}}).head.depth == 6


def test_what_is_offered_reaches_only_a_constructor_that_takes_it_and_cannot_be_contradicted():
    assert heads.build("toy_head", scale=3).scale == 3
    assert "scale" not in heads.build("toy_plain_head", scale=3).config
    with pytest.raises(UserError, match="scale: given 2, but what holds this head has 3"):
        heads.build({"type": "toy_head", "scale": 2}, scale=3)
    with pytest.raises(UserError, match=r"head\.scale: given 2"):
        tasks.build({"type": "toy_task", "scale": 3, "head": {"type": "toy_head", "scale": 2}})


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("slope", True, "given true, should be a number"),
        ("slope", "0.1", "given '0.1', should be a number"),
        ("slope", float("nan"), "finite"),
        ("bias", 1, "given 1, should be true or false"),
        ("bias", "true", "given 'true', should be true or false"),
        ("norm", "bach", "did you mean 'batch'"),
        ("slpe", 0.1, "unknown key; did you mean 'slope'"),
    ],
)
def test_an_option_of_the_wrong_type_is_refused(toys: Registry[Any], option: str, value: Any, sentence: str):
    with pytest.raises(UserError, match=f"^toy 'ball': {option}: .*{sentence}"):
        toys.build({"type": "ball", option: value})


@pytest.mark.parametrize(
    ("value", "is_good"), [(3, True), (3.0, True), (3.5, False), ("3", False), (True, False), (2, False)]
)
def test_a_whole_number_may_be_written_as_1e1_but_not_as_text_and_keeps_its_bounds(value: Any, is_good: bool):
    if is_good:
        assert type(heads.build({"type": "toy_head", "depth": value}, scale=1).depth) is int
    else:
        with pytest.raises(UserError, match="depth"):
            heads.build({"type": "toy_head", "depth": value}, scale=1)


def test_none_is_an_option_where_the_annotation_says_so(toys: Registry[Any]):
    assert toys.build({"type": "ball", "norm": None}).norm is None


def test_a_constructor_with_open_options_takes_any_key_and_one_that_only_passes_on_takes_none(toys: Registry[Any]):
    assert toys.build({"type": "kite", "tail": [1, 2]}).options == {"width": 1, "tail": [1, 2]}
    with pytest.raises(UserError, match=r"^toy 'kite': tail\.1\.a: given inf, should be a finite number"):
        toys.build({"type": "kite", "tail": [1, {"a": float("inf")}]})
    with pytest.raises(UserError, match="tail: unknown key"):
        toys.build({"type": "passing", "tail": 1})


@pytest.mark.parametrize(("spec", "sentence"), [({}, "type: required"), ({"type": 3}, "type: given 3"), (3, "given 3")])
def test_a_spec_without_a_name_is_refused(spec: Any, sentence: str):
    with pytest.raises(UserError, match=sentence):
        tasks.build(spec)


def test_the_options_of_a_name_are_a_pydantic_model():
    model = tasks.options("toy_task")
    assert list(model.model_fields) == ["scale", "head"]
    assert model().scale == 4
    with pytest.raises(ValidationError):
        model(scale="four")


def test_a_class_of_another_kind_is_refused_before_it_is_called():
    """Registered in the process, or of a module: only a subclass of the kind's base is called."""

    @heads.register("toy_misfit")
    class Misfit:
        def __init__(self) -> None:
            raise AssertionError("nobody may call it")

    for name in ("toy_misfit", "subprocess:Popen"):
        with pytest.raises(UserError, match=rf"head '{name}': .* is no head; derive it from torch\.nn\.Module"):
            heads.build(name)
    del heads._classes["toy_misfit"]
