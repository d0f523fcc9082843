"""Write the pages of the reference that the program itself determines: recipe keys, commands, Python names.

`python docs/reference/reference_pages.py` writes them beside this file, before `zensical build`. Git ignores them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from html import escape
from importlib import import_module
from pathlib import Path
from types import FunctionType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from unpairaug import commands
from unpairaug.recipe import Recipe
from unpairaug.recipe.optimizer_sections import LR_SCHEDULES
from unpairaug.registry import discriminators, heads, losses, tasks, translators

HERE = Path(__file__).resolve().parent
PARTS = [
    ("task.", tasks),
    ("translator.", translators),
    ("task.head.", heads),
    ("task.loss.{}.", losses),
    ("discriminator.", discriminators),
]


def list_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield dotted key and field of all sections of a recipe, recursively."""
    for name, field in model.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel):
            yield from list_fields(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def write_recipe_keys() -> str:
    """One table of the keys of every recipe, and one for each built-in part."""
    meanings = _read_meanings()
    common = {key: text for part, found in meanings.items() if "`" not in part for key, text in found.items()}
    lines = ["# All recipe keys", "", "Generated from the program. [recipes.md](recipes.md) explains the keys.", ""]
    fields = [(key, field) for key, field in list_fields(Recipe) if key not in ("task", "translator")]
    lines += _format_fields(fields, common)
    for part, fields in _list_parts():
        lines += ["", f"## {part}", ""]
        lines += _format_fields(fields, {**common, **meanings.get(part, {})}) if fields else ["No options."]
    return "\n".join(lines) + "\n"


def _list_parts() -> Iterator[tuple[str, list[tuple[str, FieldInfo]]]]:
    """Yield title and options of each built-in part and learning-rate schedule."""
    for prefix, registry in PARTS:
        for name in registry.names():
            if registry.get(name).__module__.startswith(f"{registry.group}."):
                options = registry.options(name, without=["scale"] if registry is heads else [])
                yield f"{registry.kind.title()} `{name}`", list(list_fields(options, prefix.format(name)))
    for name, options in LR_SCHEDULES.items():
        fields = [(key, field) for key, field in list_fields(options, "lr_schedule.") if not key.endswith(".type")]
        yield f"Learning rate `{name}`", fields


def _read_meanings() -> dict[str, dict[str, str]]:
    """What recipes.md says of each key, by heading."""
    sections = re.split(r"^##+ ", (HERE / "recipes.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    rows = re.compile(r"^\| `([\w.]+)` \| .*\| ([^|]*?) ?\|$", re.MULTILINE)
    return {one.partition("\n")[0]: dict(rows.findall(one.replace("](#", "](recipes.md#"))) for one in sections}


def _format_fields(fields: Iterable[tuple[str, FieldInfo]], meanings: dict[str, str]) -> list[str]:
    rows = [
        f"| `{key}` | {_format_field(field)} | {_format_default(field)} | {meanings.get(key, '')} |"
        for key, field in fields
    ]
    return ["| key | type | default | meaning |", "|---|---|---|---|", *rows]


def _format_field(field: FieldInfo) -> str:
    return " ".join([_format_type(field.annotation), *_list_bounds(field.metadata)])


def _format_type(type_: Any) -> str:
    """A type in the words of a recipe."""
    if type_ in WORDS:
        return WORDS[type_]
    origin, inner = get_origin(type_), get_args(type_)
    if origin is Annotated:
        return " ".join([_format_type(inner[0]), *_list_bounds(inner[1:])])
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_format_type, inner)))
    if origin in (tuple, list):
        length = "" if Ellipsis in inner or origin is list else f"{len(inner)} × "
        return f"list of {length}{_format_type(inner[0])}"
    return "section"


def _list_bounds(metadata: Iterable[Any]) -> list[str]:
    nested = [part for one in metadata for part in (one.metadata if isinstance(one, FieldInfo) else [one])]
    return [f"{sign} {getattr(one, key)}" for one in nested for key, sign in SIGNS.items() if hasattr(one, key)]


def _format_default(field: FieldInfo) -> str:
    """The default as a recipe would have it."""
    if field.is_required():
        return "required"
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    text = yaml.safe_dump(default, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
    return f"`{text}`"


WORDS = {int: "whole number", float: "number", str: "text", bool: "`true`, `false`", type(None): "`null`"}
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "multiple of"}


