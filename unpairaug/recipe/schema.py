"""The JSON schema of recipes, for editors that complete and check, and for other programs.

It covers names and types: sections, keys, and the options of every component by its type. What contradicts or is
missing, `load_recipe` reports. A recipe with a `base` may leave out anything.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from unpairaug.errors import UserError
from unpairaug.recipe.optimizer_sections import LR_SCHEDULES, optimizer_options
from unpairaug.recipe.recipe import Recipe
from unpairaug.recipe.recipe_file import BASE
from unpairaug.recipe.translator_section import LEARNS, MEASURE, MEASURES, START, TRUST
from unpairaug.registry.options import COMPONENT_KEY
from unpairaug.registry.registry import Registry, discriminators, heads, losses, tasks, translators

FILE = "recipe.schema.json"
"""The schema of the components that come with unpairaug, beside the bundled recipes, whose first lines name it."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"
REGISTRIES: tuple[Registry[Any], ...] = (tasks, translators, heads, losses, discriminators)
Schema = dict[str, Any]

_OF_CODE = {"type": "string", "pattern": ":", "description": "A class of your own, as module:Class."}
_OWN_CLASS = {"type": "object", "properties": {"type": _OF_CODE}, "required": ["type"]}
_NULL = {"type": "null"}
_BESIDE_TRANSLATOR: Schema = {
    START: {"type": ["string", "null"], "description": "Run folder or hub id of a trained translator to start from."},
    LEARNS: {"type": "boolean", "description": "Whether a translator given by `from` is trained further."},
    TRUST: {"type": "boolean", "description": "Whether `module:Class` names of that folder are imported."},
    MEASURE: {"enum": [*MEASURES, None], "description": "What of the camera is measured before training."},
}


class _Generator(GenerateJsonSchema):
    """Leaves out defaults that are no JSON; an annotation that JSON schema cannot express accepts anything."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}


def recipe_schema(origins: Collection[str] | None = None) -> Schema:
    """The schema of recipes, with the components that are built in, registered here, or of installed packages.

    Args:
        origins: where components may come from, such as `built in`; None includes all.
    """
    definitions: Schema = {}
    root = _expand(Recipe.model_json_schema(schema_generator=_Generator), definitions)
    for registry in REGISTRIES:
        definitions[registry.kind] = _component(registry, definitions, origins)
    definitions["terms"] = _terms(definitions, origins)
    definitions["lr_schedule"] = _lr_schedule(definitions)
    options = _optimizer_options()
    for name in ("NetworkOptimizer", "HeadOptimizer"):
        definitions[name] = _optimizer(definitions[name], options)
    del definitions["LrSchedule"]
    required = [name for name in root.pop("required") if name != "output_dir"]  # which has the name of the file
    root["properties"][BASE] = {"type": "string", "description": "The recipe below: a bundled name, or a path."}
    needed = {name: {"required": definitions[section].pop("required")} for name, section in _NEEDED.items()}
    return {
        "$schema": DIALECT,
        "title": "Recipe of unpairaug",
        **root,
        "if": {"required": [BASE]},
        "else": {"required": required, "properties": needed},
        "$defs": dict(sorted(definitions.items())),
    }


def to_json(schema: Schema) -> str:
    """The schema as the text of a file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


_NEEDED = {"data": "DataSection", "train": "TrainSection"}
"""Sections with keys that have no default, which a recipe without a base must give."""


def _expand(schema: Schema, definitions: Schema) -> Schema:
    """The schema with references for its components; its own definitions move to `definitions`."""
    for name, inner in schema.pop("$defs", {}).items():
        definitions[name] = _replace({**inner, "type": ["object", "null"]} if inner.get("type") == "object" else inner)
    return _replace(schema)


