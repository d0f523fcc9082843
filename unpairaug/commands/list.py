"""`unpairaug list`: the components and recipes that are available."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unpairaug.commands.output import Json, print_result, write_result

if TYPE_CHECKING:
    from unpairaug.registry import Registry
    from unpairaug.registry.plugins import Entry


class Kind(str, Enum):
    """Kinds of components, and recipes."""

    TASKS = "tasks"
    HEADS = "heads"
    TRANSLATORS = "translators"
    LOSSES = "losses"
    DISCRIMINATORS = "discriminators"
    RECIPES = "recipes"


def list_known(
    kind: Annotated[
        Kind | None, typer.Argument(metavar=f"[{'|'.join(kind.value for kind in Kind)}]", help="One kind.")
    ] = None,
    options: Annotated[bool, typer.Option("--options", help="Also every option and its default.")] = False,
    json: Json = None,
) -> None:
    """List what a recipe can name: built in, or of an installed package. Without KIND, everything.

    One line each: name, origin, description. What cannot be used is listed with the reason. Built-in modules are
    imported with --options only.

    Example: unpairaug list heads --options
    """
    found = {}
    for wanted in [kind] if kind else Kind:
        if not kind:
            print_result(f"{wanted.value}:", json)
        lines = _recipes() if wanted is Kind.RECIPES else _components(wanted.value, options)
        found[wanted.value] = list(lines)
        print_result("\n".join(_align_columns(found[wanted.value])) + ("" if kind else "\n"), json)
    keys = ("name", "origin", "description", "options")
    write_result({name: [dict(zip(keys, line, strict=True)) for line in of] for name, of in found.items()}, json)


Line = tuple[str, str, str, list[str]]
"""Name, origin, description, and lines below it."""


def _components(kind: str, options: bool) -> Iterator[Line]:
    from unpairaug.registry import registry

    known: Registry[Any] = getattr(registry, kind)
    for entry in known.entries() if options else known.read_entries():
        below = _options(known, entry) if options and entry.cls else []
        yield entry.name, entry.origin, _describe(entry), below


def _describe(entry: Entry) -> str:
    return f"CANNOT BE USED: {entry.fault}" if entry.fault else first_sentence(entry.doc)


def _options(known: Registry[Any], entry: Entry) -> list[str]:
    """The options of a class as in a recipe; a head takes its scale from the task."""
    import json

    from unpairaug.errors import UserError

    try:
        fields = known.options(entry.name, without=["scale"] if known.kind == "head" else []).model_fields
    except UserError as error:
        return [str(error)]
    defaults = {name: "(required)" if field.is_required() else field.default for name, field in fields.items()}
    # JSON is YAML on one line; a word needs no quotes.
    return [f"{name}: {value if isinstance(value, str) else json.dumps(value)}" for name, value in defaults.items()]


def _recipes() -> Iterator[Line]:
    from unpairaug.recipe import bundled_recipes, plugin_recipes
    from unpairaug.registry.plugins import package_of, plugins

    bundled, found = bundled_recipes(), plugin_recipes()
    for name, path in bundled.items():
        yield name, "built in", _first_comment_sentence(path.read_text(encoding="utf-8")), []
    for name, claims in sorted(plugins("unpairaug.recipes").items()):
        for plugin in claims:
            if name in bundled:
                said = "CANNOT BE USED: the name is that of a built-in"
            elif len(claims) > 1:
                said = "CANNOT BE USED: several packages claim the name"
            elif name not in found:
                said = f"CANNOT BE USED: there is no {name}.yaml in {plugin.value}"
            else:
                said = _first_comment_sentence(found[name].read_text(encoding="utf-8"))
            yield name, package_of(plugin), said, []


def _first_comment_sentence(recipe: str) -> str:
    """The first sentence of the comment at the start of a recipe."""
    lines = [line for line in recipe.splitlines() if not line.startswith("# yaml-language-server:")]
    end = next((i for i, line in enumerate(lines) if not line.startswith("# ")), len(lines))
    return first_sentence("\n".join(line[2:] for line in lines[:end]))


def first_sentence(text: str) -> str:
    """The first sentence of a text, on one line."""
    import re

    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    whole = re.match(r".*?(?<!et al)[.!?](?= [A-Z`]|$)", paragraph)
    return whole[0] if whole else paragraph


def _align_columns(lines: list[Line]) -> Iterator[str]:
    """Names and origins in columns, lines below an entry indented."""
    names = max((len(name) for name, *_ in lines), default=0)
    origins = max((len(origin) for _, origin, *_ in lines), default=0)
    for name, origin, sentence, below in lines:
        yield f"{name:<{names}}  {origin:<{origins}}  {sentence}".rstrip()
        yield from (f"    {line}" for line in below)
