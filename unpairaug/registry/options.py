"""Types of named values, for recipe sections and constructors, and messages about wrong values."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache, reduce
from math import isfinite
from operator import or_
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    create_model,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from unpairaug.registry.suggestions import suggest

Path = tuple[str | int, ...]
"""Keys from the outside in; a number is a position in a list."""
UNKNOWN_KEY = "unknown key"
COMPONENT_KEY = "x-component"
"""Marks, in a JSON schema made by pydantic, where a component stands, and of which kind."""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


MAX_WHOLE = 10_000_000
"""Largest whole number of a constructor's options: a depth or width beyond it would only exhaust memory."""


MAX_LAYERS = 256
Layers = Annotated[int, Field(ge=1, le=MAX_LAYERS)]
"""A number of layers, blocks or repetitions: each takes time to build, so that many more would take minutes."""


def _moderate(value: int) -> int:
    if abs(value) > MAX_WHOLE:
        raise ValueError(f"given {format_value(value)}, should be at most {MAX_WHOLE}")
    return value


# YAML distinguishes numbers from text and from true and false, so none is converted to another.
# A number without a fraction counts as whole however it is written: 1e3 is 1000.
Whole = Annotated[int, BeforeValidator(_whole), Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Text = Annotated[str, Strict()]
TrueOrFalse = Annotated[bool, Strict()]
_STRICT = {int: Annotated[Whole, AfterValidator(_moderate)], float: Number, str: Text, bool: TrueOrFalse}

_EXPECTED = {
    "bool_type": "should be true or false",
    "dict_type": "should be a section of `key: value` lines",
    "float_type": "should be a number",
    "int_from_float": "should be a whole number",
    "int_type": "should be a whole number",
    "model_type": "should be a section of `key: value` lines",
    "string_type": "should be text; put it in quotes",
}


class Section(BaseModel):
    """Named values with types, without unknown keys; an empty section has every default."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_nearest_key(cls, values: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check({} if values is None else values)
        except ValidationError as error:
            wrong = [_with_suggestion(detail, cls.model_fields) for detail in error.errors(include_url=False)]
        raise ValidationError.from_exception_data(cls.__name__, wrong)


class Mistake(NamedTuple):
    """One thing wrong in what the user gave."""

    path: Path
    sentence: str
    """What was given, what should have been, what to do."""


def constructor_options(cls: type, without: Collection[str] = ()) -> type[Section]:
    """A pydantic model of the named arguments of a constructor, from its annotated signature.

    Bounds are written as pydantic writes them: ``depth: Annotated[int, Field(ge=3)] = 20``. A constructor that ends in
    ``**options`` takes any other key too. An argument without annotation takes anything. What types cannot express,
    the class checks in a classmethod ``check_options(options) -> Iterable[Mistake]``.

    Args:
        without: arguments that the caller of the constructor supplies, which are no options.

    Raises:
        TypeError: an annotation names what its module does not define.
    """
    return _make_model(cls, frozenset(without))


@cache  # pydantic takes milliseconds for a model, and one recipe asks for some twenty
def _make_model(cls: type, without: frozenset[str]) -> type[Section]:
    try:
        annotations = get_type_hints(cls.__init__, include_extras=True)
        parameters = [p for p in inspect.signature(cls).parameters.values() if p.name not in without]
    except (NameError, ValueError) as error:
        raise TypeError(f"the signature of {cls.__qualname__} in {cls.__module__} cannot be read: {error}") from error
    fields: dict[str, Any] = {
        p.name: (make_strict(annotations.get(p.name, Any)), ... if p.default is p.empty else p.default)
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    kinds = {p.kind for p in parameters}
    # A class without a constructor inherits `(*args, **kwargs)` from `nn.Module`: it takes no options.
    is_open = inspect.Parameter.VAR_KEYWORD in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds
    checks: dict[str, Any] = {"check_options": _checker(cls)} if hasattr(cls, "check_options") else {}
    return create_model(
        cls.__name__, __base__=_OpenOptions if is_open else _Options, __validators__=checks or None, **fields
    )


def _checker(cls: Any) -> Any:
    """A pydantic validator that calls `check_options` of the class, after the types are checked."""

    def check(options: Section) -> Section:
        if wrong := list(cls.check_options(dict(options))):
            raise validation_error(*wrong)
        return options

    return model_validator(mode="after")(check)


class _Options(Section):
    # The fields come from a signature, which has no docstrings of its own: pydantic need not read source files.
    model_config = ConfigDict(validate_default=True, arbitrary_types_allowed=True, use_attribute_docstrings=False)

    @model_validator(mode="after")
    def _check_numbers(self) -> _Options:
        """Refuse NaN and infinity where no type does, as in `**options`: JSON, in which options are saved, has none."""
        values = {key: value for key, value in self if key in self.model_fields_set}
        infinite = [(path, number) for path, number in find_numbers(values) if not isfinite(number)]
        if infinite:
            raise validation_error(*(Mistake(path, f"given {n}, should be a finite number") for path, n in infinite))
        return self


class _OpenOptions(_Options):
    model_config = ConfigDict(extra="allow")


def find_numbers(values: Any, path: Path = ()) -> Iterator[tuple[Path, float]]:
    """The numbers in sections and lists, with their places."""
    if isinstance(values, (int, float)):
        yield path, values
    elif isinstance(values, (dict, list, tuple)):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from find_numbers(value, (*path, key))


def make_strict(annotation: Any) -> Any:
    """The annotation without conversions between numbers, text and booleans; a list is accepted for a tuple."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and not parts:
        return _STRICT.get(annotation, annotation)
    if not parts or origin in (Literal, Callable):
        return annotation
    if origin is Annotated:
        return Annotated[(make_strict(parts[0]), *annotation.__metadata__)]
    held = tuple(make_strict(part) for part in parts)
    return reduce(or_, held) if origin in (Union, UnionType) else origin[held]


def validation_error(*wrong: Mistake) -> ValidationError:
    """The error to raise for these mistakes; their paths start at the value that is checked."""
    details = [_detail("refused", mistake.sentence, mistake.path, None) for mistake in wrong]
    return ValidationError.from_exception_data("options", details)


def mistakes(error: ValidationError, values: Any) -> list[Mistake]:
    """The mistakes in `values` that the error lists: one for each path, in the order of the model's keys."""
    sentences: dict[Path, list[str]] = {}
    for detail in error.errors(include_url=False):
        said = sentences.setdefault(_path_within(values, detail), [])
        if (sentence := _sentence(detail)) not in said:
            said.append(sentence)
    return [Mistake(path, ", or ".join(said)) for path, said in sentences.items()]


def dotted_key(path: Path) -> str:
    """The path as in an override: `task.head.depth`."""
    return ".".join(str(step) for step in path)


def format_value(value: Any) -> str:
    """The value as the user would write it, shortened to 80 characters."""
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _with_suggestion(detail: ErrorDetails, known: Iterable[str]) -> InitErrorDetails:
    """The detail; if it is an unknown key of this section, with the nearest key."""
    kind, sentence = detail["type"], detail["msg"]
    if kind == "extra_forbidden" and len(detail["loc"]) == 1:
        kind, sentence = "unknown_key", f"{UNKNOWN_KEY}; {suggest(str(detail['loc'][0]), known)}"
    return _detail(kind, sentence, detail["loc"], detail["input"], detail.get("ctx"))


def _detail(kind: Any, sentence: Any, path: Path, given: Any, context: Any = None) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError(kind, sentence, context), loc=path, input=given)


def _path_within(values: Any, detail: ErrorDetails) -> Path:
    """The path of the detail within `values`, without the steps that pydantic adds for branches of a union."""
    path: Path = ()
    for step in detail["loc"]:
        items = enumerate(values) if isinstance(values, (list, tuple)) else ()
        known: dict[Any, Any] = values if isinstance(values, dict) else dict(items)
        if step not in known:
            is_absent_key = detail["type"] in ("missing", "refused") and step == detail["loc"][-1]
            return (*path, step) if is_absent_key else path
        path, values = (*path, step), known[step]
    return path


def _sentence(detail: ErrorDetails) -> str:
    kind, said, given = detail["type"], detail["msg"], detail["input"]
    if kind in ("unknown_key", "refused"):
        return said
    if kind == "value_error":
        return said.removeprefix("Value error, ")
    if kind == "missing":
        return "required, and not given"
    sentence = f"given {format_value(given)}, {_EXPECTED.get(kind, said.removeprefix('Input '))}"
    is_misspelt = kind == "literal_error" and isinstance(given, str)
    hint = suggest(given, re.findall(r"'([^']*)'", said), instead="") if is_misspelt else ""
    return f"{sentence}; {hint}" if hint else sentence
