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

import pkgutil
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import GetCoreSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from unpairaug.errors import UserError
from unpairaug.registry.options import Mistake, Section, constructor_options, dotted, mistakes, nearest, refusal, shown
from unpairaug.registry.plugins import FAULTS, Entry, class_in, class_of, package_of, plugins, told
from unpairaug.registry.terms import Terms

T = TypeVar("T")
C = TypeVar("C")

Spec = dict[str, Any]
"""A component as data: `type`, then the constructor's options."""


class Registry(Generic[T]):
    """Finds the class that a recipe names, checks the options the recipe gives it, and builds it.

    `get` tries, in this order: a class registered in this process, a "module:Class" path, the built-in modules of the
    package `unpairaug.<plural>`, and an entry point of the group of that name. So no installed package can quietly
    replace a built-in, and a module that cannot be imported is in the way of nobody who does not ask for it.
    """

    def __init__(self, kind: str, plural: str | None = None) -> None:
        self.kind = kind
        """What the classes are, in the singular: "task"."""
        self.group = f"unpairaug.{plural or f'{kind}s'}"
        """The package of the built-in ones, and the entry point group of the others."""
        self._classes: dict[str, type[T]] = {}
        self._broken: dict[str, str] = {}
        """Built-in modules that cannot be imported, and what they raised."""

    def register(self, name: str) -> Callable[[type[C]], type[C]]:
        """Class decorator that gives the class its name in recipes.

        Raises:
            ValueError: another class has the name. The same class may be defined again, as a notebook's cell does.
        """

        def add(cls: Any) -> Any:
            if not self._is_built_in(cls):
                self._import_builtins(name)  # before a stranger takes one of their names
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
        if name in self._classes:
            return self._classes[name]
        if claims := plugins(self.group).get(name):
            return self._from_plugin(name, claims)
        raise UserError(self._unknown(name))

    def entries(self) -> Iterator[Entry]:
        """All that a recipe can name, in order of names; plug-ins are loaded for it, and a broken one says why."""
        self._import_builtins()
        here, claimed = dict(self._classes), plugins(self.group)
        for name in sorted({*here, *self._broken, *claimed}):
            found = [self._entry_of(name, plugin, claimed[name], here.get(name)) for plugin in claimed.get(name, [])]
            if name in here and here[name] not in [entry.cls for entry in found]:
                yield Entry(name, "built in" if self._is_built_in(here[name]) else "registered here", here[name])
            elif name in self._broken and name not in here:
                yield Entry(name, "built in", fault=f"its module cannot be imported: {self._broken[name]}")
            yield from found

    def names(self) -> list[str]:
        """Every name but those of the form "module:Class"; no plug-in is imported for it."""
        self._import_builtins()
        return sorted({*self._classes, *plugins(self.group)})

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
        if taken := [key for key in without if key in given]:
            raise refusal(*(Mistake((key,), f"what holds this {self.kind} decides it; leave it out") for key in taken))
        model = self.options(name, without)
        for key, value in (offered or {}).items():
            if key in model.model_fields and given.setdefault(key, value) != value:
                contradiction = f"given {shown(given[key])}, but what holds this {self.kind} has {shown(value)}"
                raise refusal(Mistake((key,), contradiction))
        for key, field in model.model_fields.items():
            part, is_component = given.get(key), any(isinstance(mark, Component) for mark in field.metadata)
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
            found = mistakes(error, {**offered, **given})
            wrong = [f"{dotted(path)}: {said}".removeprefix(": ") for path, said in found]
            raise UserError(f"{self.kind} {given.get('type', given)!r}: {'; '.join(wrong)}") from error
        component: Any = self.get(config["type"])(**{key: value for key, value in config.items() if key != "type"})
        component.config = config
        return component

    def _name_and_options(self, spec: Any) -> tuple[str, Spec]:
        options = _as_spec(spec)
        if isinstance(name := options.pop("type", None), str):
            return name, options
        given = "required, and not given" if name is None else f"given {shown(name)}, should be a name"
        raise refusal(Mistake(("type",), f"{given}; known here: {', '.join(self.names())}"))

    def _is_built_in(self, cls: type) -> bool:
        return cls.__module__.startswith(f"{self.group}.")

    def _import_builtins(self, wanted: str | None = None) -> None:
        """Import the built-in module called `wanted`, or all of them where none is, or where it holds no such class."""
        if find_spec(self.group) is None:
            return
        package = import_module(self.group)
        modules = [module.name for module in pkgutil.iter_modules(package.__path__)]
        for module in sorted(modules, key=lambda module: module != wanted):
            if module != wanted and wanted in self._classes:
                return
            if module != wanted and module in self._broken:
                continue
            try:
                with self._forgetting():
                    import_module(f"{self.group}.{module}")
            except FAULTS as error:  # one file in tasks/ must not end the runs of all others
                self._broken[module] = told(error)
            else:
                self._broken.pop(module, None)

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        """Where an import fails, forget the classes that its half of a module has registered."""
        try:
            yield
        except FAULTS:
            self._classes = {name: cls for name, cls in self._classes.items() if cls.__module__ in sys.modules}
            raise

    def _unknown(self, name: str) -> str:
        if name in self._broken:
            return f"{self.kind} {name!r}: module {self.group}.{name} cannot be imported: {self._broken[name]}"
        near = nearest(name, self.names())
        hint = f" Did you mean {near!r}?" if near else ""
        known = f"Known: {', '.join(self.names()) or 'none'}."
        broken = f" Not importable: {', '.join(sorted(self._broken))}." if self._broken else ""
        return f"no {self.kind} is called {name!r}.{hint} {known}{broken} One of your own is named as module:Class."

    def _entry_of(self, name: str, plugin: EntryPoint, claims: list[EntryPoint], here: type | None) -> Entry:
        origin = package_of(plugin)
        if here is not None and self._is_built_in(here):
            return Entry(name, origin, fault="not used: the name is that of a built-in")
        try:
            cls = self._from_plugin(name, claims)
        except UserError as error:
            return Entry(name, origin, fault=str(error))
        if here not in (None, cls):
            return Entry(name, origin, fault="not used: the name is registered here")
        return Entry(name, origin, cls)

    def _from_plugin(self, name: str, claims: list[EntryPoint]) -> type[T]:
        if len(claims) > 1:
            said = " and ".join(f"{package_of(plugin)} ({plugin.value})" for plugin in claims)
            raise UserError(f"{self.kind} {name!r} is claimed by {said}; write the one you mean as module:Class")
        try:
            with self._forgetting():
                return class_of(claims[0])
        except FAULTS as error:  # whatever a stranger's module raises, it is the plug-in's name that helps
            whose = f"the plug-in {claims[0].value} of {package_of(claims[0])}"
            raise UserError(f"{self.kind} {name!r}: {whose} cannot be loaded: {told(error)}") from error

    def _from_path(self, name: str) -> type[T]:
        """The class at "module:Class"; the current folder is searched first, as `python -m` does."""
        module_name, _, attribute = name.partition(":")
        if not {"", str(Path.cwd())} & set(sys.path):
            sys.path.insert(0, str(Path.cwd()))
        try:
            with self._forgetting():
                module = import_module(module_name)
        except FAULTS as error:  # as above: the module is the user's own
            near = nearest(module_name, [module.name for module in pkgutil.iter_modules([str(Path.cwd())])])
            hint = f"; did you mean {near!r}?" if near not in (None, module_name) else ""
            where = f"cannot be imported from {Path.cwd()} or the installed packages"
            raise UserError(f"{self.kind} {name!r}: module {module_name!r} {where}: {told(error)}{hint}") from error
        try:
            return class_in(module, attribute)
        except AttributeError as error:
            raise UserError(f"{self.kind} {name!r}: {error}") from error


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
discriminators: Registry[Any] = Registry("discriminator")
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
