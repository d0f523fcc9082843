"""Names in a recipe to classes in code: one lookup for tasks, translators, heads and losses.

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

import pkgutil
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import GetCoreSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from unpairaug.errors import UserError
from unpairaug.options import Mistake, Section, constructor_options, dotted, mistakes, nearest, refusal, shown
from unpairaug.terms import Terms

T = TypeVar("T")
C = TypeVar("C")

Spec = dict[str, Any]
"""A component as data: `type`, then the constructor's options."""


class Registry(Generic[T]):
    """Finds the class that a recipe names, checks the options the recipe gives it, and builds it.

    `get` tries, in this order: a class registered in this process, a "module:Class" path, the built-in modules of the
    package `unpairaug.<plural>`, and an entry point of the group of that name. So no installed package can quietly
    replace a built-in.
    """

    def __init__(self, kind: str, plural: str | None = None) -> None:
        self.kind = kind
        """What the classes are, in the singular: "task"."""
        self.group = f"unpairaug.{plural or f'{kind}s'}"
        """The package of the built-in ones, and the entry point group of the others."""
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[type[C]], type[C]]:
        """Class decorator that gives the class its name in recipes.

        Raises:
            ValueError: another class has the name. The same class may be defined again, as a notebook's cell does.
        """

        def add(cls: Any) -> Any:
            known = self._classes.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ValueError(f"{self.kind} {name!r} is already {known}; {cls} needs another name")
            self._classes[name] = cls
            return cls

        return add

    def get(self, name: str) -> type[T]:
        """The class of that name.

        Raises:
            UserError: there is none, or the module that should hold it cannot be imported.
        """
        if name not in self._classes and ":" in name:
            return self._from_path(name)
        if name not in self._classes:
            self._import_builtins(name)
        if name not in self._classes and (plugin := self._plugins().get(name)):
            return self._from_plugin(plugin)
        if name not in self._classes:
            near = nearest(name, self.names())
            hint = f" Did you mean {near!r}?" if near else ""
            raise UserError(
                f"no {self.kind} is called {name!r}.{hint} Known: {', '.join(self.names()) or 'none'}. "
                f"One of your own is named as module:Class."
            )
        return self._classes[name]

    def names(self) -> list[str]:
        """Every name but those of the form "module:Class"; no plug-in is imported for it."""
        self._import_builtins()
        return sorted({*self._classes, *self._plugins()})

    def options(self, name: str, without: Collection[str] = ()) -> type[Section]:
        """A pydantic model of the options that the class of that name takes, but those in `without`."""
        try:
            return constructor_options(self.get(name), without)
        except TypeError as error:
            raise UserError(f"{self.kind} {name!r}: {error}") from error

    def complete(self, spec: str | Spec, offered: Spec | None = None, without: Collection[str] = ()) -> Spec:
        """The spec with every option checked, converted and, where it is not given, at the constructor's default.

        Args:
            offered: options that whoever builds the component supplies, where its constructor takes them.
            without: options that are supplied later, so that they are neither asked for nor allowed.

        Raises:
            ValidationError: an option is unknown, missing or of the wrong type, or contradicts what is offered.
            UserError: there is no such component.
        """
        name, given = self._name_and_options(spec)
        model = self.options(name, without)
        for key, value in (offered or {}).items():
            if key in model.model_fields and given.setdefault(key, value) != value:
                contradiction = f"given {shown(given[key])}, but what holds this {self.kind} has {shown(value)}"
                raise refusal(Mistake((key,), contradiction))
        for key, field in model.model_fields.items():
            part = given.get(key)
            is_component = any(isinstance(mark, Component) for mark in field.metadata)
            if is_component and isinstance(part, dict) and "type" not in part and not field.is_required():
                given[key] = {**_as_spec(field.default), **part}
        return {"type": name, **dict(model.model_validate(given))}

    def build(self, spec: str | Spec, **offered: Any) -> T:
        """The component that the spec describes; its `config` is the complete spec, from which it can be built again.

        Args:
            offered: options passed on where the constructor takes them: `heads.build(spec, scale=2)`.

        Raises:
            UserError: there is no such component, or an option is wrong.
        """
        try:
            config = self.complete(spec, offered)
        except ValidationError as error:
            given = spec if isinstance(spec, dict) else {"type": spec}
            wrong = [
                f"{dotted(path)}: {said}".removeprefix(": ") for path, said in mistakes(error, {**offered, **given})
            ]
            raise UserError(f"{self.kind} {given.get('type', given)!r}: {'; '.join(wrong)}") from error
        component: Any = self.get(config["type"])(**{key: value for key, value in config.items() if key != "type"})
        component.config = config
        return component

    def _name_and_options(self, spec: Any) -> tuple[str, Spec]:
        options = _as_spec(spec)
        name = options.pop("type", None)
        if not isinstance(name, str):
            given = "required, and not given" if name is None else f"given {shown(name)}, should be a name"
            raise refusal(Mistake(("type",), f"{given}; known here: {', '.join(self.names())}"))
        return name, options

    def _import_builtins(self, wanted: str | None = None) -> None:
        """Import the built-in module called `wanted`, or all of them where none is, or where it holds no such class."""
        if find_spec(self.group) is None:
            return
        package = import_module(self.group)
        modules = [module.name for module in pkgutil.iter_modules(package.__path__)]
        if wanted in modules:
            import_module(f"{self.group}.{wanted}")
        if wanted not in self._classes:
            for module in modules:
                import_module(f"{self.group}.{module}")

    def _plugins(self) -> dict[str, EntryPoint]:
        return {plugin.name: plugin for plugin in entry_points(group=self.group)}

    def _from_plugin(self, plugin: EntryPoint) -> type[T]:
        try:
            return plugin.load()
        except Exception as error:  # whatever a stranger's module raises, it is the plug-in's name that helps
            package = f" of package {plugin.dist.name}" if plugin.dist else ""
            raise UserError(
                f"{self.kind} {plugin.name!r}: the plug-in {plugin.value}{package} cannot be loaded: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _from_path(self, name: str) -> type[T]:
        """The class at "module:Class"; the current folder is searched first, as `python -m` does."""
        module_name, _, attribute = name.partition(":")
        if not {"", str(Path.cwd())} & set(sys.path):
            sys.path.insert(0, str(Path.cwd()))
        try:
            module = import_module(module_name)
        except Exception as error:  # as above: the module is the user's own
            raise UserError(
                f"{self.kind} {name!r}: module {module_name!r} cannot be imported from {Path.cwd()} or the installed "
                f"packages: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(found := getattr(module, attribute, None), type):
            classes = [key for key, value in vars(module).items() if isinstance(value, type)]
            near = nearest(attribute, classes)
            hint = f"did you mean {near!r}?" if near else f"classes there: {', '.join(classes) or 'none'}"
            raise UserError(f"{self.kind} {name!r}: {module.__file__} has no class {attribute!r}; {hint}")
        return found


@dataclass(frozen=True)
class Component:
    """Marks an annotation: the value describes a component of a registry, and is checked and completed as one."""

    registry: Registry[Any]
    inherits: tuple[str, ...] = ()
    """Options that the component takes from the one that holds it, whose constructor must name them first."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.check)

    def check(self, value: Any, info: ValidationInfo) -> Spec:
        """The complete spec, without the options that it inherits."""
        offered = {key: info.data[key] for key in self.inherits if key in info.data}
        try:
            spec = self.registry.complete(value, offered, without=set(self.inherits) - set(offered))
        except UserError as error:
            raise refusal(Mistake(("type",), str(error))) from error
        return {key: option for key, option in spec.items() if key not in self.inherits}


def _as_spec(given: Any) -> Spec:
    """A new spec from a spec or a name alone.

    Raises:
        ValidationError: it is neither.
    """
    if not isinstance(given, (str, dict)):
        raise refusal(Mistake((), f"given {shown(given)}, should be a name, or a section with `type` and options"))
    return {"type": given} if isinstance(given, str) else dict(given)


tasks: Registry[Any] = Registry("task")
translators: Registry[Any] = Registry("translator")
heads: Registry[Any] = Registry("head")
losses: Registry[Any] = Registry("loss", "losses")
register_task = tasks.register
register_translator = translators.register
register_head = heads.register
register_loss = losses.register

TaskSpec = Annotated[Spec, Component(tasks)]
TranslatorSpec = Annotated[Spec, Component(translators)]
HeadSpec = Annotated[str | Spec, Component(heads, inherits=("scale",))]
"""A head as an argument of a task: its name, or its spec; the task's `scale` is passed on to it."""
LossSpec = Annotated[str | dict[str, Any], Terms(losses)]
"""The loss as an argument of a task: the name of one, or a section of terms, each a weight or a spec with `weight`."""
