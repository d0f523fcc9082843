"""The classes of a kind by name: built in, registered in this process, of an installed package, or `module:Class`."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

from unpairaug.errors import UserError
from unpairaug.registry.plugins import (
    FAULTS,
    Entry,
    find_class,
    format_error,
    load_class,
    package_of,
    plugins,
    search_current_folder,
)
from unpairaug.registry.source_text import read_builtins
from unpairaug.registry.suggestions import suggest
from unpairaug.registry.trust import check_trusted

T = TypeVar("T")
C = TypeVar("C")
CHECKPOINTS = (".pth", ".pt", ".ckpt", ".safetensors")
"""Extensions of files of weights, which are given in place of a head's name."""


class ClassLookup(Generic[T]):
    """Finds the class that a recipe names.

    `get` tries, in this order: a class registered in this process, a "module:Class" path, the built-in modules of the
    package `unpairaug.<plural>`, and an entry point of the group of that name. So an installed package cannot replace a
    built-in, and a module that cannot be imported affects only those who ask for it.

    Every built-in class registers itself with the decorator that a user's class takes; `_import_builtins` imports the
    modules of the package in which they stand.
    """

    def __init__(self, kind: str, plural: str | None = None, base: str | None = None) -> None:
        self.kind = kind
        """What the classes are, in the singular: "task"."""
        self.base = base
        """The class that all are derived from, as "module:Class", so that it is imported late."""
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
                self._import_builtins(name)  # so that nobody takes the name of a built-in
            known = self._classes.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ValueError(f"{self.kind} {name!r} is already {known}; {cls} needs another name")
            self._classes[name] = cls
            return cls

        return add

    def get(self, name: str) -> type[T]:
        """The class of that name, a subclass of `base`.

        Raises:
            UserError: there is none, the module that should hold it cannot be imported, or the name is a `module:Class`
                that a model folder gives without trust (see `unpairaug.registry.trust`).
        """
        if name not in self._classes and ":" in name:
            check_trusted(self.kind, name)
            return self._check_base(name, self._import_class(name))
        if name not in self._classes:
            self._import_builtins(name)
        if name in self._classes:
            return self._check_base(name, self._classes[name])
        if claims := plugins(self.group).get(name):
            return self._check_base(name, self._load_plugin(name, claims))
        raise UserError(self._describe_unknown(name))

    def entries(self) -> Iterator[Entry]:
        """All that a recipe can name, in order of names; plug-ins are loaded for it, and a broken one says why."""
        self._import_builtins()
        here, claimed = dict(self._classes), plugins(self.group)
        for name in sorted({*here, *self._broken, *claimed}):
            cls = here.get(name)
            is_built_in = cls is not None and self._is_built_in(cls)
            found = [
                self._make_entry(name, plugin, claimed[name], cls, is_built_in) for plugin in claimed.get(name, [])
            ]
            if cls is not None and cls not in [entry.cls for entry in found]:
                origin = "built in" if is_built_in else "registered here"
                yield Entry(name, origin, cls, doc=cls.__doc__ or "")
            elif name in self._broken and name not in here:
                yield Entry(name, "built in", fault=f"its module cannot be imported: {self._broken[name]}")
            yield from found

    def read_entries(self) -> Iterator[Entry]:
        """As `entries`, but the built-in classes are read from their source: their modules may import torch.

        `cls` is None for them. A built-in module whose import fails is found by `entries` only.
        """
        built_in, claimed = read_builtins(self.group), plugins(self.group)
        for name in sorted({*built_in, *claimed}):
            if name in built_in:
                yield built_in[name]
            for plugin in claimed.get(name, []):
                yield self._make_entry(name, plugin, claimed[name], None, name in built_in)

    def names(self) -> list[str]:
        """Every name but those of the form "module:Class"; no plug-in is imported for it."""
        self._import_builtins()
        return sorted({*self._classes, *plugins(self.group)})

    def _check_base(self, name: str, cls: type[T]) -> type[T]:
        """The class, which nobody calls before it is known to be one of this kind."""
        if self.base is None:
            return cls
        module, _, base = self.base.partition(":")
        if not issubclass(cls, getattr(import_module(module), base)):
            said = f"{cls.__module__}.{cls.__qualname__} is no {self.kind}"
            raise UserError(f"{self.kind} {name!r}: {said}; derive it from {module}.{base}")
        return cls

    def _is_built_in(self, cls: type) -> bool:
        return cls.__module__.startswith(f"{self.group}.")

    def _import_builtins(self, wanted: str | None = None) -> None:
        """Import the module of the built-ins called `wanted`; all of them if there is none or it lacks the class."""
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
                with self._unregister_on_failure():
                    import_module(f"{self.group}.{module}")
            except FAULTS as error:  # a broken file harms only the recipes that name it
                self._broken[module] = format_error(error)
            else:
                self._broken.pop(module, None)

    @contextmanager
    def _unregister_on_failure(self) -> Iterator[None]:
        """Remove the classes that a module has registered before its import failed."""
        try:
            yield
        except FAULTS:
            self._classes = {name: cls for name, cls in self._classes.items() if cls.__module__ in sys.modules}
            raise

    def _describe_unknown(self, name: str) -> str:
        if name in self._broken:
            return f"{self.kind} {name!r}: module {self.group}.{name} cannot be imported: {self._broken[name]}"
        if self.kind == "head" and name.endswith(CHECKPOINTS):
            return f"no head is called {name!r}; for a file of weights give {{type: spandrel, checkpoint: {name}}}"
        hint = suggest(name, self.names(), list_known=True)
        broken = f". Not importable: {', '.join(sorted(self._broken))}" if self._broken else ""
        return f"no {self.kind} is called {name!r}; {hint}{broken}. Name a class of your own as module:Class."

    def _make_entry(
        self, name: str, plugin: EntryPoint, claims: list[EntryPoint], here: type | None, is_built_in: bool
    ) -> Entry:
        origin = package_of(plugin)
        if is_built_in:
            return Entry(name, origin, fault="not used: the name is that of a built-in")
        try:
            cls = self._load_plugin(name, claims)
        except UserError as error:
            return Entry(name, origin, fault=str(error))
        if here not in (None, cls):
            return Entry(name, origin, fault="not used: the name is registered here")
        return Entry(name, origin, cls, doc=cls.__doc__ or "")

    def _load_plugin(self, name: str, claims: list[EntryPoint]) -> type[T]:
        if len(claims) > 1:
            said = " and ".join(f"{package_of(plugin)} ({plugin.value})" for plugin in claims)
            raise UserError(f"{self.kind} {name!r} is claimed by {said}; write the one you mean as module:Class")
        try:
            with self._unregister_on_failure():
                return load_class(claims[0])
        except FAULTS as error:  # the message names the plug-in, whatever its module raises
            whose = f"the plug-in {claims[0].value} of {package_of(claims[0])}"
            raise UserError(f"{self.kind} {name!r}: {whose} cannot be loaded: {format_error(error)}") from error

    def _import_class(self, name: str) -> type[T]:
        """The class at "module:Class"; the current folder is searched first, as `python -m` does."""
        module_name, _, attribute = name.partition(":")
        search_current_folder()
        try:
            with self._unregister_on_failure():
                module = import_module(module_name)
        except FAULTS as error:  # the message names the module, whatever it raises
            beside = [module.name for module in pkgutil.iter_modules([str(Path.cwd())]) if module.name != module_name]
            is_absent = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")
            hint = suggest(module_name, beside, instead="") if is_absent else ""
            hint = f"; {hint}" if hint else ""
            where = f"cannot be imported from {Path.cwd()} or the installed packages"
            raise UserError(
                f"{self.kind} {name!r}: module {module_name!r} {where}: {format_error(error)}{hint}"
            ) from error
        try:
            return find_class(module, attribute)
        except AttributeError as error:
            raise UserError(f"{self.kind} {name!r}: {error}") from error
