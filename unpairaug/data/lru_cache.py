"""The results of a costly function that were asked for last, kept by the object that needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_UNKNOWN: Any = object()


class LruCache(Generic[T]):
    """Calls the function for what it has not been asked lately.

    Unlike `lru_cache` it can be pickled, and may grow: `keep` is how many results it holds.
    """

    def __init__(self, function: Callable[..., T], keep: int) -> None:
        self._function, self.keep = function, keep
        self._known: dict[tuple[Any, ...], T] = {}

    def __call__(self, *key: Any) -> T:
        found: Any = self._known.pop(key, _UNKNOWN)  # what is asked for goes to the end, and leaves last
        if found is _UNKNOWN:
            found = self._function(*key)
        self._known[key] = found
        if len(self._known) > self.keep:  # several threads may stand here
            for oldest in list(self._known)[:1]:  # iterating is not safe there
                self._known.pop(oldest, None)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_known": {}}