def _replace(schema: Any) -> Any:
    """The schema with references for the markers of components, and without pydantic's titles."""
    if isinstance(schema, list):
        return [_replace(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if kind := schema.get(COMPONENT_KEY):
        kept = {key: value for key, value in schema.items() if key == "description"}
        return {**kept, "$ref": f"#/$defs/{kind}"}
    return {key: _replace(value) for key, value in schema.items() if key != "title" or isinstance(value, dict)}


def _component(registry: Registry[Any], definitions: Schema, origins: Collection[str] | None) -> Schema:
    """A component: its name alone, or a section with `type` and the options of that class, or options of a base's."""
    beside = _BESIDE_TRANSLATOR if registry.kind == "translator" else {}
    variants, options = [], {}
    for name, description, own in _classes(registry, definitions, origins):
        known = {**own["properties"], **beside}
        for key, value in known.items():
            options.setdefault(key, []).append(value)
        variants.append(_section(known, name, description, own["additionalProperties"]))
    names = {"enum": [variant["properties"]["type"]["const"] for variant in variants]}
    of_base = {key: _any_of(found) for key, found in options.items()}
    untyped = {"type": "object", "properties": of_base, "additionalProperties": False}
    return {"anyOf": [{"type": "string", **names}, _OF_CODE, *variants, untyped, _OWN_CLASS, _NULL]}


def _section(properties: Schema, name: str, description: str, is_open: bool) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": {"type": {"const": name}, **properties},
        "required": ["type"],
        "additionalProperties": is_open,
    }


def _classes(
    registry: Registry[Any], definitions: Schema, origins: Collection[str] | None
) -> Iterator[tuple[str, str, Schema]]:
    """Name, first line of the docstring, and schema of the options of every class that can be used."""
    for entry in registry.entries():
        if entry.cls is None or (origins is not None and entry.origin not in origins):
            continue
        try:
            model = registry.options(entry.name, without=["scale"] if registry.kind == "head" else [])
        except UserError:
            continue  # its signature cannot be read: `load_recipe` says so, and `unpairaug list` too
        schema = _expand(model.model_json_schema(schema_generator=_Generator), definitions)
        schema.setdefault("properties", {})
        schema["additionalProperties"] = schema.get("additionalProperties", False) is not False
        yield entry.name, (entry.cls.__doc__ or "").strip().partition("\n")[0], schema


def _terms(definitions: Schema, origins: Collection[str] | None) -> Schema:
    """A loss: a name, or a section of terms, each a weight or a section; without `type`, a term's name is its type."""
    weight = {"type": "number", "minimum": 0, "description": "Weight of the term."}
    by_name, typed = {}, []
    for name, description, own in _classes(losses, definitions, origins):
        section = _section({"weight": weight, **own["properties"]}, name, description, own["additionalProperties"])
        typed.append(section)
        by_name[name] = {"anyOf": [weight, {key: value for key, value in section.items() if key != "required"}]}
    any_term = {"anyOf": [weight, *typed, _OWN_CLASS, {"not": {"required": ["type"]}}]}
    terms = {"type": "object", "properties": by_name, "additionalProperties": any_term}
    return {"anyOf": [{"type": "string", "enum": [*by_name]}, _OF_CODE, terms, _NULL]}


def _lr_schedule(definitions: Schema) -> Schema:
    """The course of a learning rate: a name, or a section."""
    variants = []
    for name, cls in LR_SCHEDULES.items():
        own = _expand(cls.model_json_schema(schema_generator=_Generator), definitions)
        properties = {key: value for key, value in own["properties"].items() if key != "type"}
        variants.append(_section(properties, name, own["description"], is_open=False))
    return {"anyOf": [{"enum": [*LR_SCHEDULES]}, *variants, _NULL]}


def _optimizer(section: Schema, options: Schema) -> Schema:
    """An optimiser: a name, or a section, whose further keys are options of one optimiser at least."""
    properties = {**options, **section["properties"], "lr_schedule": {"$ref": "#/$defs/lr_schedule"}}
    return {"anyOf": [{"type": "string"}, {**section, "properties": properties, "additionalProperties": False}]}


def _optimizer_options() -> Schema:
    """The options of every optimiser that can be used here."""
    from timm.optim import list_optimizers  # pyright: ignore[reportPrivateImportUsage]  # timm marks no exports

    options: dict[str, list[Schema]] = {}
    for name in ("adam", *map(str, list_optimizers())):
        try:
            model = optimizer_options(name)
        except (ImportError, AssertionError):
            continue
        for key, value in _replace(model.model_json_schema(schema_generator=_Generator)).get("properties", {}).items():
            value.pop("default", None)
            options.setdefault(key, []).append(value)
    return {key: _any_of(found) for key, found in sorted(options.items())}


def _any_of(schemas: list[Schema]) -> Schema:
    """A schema that accepts what one of them does."""
    different = [schema for i, schema in enumerate(schemas) if schema not in schemas[:i]]
    return different[0] if len(different) == 1 else {"anyOf": different}
