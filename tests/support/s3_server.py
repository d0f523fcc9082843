"""An S3 server on the loopback interface (moto) that counts requests and can fail in the ways that real ones do."""

from __future__ import annotations

import itertools
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECRET = "not-to-be-logged"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
}
FAULTS = ("500", "503", "reset", "slow", "restart")


class S3Server:
    """moto's server, which keeps its objects over restarts."""

    def __init__(self, slow: float = 1.5, away: float = 2.0) -> None:
        """Start it.

        Args:
            slow: seconds that a slow answer takes.
            away: seconds that a restart takes.
        """
        from moto.server import DomainDispatcherApplication, create_backend_app

        self._app: Any = DomainDispatcherApplication(create_backend_app)
        self.requests: Counter[str] = Counter()
        """Requests by method."""
        self.reads: Counter[str] = Counter()
        """GET requests by path."""
        self.failed: Counter[str] = Counter()
        """Faults by kind."""
        self._faults: Iterator[str | None] = itertools.repeat(None)
        self._lock = threading.Lock()
        self._slow, self._away = slow, away
        self._server: Any = None
        self.port = 0
        self._start()

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a process finds the server."""
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    @contextmanager
    def failing(self, kinds: Sequence[str], every: int) -> Iterator[None]:
        """Fail every so many requests, once in each of the ways."""
        plan = [fault for kind in kinds for fault in (*[None] * (every - 1), kind)]
        with self._lock:
            self._faults = itertools.chain(plan, itertools.repeat(None))
        try:
            yield
        finally:
            with self._lock:
                self._faults = itertools.repeat(None)

    def stop(self) -> None:
        """End the server; its objects stay."""
        self._server.shutdown()
        self._server.server_close()

    def restart(self, seconds: float) -> None:
        """End the server for some seconds."""
        self.stop()
        time.sleep(seconds)
        self._start()

    def _start(self) -> None:
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def log(self, *arguments: Any) -> None: ...

        self._server = make_server("127.0.0.1", self.port, self._answer, threaded=True, request_handler=Quiet)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] == "/__requests__":  # for other processes
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self.requests).encode()]
        with self._lock:
            self.requests[environ["REQUEST_METHOD"]] += 1
            self.reads[environ["PATH_INFO"]] += environ["REQUEST_METHOD"] == "GET"
            fault = next(self._faults)
            if fault:
                self.failed[fault] += 1
        if fault in ("500", "503"):
            reason = {"500": "InternalError", "503": "SlowDown"}[fault]
            start(f"{fault} {reason}", [("Content-Type", "application/xml"), ("Connection", "close")])
            return [f"<Error><Code>{reason}</Code><Message>again</Message></Error>".encode()]
        if fault == "slow":
            time.sleep(self._slow)
        if fault in ("reset", "restart"):
            if fault == "restart":
                threading.Thread(target=self.restart, args=(self._away,)).start()
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionError(fault)
        return self._app(environ, start)


@contextmanager
def serve_bucket(bucket: str, slow: float = 1.5, away: float = 2.0) -> Iterator[S3Server]:
    """A server with an empty bucket; this process finds it by its environment, too. For the seconds see `S3Server`."""
    server = S3Server(slow, away)
    before = {name: os.environ.get(name) for name in server.environment}
    os.environ.update(server.environment)
    try:
        import fsspec

        fsspec.filesystem("s3").mkdir(bucket)
        yield server
    finally:
        server.stop()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def upload(folder: Path, url: str) -> None:
    """Copy a folder to the server."""
    import fsspec

    files = fsspec.filesystem("s3")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files.pipe_file(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def download(url: str) -> dict[str, bytes]:
    """The files below a URL, by their relative paths."""
    import fsspec

    files = fsspec.filesystem("s3")
    files.invalidate_cache()
    start = url.removeprefix("s3://") + "/"
    return {name[len(start) :]: files.cat_file(name) for name in files.find(url)}
