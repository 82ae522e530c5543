"""An S3 of moto's on 127.0.0.1, which can be slow, lose connections, or change what it sends."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest

BUCKET = "bucket"
URL = f"s3://{BUCKET}"
_PIECE = 1 << 18  # bytes
Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


class StubS3:
    """What the server does before and after moto answers.

    Attributes:
        asked: method, path and range of every request.
        before: called with the environment of a request; may return a status to fail with.
        latency_s: how long each answer takes to begin.
        bytes_a_second: of all answers together; 0: as fast as they come.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.before: Callable[[dict[str, Any]], int | None] = lambda environment: None
        self.latency_s, self.bytes_a_second = 0.0, 0.0
        self._wire = Lock()
        self.address = ""
        self.fs: Any = None

    def __call__(self, environment: dict[str, Any], start: Callable[..., Any]) -> Any:
        where = environment["PATH_INFO"], environment.get("HTTP_RANGE", "")
        self.asked.append((environment["REQUEST_METHOD"], *where))
        if (status := self.before(environment)) is not None:
            start(f"{status} failed", [("Content-Length", "0")])
            return [b""]
        time.sleep(self.latency_s)
        parts = self.application(environment, start)
        return self._shaped(parts) if self.bytes_a_second else parts

    def _shaped(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Piece by piece, so that answers share the throughput."""
        for part in parts:
            for first in range(0, len(part), _PIECE):
                piece = part[first : first + _PIECE]
                with self._wire:
                    time.sleep(len(piece) / self.bytes_a_second)
                yield piece

    def reads(self, ending: str) -> list[str]:
        """The ranges that were read of files whose names end so; empty for whole files."""
        return [r for method, path, r in self.asked if method == "GET" and path.endswith(ending)]

    def put(self, folder: Path, name: str) -> str:
        """Copy a folder into the bucket; return its URL."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.fs.put_file(str(path), f"{BUCKET}/{name}/{path.relative_to(folder)}")
        return f"{URL}/{name}"

    def files(self, name: str) -> dict[str, bytes]:
        """What lies below a key, by the path below it."""
        self.fs.invalidate_cache()
        found = self.fs.find(f"{BUCKET}/{name}")
        return {path.removeprefix(f"{BUCKET}/{name}/"): self.fs.cat_file(path) for path in found}


def empty(server: StubS3, cache: Path, patch: pytest.MonkeyPatch) -> StubS3:
    """The server with an empty bucket, and an empty cache here; attempts follow at once."""
    patch.setenv("XDG_CACHE_HOME", str(cache / "cache"))
    patch.setattr("latte_cli.runtime.remote.access.FIRST_RETRY_AFTER_S", (0.01, 0.01))
    patch.setattr("latte_cli.runtime.remote.access.RETRY_AFTER_S", (0.01, 0.01, 0.01))
    server.before = lambda environment: None
    if server.files(""):
        server.fs.rm(URL, recursive=True)
        server.fs.mkdir(BUCKET)
    server.asked.clear()
    return server


@contextmanager
def running_s3() -> Iterator[StubS3]:
    """A server with one empty bucket, whose address and keys are in the environment."""
    pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    stub = StubS3()
    stub.application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, stub, threaded=True)
    stub.address = f"http://127.0.0.1:{server.server_port}"
    environment = {
        "AWS_ENDPOINT_URL": stub.address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        s3fs.S3FileSystem.clear_instance_cache()  # one of an earlier address
        stub.fs = s3fs.S3FileSystem()
        if not stub.fs.exists(BUCKET):  # moto's buckets outlive its servers
            stub.fs.mkdir(BUCKET)
        yield stub
        s3fs.S3FileSystem.clear_instance_cache()
        server.shutdown()
