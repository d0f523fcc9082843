"""Names in a recipe to classes in code: one lookup for tasks, translators, heads, losses and discriminators.

A component is written as its name, or as `{"type": name, ...}` with options of its constructor. The constructor's
annotated signature is the whole description of those options: the recipe check and `build` both read it. A component
that holds another one annotates the argument with `HeadSpec` and builds it itself:

    @register_task("sr")
    class SuperResolution(Task):
        def __init__(self, scale: int = 4, head: HeadSpec = "vdsr", loss: LossSpec = "l1") -> None:
            super().__init__(scale, head, loss)  # which builds the head: heads.build(head, scale=scale)

So `task: {type: sr, head: {type: vdsr, depth: 20}}` is checked to the last key before anything is built. A head whose
constructor takes `scale` is given the task's, and a recipe does not repeat it. A loss is a sum of components, each with
a name of its own and a weight: `loss: {l1: 1.0, gan: {weight: 0.005, kind: relativistic}}`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from unpairaug.errors import UserError
from unpairaug.registry.lookup import ClassLookup
from unpairaug.registry.options import (
    COMPONENT_KEY,
    Mistake,
    Section,
    constructor_options,
    dotted_key,
    format_value,
    mistakes,
    validation_error,
)
from unpairaug.registry.terms import Terms

T = TypeVar("T")

Spec = dict[str, Any]
"""A component as data: `type`, then the constructor's options."""


class Registry(ClassLookup[T]):
    """Finds the class that a recipe names, checks the options that the recipe gives it, and builds it."""

    def options(self, name: str, without: Collection[str] = ()) -> type[Section]:
        """A pydantic model of the options that the class of that name takes, but those in `without`."""
        try:
            return constructor_options(self.get(name), without)
        except TypeError as error:
            raise UserError(f"{self.kind} {name!r}: {error}") from error

    def complete(self, spec: str | Spec, supplied: Spec | None = None, without: Collection[str] = ()) -> Spec:
        """The spec with every option checked, converted and, where it is not given, at the constructor's default.

        Args:
            supplied: options that whoever builds the component supplies, where its constructor takes them.
            without: options that are supplied later, so that they are neither asked for nor allowed.

        Raises:
            ValidationError: an option is unknown, missing or of the wrong type, or contradicts what is supplied.
            UserError: there is no such component.
        """
        name, given = self._name_and_options(spec)
        if taken := [key for key in without if key in given]:
            raise validation_error(
                *(Mistake((key,), f"what holds this {self.kind} decides it; leave it out") for key in taken)
            )
        model = self.options(name, without)
        for key, value in (supplied or {}).items():
            if key in model.model_fields and given.setdefault(key, value) != value:
                contradiction = (
                    f"given {format_value(given[key])}, but what holds this {self.kind} has {format_value(value)}"
                )
                raise validation_error(Mistake((key,), contradiction))
        for key, field in model.model_fields.items():
            part, is_component = given.get(key), any(isinstance(mark, Component) for mark in field.metadata)
            if is_component and isinstance(part, dict) and "type" not in part and not field.is_required():
                given[key] = {**_as_spec(field.default), **part}
        return {"type": name, **dict(model.model_validate(given))}

    def build(self, spec: str | Spec, **supplied: Any) -> T:
        """The component that the spec describes; its `config` is the complete spec, from which it can be built again.

        Args:
            supplied: options passed on where the constructor takes them: `heads.build(spec, scale=2)`.

        Raises:
            UserError: there is no such component, or an option is wrong.
        """
        try:
            config = self.complete(spec, supplied)
        except ValidationError as error:
            given = spec if isinstance(spec, dict) else {"type": spec}
            found = mistakes(error, {**supplied, **given})
            wrong = [f"{dotted_key(path)}: {said}".removeprefix(": ") for path, said in found]
            raise UserError(f"{self.kind} {given.get('type', given)!r}: {'; '.join(wrong)}") from error
        component: Any = self.get(config["type"])(**{key: value for key, value in config.items() if key != "type"})
        component.config = config
        return component

    def _name_and_options(self, spec: Any) -> tuple[str, Spec]:
        options = _as_spec(spec)
        if isinstance(name := options.pop("type", None), str):
            return name, options
        given = "required, and not given" if name is None else f"given {format_value(name)}, should be a name"
        raise validation_error(Mistake(("type",), f"{given}; known here: {', '.join(self.names())}"))


@dataclass(frozen=True)
class Component:
    """Marks an annotation: the value describes a component of a registry, and is checked and completed as one."""

    registry: Registry[Any]
    inherits: tuple[str, ...] = ()
    """Options that the component takes from the one that holds it, whose constructor must name them first."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {COMPONENT_KEY: self.registry.kind}

    def check(self, value: Any, info: ValidationInfo) -> Spec:
        """The complete spec, without the options that it inherits."""
        supplied = {key: info.data[key] for key in self.inherits if key in info.data}
        try:
            spec = self.registry.complete(value, supplied, without=set(self.inherits) - set(supplied))
        except UserError as error:
            raise validation_error(Mistake(("type",), str(error))) from error
        return {key: option for key, option in spec.items() if key not in self.inherits}


def _as_spec(given: Any) -> Spec:
    """A new spec from a spec or a name alone.

    Raises:
        ValidationError: it is neither.
    """
    if not isinstance(given, (str, dict)):
        raise validation_error(
            Mistake((), f"given {format_value(given)}, should be a name, or a section with `type` and options")
        )
    return {"type": given} if isinstance(given, str) else dict(given)


MODULE = "torch.nn:Module"
tasks: Registry[Any] = Registry("task", base="unpairaug.task:Task")
translators: Registry[Any] = Registry("translator", base="unpairaug.translator:Translator")
heads: Registry[Any] = Registry("head", base=MODULE)
losses: Registry[Any] = Registry("loss", "losses", base=MODULE)
discriminators: Registry[Any] = Registry("discriminator", base=MODULE)
register_task = tasks.register
register_translator = translators.register
register_head = heads.register
register_loss = losses.register
register_discriminator = discriminators.register

TaskSpec = Annotated[Spec, Component(tasks)]
HeadSpec = Annotated[str | Spec, Component(heads, inherits=("scale",))]
"""A head as an argument of a task: its name, or its spec; the task's `scale` is passed on to it."""
LossSpec = Annotated[str | dict[str, Any], Terms(losses)]
"""The loss as an argument of a task: the name of one, or a section of terms, each a weight or a spec with `weight`."""
DiscriminatorSpec = Annotated[str | Spec, Component(discriminators)]
"""A discriminator as an argument of a translator or a loss: its name, or its spec."""
