"""Repeat requests to a storage server that is slow, overloaded, or restarted; say so once."""

from __future__ import annotations

import errno
import logging
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from unpairaug.errors import UserError, escape

log = logging.getLogger("unpairaug")
T = TypeVar("T")

PATIENCE = 300.0
"""Seconds for which a request is repeated; less than the patience of the loader, which ends silent workers."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20.0
"""Seconds between two attempts: the pause doubles each time."""
SAY_AGAIN = 60.0
"""Seconds in which the processes of a loader say only once that a server fails."""

_PERMANENT = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError)
_PERMANENT_NUMBERS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EINVAL, errno.ENAMETOOLONG, errno.EPERM, errno.ENOSYS),
    *(errno.EMFILE, errno.ENFILE, errno.EFBIG),
)
_OF_CONNECTIONS = ("HTTPClientError", "ConnectionError", "IncompleteReadError", "ClientConnectionError", "PayloadError")
"""Names of exception classes of botocore and aiohttp; these packages may not be installed."""


class _Said:
    """When a failing server was last mentioned, in seconds since the epoch."""

    value = 0.0


_said: Any = _Said()


def share_warnings(said: Any) -> None:
    """Let several processes say once, and not each, that a server fails.

    Args:
        said: a `multiprocessing.Value("d")` that these processes share.
    """
    global _said
    _said = said


def retry(server: str, request: Callable[[], T]) -> T:
    """The result of a request, repeated with growing pauses while the server fails.

    Args:
        server: what the warning calls it, such as `s3://bucket`.
        request: a call that may be repeated: it reads, or writes a whole object.

    Raises:
        Exception: of `request`, where repeating does not help, or after `PATIENCE` seconds.
    """
    began, pause, failures = time.monotonic(), FIRST_PAUSE, 0
    while True:
        try:
            result = request()
        except Exception as error:
            waited = time.monotonic() - began
            if not is_temporary(error) or waited + pause > PATIENCE:
                raise
            failures += 1
            _say_once(f"{server} fails ({format_reason(error)}); requests are repeated for up to {PATIENCE:.0f} s")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            if failures:
                log.debug(f"{server} answered after {time.monotonic() - began:.1f} s and {failures} failures")
            return result


def is_temporary(error: BaseException) -> bool:
    """Whether the same request may succeed later: timeouts, lost connections, and answers 408, 429 and 5xx."""
    if isinstance(error, (UserError, ImportError, *_PERMANENT)):
        return False
    status = getattr(error, "status", None)  # of aiohttp
    answer: Any = getattr(error, "response", None)  # of botocore
    if isinstance(answer, dict):
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if isinstance(status, int):
        return status in (408, 429) or status >= 500
    if isinstance(error, OSError):  # also TimeoutError
        return error.errno not in _PERMANENT_NUMBERS
    names = {base.__name__ for base in type(error).__mro__}
    return any(name.endswith(_OF_CONNECTIONS) or name == "TimeoutError" for name in names)


def format_reason(error: BaseException) -> str:
    """The first line of an error without credentials: queries of URLs, such as signatures, and passwords."""
    return escape(hide_secrets(str(error).split("\n")[0])) or type(error).__name__


def hide_secrets(text: str) -> str:
    """A text without the passwords and queries of the URLs in it."""
    text = re.sub(r"(\w+://)[^\s/'\"@]+@", r"\1", text)
    return re.sub(r"(\w+://[^\s'\"?]+)\?[^\s'\")]*", r"\1", text)


def _say_once(message: str) -> None:
    now = time.time()
    if now - _said.value > SAY_AGAIN:
        _said.value = now
        log.warning(f"warning: {message}")
