"""The last results of a costly function, kept by the object that needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_UNKNOWN: Any = object()


class Recent(Generic[T]):
    """Calls the function for what it has not been asked lately. Unlike `lru_cache` it can be pickled, and is small."""

    def __init__(self, function: Callable[..., T], keep: int) -> None:
        self._function, self._keep = function, keep
        self._known: dict[tuple[Any, ...], T] = {}

    def __call__(self, *key: Any) -> T:
        found: Any = self._known.get(key, _UNKNOWN)
        if found is _UNKNOWN:
            found = self._known[key] = self._function(*key)
            if len(self._known) > self._keep:  # several threads may stand here
                self._known.pop(list(self._known)[0], None)  # noqa: RUF015  # iterating is not safe there
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_known": {}}
