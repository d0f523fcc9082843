"""The recipe's `translator` section: one that is trained from nothing, or a trained one, further or as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from unpairaug.errors import UserError
from unpairaug.registry.options import Mistake, format_value, validation_error
from unpairaug.registry.registry import Spec, translators

START, LEARNS, MEASURE = "from", "train", "measure"
"""Keys beside the class's own options: a trained translator's folder or hub id, whether it learns on, and
what of the camera is measured before training."""
MEASURES = ("all", "noise", "none")
"""Optics, noise and JPEG files; noise and JPEG files, where both image sets have the same optics; nothing."""


@dataclass(frozen=True)
class Described:
    """Marks the annotation of the section: `type` and the options of that class, or `from`, or both."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.check)

    def check(self, value: Any, info: ValidationInfo) -> Spec:
        """The complete spec; with `from`, what is not given is as the trained translator has it.

        Raises:
            ValidationError: an option is wrong, or there is no trained translator of that name.
        """
        given = dict(value) if isinstance(value, dict) else {"type": value} if value is not None else {}
        start, learns, measure = given.pop(START, None), given.pop(LEARNS, True), given.pop(MEASURE, None)
        if measure not in (None, *MEASURES):
            raise validation_error(Mistake((MEASURE,), f"given {format_value(measure)}, should be all, noise or none"))
        if not isinstance(learns, bool):
            raise validation_error(Mistake((LEARNS,), f"given {format_value(learns)}, should be true or false"))
        if start is None and not learns:
            raise validation_error(Mistake((LEARNS,), "false wants a trained translator; give one as translator.from"))
        if start is not None:
            given = {**_trained(start, given.get("type")), **given}
            measure = given.pop(MEASURE, None) if measure is None else measure
        scale = info.data.get("task", {}).get("scale", 1)
        spec = self._complete(given, {"scale": scale})
        spec[MEASURE] = (
            getattr(translators.get(spec["type"]), "default_measure", "none") if measure is None else measure
        )
        return spec if start is None else {**spec, START: start, LEARNS: learns}

    def _complete(self, given: Spec, offered: Spec) -> Spec:
        try:
            return translators.complete(given, offered)
        except UserError as error:
            raise validation_error(Mistake(("type",), str(error))) from error


TranslatorSpec = Annotated[Spec, Described()]


def without_start(spec: Spec) -> Spec:
    """`type` and the options of the class, from which a registry builds it."""
    return {key: value for key, value in spec.items() if key not in (START, LEARNS)}


def _trained(start: Any, type: Any) -> Spec:
    """The spec of the trained translator in a run folder, in its `translator/`, or on the hub."""
    from unpairaug.sharing.pretrained import part_spec

    if not isinstance(start, str) or not start:
        raise validation_error(
            Mistake((START,), f"given {format_value(start)}, should be a run folder, its translator/, or a hub id")
        )
    try:
        spec = part_spec(start, "translator")
    except UserError as error:
        raise validation_error(Mistake((START,), str(error))) from error
    if type not in (None, spec["type"]):
        raise validation_error(
            Mistake(("type",), f"given {format_value(type)}, but {start} holds a {spec['type']!r}; leave it out")
        )
    return spec
