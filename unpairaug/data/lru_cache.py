"""A cache of the most recently used results of a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_UNKNOWN: Any = object()


class LruCache(Generic[T]):
    """Caches the `keep` most recently used results of a function.

    Unlike `functools.lru_cache` it can be pickled (without its results), and `keep` may change.
    """

    def __init__(self, function: Callable[..., T], keep: int) -> None:
        self._function, self.keep = function, keep
        self._known: dict[tuple[Any, ...], T] = {}

    def __call__(self, *key: Any) -> T:
        found: Any = self._known.pop(key, _UNKNOWN)  # the most recently used result moves to the end
        if found is _UNKNOWN:
            found = self._function(*key)
        self._known[key] = found
        if len(self._known) > self.keep:  # several threads may be here
            for oldest in list(self._known)[:1]:  # iterating the dict itself is not thread-safe
                self._known.pop(oldest, None)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_known": {}}
