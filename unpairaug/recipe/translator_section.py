"""The recipe's `translator` section: a new translator, or a trained one, trained further or used as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from unpairaug.errors import UserError, escape
from unpairaug.registry.options import COMPONENT_KEY, Mistake, format_value, validation_error
from unpairaug.registry.registry import Spec, translators
from unpairaug.registry.trust import find_code_names, names_from

START, LEARNS, MEASURE, TRUST = "from", "train", "measure", "trust_code"
"""Keys beside the options of the class: folder or hub id of a trained translator; whether it is trained further; what
of the camera is measured before training; whether `module:Class` names of that folder are imported."""
MEASURES = ("all", "noise", "none")
"""Optics, noise and JPEG files; noise and JPEG files, where both image sets have the same optics; nothing."""


@dataclass(frozen=True)
class Described:
    """Marks the annotation of the section: `type` and the options of that class, or `from`, or both."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {COMPONENT_KEY: translators.kind}

    def check(self, value: Any, info: ValidationInfo) -> Spec:
        """The complete spec; with `from`, options that are not given are those of the trained translator.

        Raises:
            ValidationError: an option is wrong, or there is no trained translator of that name.
        """
        given = dict(value) if isinstance(value, dict) else {"type": value} if value is not None else {}
        keys = {START: given.pop(START, None), LEARNS: given.pop(LEARNS, True), TRUST: given.pop(TRUST, False)}
        _check_keys(keys)
        scale = info.data.get("task", {}).get("scale", 1)
        if keys[START] is None:
            return _complete(given, scale)
        start, saved = _read_start(keys[START], given.get("type"))
        with names_from(start, keys[TRUST], trusted=find_code_names(given)):
            spec = _complete({**saved, **given}, scale)
        return {**spec, **keys, START: start} if keys[TRUST] else {**spec, START: start, LEARNS: keys[LEARNS]}


def _check_keys(keys: Spec) -> None:
    for key in (LEARNS, TRUST):
        if not isinstance(keys[key], bool):
            raise validation_error(Mistake((key,), f"given {format_value(keys[key])}, should be true or false"))
    if keys[START] is None and not keys[LEARNS]:
        raise validation_error(Mistake((LEARNS,), "false needs a trained translator; give one as translator.from"))


def _complete(given: Spec, scale: int) -> Spec:
    """`type`, every option of the class, and `measure`."""
    measure, options = given.get(MEASURE), {key: value for key, value in given.items() if key != MEASURE}
    if measure not in (None, *MEASURES):
        raise validation_error(Mistake((MEASURE,), f"given {format_value(measure)}, should be all, noise or none"))
    try:
        spec = translators.complete(options, {"scale": scale})
        default = getattr(translators.get(spec["type"]), "default_measure", "none")
    except UserError as error:
        raise validation_error(Mistake(("type",), str(error))) from error
    return {**spec, MEASURE: default if measure is None else measure}


TranslatorSpec = Annotated[Spec, Described()]


def without_start(spec: Spec) -> Spec:
    """`type` and the options of the class, from which a registry builds it."""
    return {key: value for key, value in spec.items() if key not in (START, LEARNS, TRUST)}


def _read_start(start: Any, type: Any) -> tuple[str, Spec]:
    """The folder or the pinned hub id of a trained translator, and its spec."""
    from unpairaug.sharing.hub_id import pin
    from unpairaug.sharing.pretrained import part_spec

    if not isinstance(start, str) or not start:
        said = f"given {format_value(start)}, should be a run folder, its translator/, or a hub id"
        raise validation_error(Mistake((START,), said))
    try:
        pinned = pin(start, "its translator/ folder")
        spec = part_spec(pinned, "translator")
    except UserError as error:
        raise validation_error(Mistake((START,), str(error))) from error
    if type not in (None, spec["type"]):
        said = f"given {format_value(type)}, but {escape(start)} holds a {format_value(spec['type'])}; leave it out"
        raise validation_error(Mistake(("type",), said))
    return pinned, spec