def _code(value: object) -> str:
    """A cell of a table with code; a bar would end the cell."""
    return f"<code>{escape(str(value)).replace('|', '&#124;')}</code>"


def write_commands() -> str:
    """The help of every command."""
    lines = ["# Commands", "", "Generated from the program: what `unpairaug COMMAND --help` prints.", ""]
    commands._add_commands()
    root: Any = typer.main.get_command(commands.app)
    for name, command in sorted(_list_commands(root, "unpairaug")):
        context = command.context_class(command, info_name=name)
        usage = " ".join(command.collect_usage_pieces(context))
        lines += [f"## `{name}`", "", inspect.cleandoc(command.help or ""), "", "```text", f"{name} {usage}", "```", ""]
        rows = [_format_parameter(one, context) for one in command.params if one.name != "help"]
        lines += ["| | default | |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join(lines)


def _list_commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    for key, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _list_commands(command, f"{name} {key}")
        elif not command.hidden:
            yield f"{name} {key}", command


def _format_parameter(parameter: Any, context: Any) -> str:
    name = ", ".join(parameter.opts + parameter.secondary_opts) if parameter.param_type_name == "option" else ""
    default = parameter.get_default(context, call=False)
    shown = "" if default in (None, False, ()) or callable(default) else _code(default)
    text = " ".join((parameter.help or "").split()).replace("|", "\\|")
    return f"| {_code(name or (parameter.metavar or parameter.name).upper())} | {shown} | {text} |"


def write_python() -> str:
    """Signature and docstring of every public name."""
    listed = (HERE.parents[1] / "tests" / "public_api.txt").read_text(encoding="utf-8").split()
    lines = ["# Python names", "", "Generated from the program: signatures and docstrings of all public names.", ""]
    package = ""
    for name in sorted(listed, key=lambda name: name.rpartition(".")[::2]):
        module, _, attribute = name.rpartition(".")
        if module != package:
            package = module
            lines += [f"## `{module}`", ""]
        lines += _describe(attribute, getattr(import_module(module), attribute))
    return "\n".join(lines)


def _describe(name: str, value: Any) -> list[str]:
    lines = [f"### `{name}`", ""]
    is_class, is_section = inspect.isclass(value), hasattr(value, "model_fields")
    if inspect.isroutine(value) or (is_class and not is_section and not issubclass(value, Exception)):
        lines += _format_signature(name, value)
    if not is_class and not inspect.isroutine(value):
        return lines
    lines += _format_docstring(value)
    for method in _list_methods(value) if is_class and not is_section else ():
        member = getattr(value, method)
        lines += _format_signature(f"{name}.{method}", member) if callable(member) else [f"`{name}.{method}`", ""]
        lines += _format_docstring(inspect.getattr_static(value, method))
    return lines


def _list_methods(class_: Any) -> list[str]:
    """Public methods and properties with a docstring that the class or a base class of this program defines."""
    own = [base for base in reversed(class_.__mro__) if base.__module__.startswith("unpairaug")]
    found = {name: member for base in own for name, member in vars(base).items() if name[0] != "_"}
    return [
        name
        for name, member in found.items()
        if isinstance(member, (FunctionType, classmethod, staticmethod, property)) and member.__doc__
    ]


def _format_signature(name: str, value: Any) -> list[str]:
    signature = re.sub(r"(?<=: |> )'([^']*)'", r"\1", str(inspect.signature(value)))  # annotations without quotes
    return ["```python", f"{name}{signature}", "```", ""]


def _format_docstring(value: Any) -> list[str]:
    """A docstring as Markdown: its sections become bold words, their entries a list."""
    text = inspect.getdoc(value) or ""
    text = re.sub(r"^(Args|Returns|Raises|Yields|Attributes):$", r"**\1**\n", text, flags=re.MULTILINE)
    text = re.sub(r"^    ([\w*. ]+): ", r"- `\1`: ", text, flags=re.MULTILINE)
    return [re.sub(r"^    (?=\w)", "- ", text, flags=re.MULTILINE), ""] if text else []


PAGES: dict[str, Callable[[], str]] = {
    "recipe_keys.md": write_recipe_keys,
    "commands.md": write_commands,
    "python.md": write_python,
}
"""What writes each generated page."""


def main() -> None:
    """Write all pages."""
    for name, write in PAGES.items():
        (HERE / name).write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()
