"""A loss as data: named terms, each a weight, or a section with `weight`, `type` and options."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from unpairaug.errors import UserError
from unpairaug.registry.options import COMPONENT_KEY, Mistake, format_value, mistakes, validation_error

MAX_TERMS = 50
"""Of a loss; more are no loss of anybody's, and to look for each takes time."""


@dataclass(frozen=True)
class Terms:
    """Marks an annotation: the value describes a weighted sum of components of a registry, each under a name."""

    registry: Any
    """Where the components are found."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {COMPONENT_KEY: "terms"}

    def check(self, value: Any) -> dict[str, dict[str, Any]]:
        """The complete spec of every term, by name: `type`, `weight`, and the options.

        Raises:
            ValidationError: a term is wrong, or no term counts.
        """
        terms, wrong = {}, []
        for name, given in as_terms(value).items():
            try:
                terms[name] = self.term(name, given)
            except ValidationError as error:
                wrong += [Mistake((name, *path), said) for path, said in mistakes(error, given)]
        if not wrong and not any(term["weight"] for term in terms.values()):
            wrong = [Mistake((), f"given {format_value(value)}, should have a term whose weight is above 0")]
        if wrong:
            raise validation_error(*wrong)
        return terms

    def term(self, name: str, given: Any) -> dict[str, Any]:
        """The complete spec of one term, given as its weight or as a section; without a type, its name is its type."""
        spec = {"type": name, **(given if isinstance(given, dict) else {"weight": given})}
        if not re.fullmatch(r"\w+", name):
            raise validation_error(
                Mistake((), f"a term's name is one word, as in edge: {{type: {spec['type']!r}, weight: 0.1}}")
            )
        weight = spec.pop("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < inf:
            place = ("weight",) if isinstance(given, dict) else ()
            raise validation_error(
                Mistake(place, f"given {format_value(weight)}, should be the term's weight, a number of 0 or more")
            )
        try:
            complete = self.registry.complete(spec)
        except UserError as error:
            place = ("type",) if isinstance(given, dict) and "type" in given else ()
            raise validation_error(Mistake(place, str(error))) from error
        if self._has_name_of_another(name, complete["type"]):
            said = f"{name!r} is another loss; give the term a name of its own, own_{name}: {{type: {spec['type']!r}}}"
            raise validation_error(Mistake(("type",), said))
        return {"type": complete.pop("type"), "weight": float(weight), **complete}

    def _has_name_of_another(self, name: str, type: str) -> bool:
        """Whether the term has the name of another loss, which would mislead in logs and overrides."""
        if name == type or name not in self.registry.names():
            return False
        with suppress(UserError):  # a plug-in of that name that cannot be loaded does not count
            return self.registry.get(name) is not self.registry.get(type)
        return False


def as_terms(given: Any) -> dict[str, Any]:
    """The terms of a loss; a name alone is its one term, of weight 1.

    Raises:
        ValidationError: it is neither a name nor a section.
    """
    if isinstance(given, str):
        return {given.rpartition(":")[2]: {"type": given, "weight": 1.0}}
    if not isinstance(given, dict):
        said = "should be a loss, or a section of losses and their weights, as in {l1: 1.0, ssim: 0.1}"
        raise validation_error(Mistake((), f"given {format_value(given)}, {said}"))
    if len(given) > MAX_TERMS:
        raise validation_error(Mistake((), f"given {len(given)} terms, should be at most {MAX_TERMS}"))
    return dict(given)
