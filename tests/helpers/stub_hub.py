"""A small hub on 127.0.0.1: repositories, branches, large files and commits, as its library asks.

It keeps what it is sent, and checks it as the hub does: tokens, checksums of large files, parents
of commits, and the metadata of cards.
"""

import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote

import yaml

GOOD, READ_ONLY = "hf_good", "hf_read_only"
LICENCES = ("apache-2.0", "mit", "other")
_LARGE = (".safetensors", ".mp4", ".model")


@dataclass
class Repository:
    """The files of each branch, and the commits."""

    private: bool = False
    branches: dict[str, dict[str, bytes]] = field(default_factory=dict)
    commits: list[dict[str, Any]] = field(default_factory=list)

    @property
    def head(self) -> str:
        return f"{len(self.commits):040d}"


class StubHub:
    """What the hub holds, and what it was asked.

    Attributes:
        repositories: by id.
        large: files by checksum, which no commit may name yet.
        asked: method and path of every request.
        faults: called with method and path before an answer: a status to fail with, or None.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.faults: Callable[[str, str], int | None] = lambda method, path: None
        self.url = ""

    def sent(self) -> list[str]:
        """Checksums of the large files that were sent, in order."""
        return [path.rpartition("/")[2] for method, path in self.asked if method == "PUT"]

    def create(self, model: str, *, private: bool = False) -> Repository:
        made = Repository(private, {"main": {".gitattributes": b"*.safetensors filter=lfs\n"}})
        self.repositories[model] = made
        return made


@contextmanager
def running_hub() -> Iterator[StubHub]:
    """A hub that answers at `url`."""
    hub = StubHub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: StubHub

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, *words: object) -> None:
        pass

    def _serve(self) -> None:
        path = unquote(self.path.partition("?")[0])
        body = self._body()
        self.state.asked.append((self.command, path))
        fault = self.state.faults(self.command, path)
        if fault is not None:
            if fault == 0:  # the connection breaks
                self.close_connection = True
                return
            self._answer(fault, {"error": "out of order"})
        elif path.startswith("/large/"):
            self._keep(path, body)
        elif self._may(path):
            self._answer(*self._reply(path, body))

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _may(self, path: str) -> bool:
        """Whether the token allows it; else that is answered."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in (GOOD, READ_ONLY):
            self._answer(401, {"error": "Invalid credentials in Authorization header"})
        elif token == READ_ONLY and self.command != "GET" and "validate" not in path:
            self._answer(403, {"error": "this token only reads"})
        else:
            return True
        return False

    def _keep(self, path: str, body: bytes) -> None:
        """A large file, whose checksum is its address."""
        checksum = path.rpartition("/")[2]
        assert hashlib.sha256(body).hexdigest() == checksum
        self.state.large[checksum] = body
        self._answer(200, {})

    def _reply(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return _validate(json.loads(body)["content"])
        if found := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            return 200, self._batch(json.loads(body))
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(\w+)/(.+))?", path)
        assert found, path
        repository = self.state.repositories.get(found[1])
        if repository is None:
            return 404, {"error": "Repository not found"}
        if found[2] == "branch":
            known = found[3] in repository.branches
            repository.branches.setdefault(found[3], dict(repository.branches["main"]))
            return (409 if known else 200), {}
        files = repository.branches.get(found[3] or "main")
        if files is None:
            return 404, {"error": "Invalid rev id"}
        if found[2] == "preupload":
            return 200, {"files": [_mode(each) for each in json.loads(body)["files"]]}
        if found[2] == "commit":
            return self._commit(found[1], files, body)
        listed = [_listed(name, content) for name, content in files.items()]
        about = {"id": found[1], "sha": repository.head, "private": repository.private}
        return 200, {**about, "siblings": listed}

    def _create(self, wanted: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        model = f"{wanted['organization']}/{wanted['name']}"
        answer = {"url": f"{self.state.url}/{model}"}
        if model in self.state.repositories:
            return 409, {**answer, "error": "You already created this model repo"}
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.state.create(model, private=private)
        return 200, answer

    def _batch(self, wanted: dict[str, Any]) -> dict[str, Any]:
        objects = []
        for each in wanted["objects"]:
            upload = {"href": f"{self.state.url}/large/{each['oid']}"}
            missing = each["oid"] not in self.state.large
            objects.append({**each, **({"actions": {"upload": upload}} if missing else {})})
        return {"transfer": "basic", "objects": objects}

    def _commit(
        self, model: str, files: dict[str, bytes], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        repository = self.state.repositories[model]
        (header, *changes) = [json.loads(line) for line in body.splitlines()]
        if header["value"].get("parentCommit", repository.head) != repository.head:
            return 412, {"error": "the branch has moved"}
        for change in changes:
            value = change["value"]
            is_large = change["key"] == "lfsFile"
            content = self.state.large[value["oid"]] if is_large else b64decode(value["content"])
            files[value["path"]] = content
        repository.commits.append(header["value"])
        made = f"{self.state.url}/{model}/commit/{repository.head}"
        return 200, {"commitUrl": made, "commitOid": repository.head, "pullRequestUrl": None}

    def _answer(self, status: int, values: dict[str, Any]) -> None:
        content = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if status == 401:
            self.send_header("X-Error-Message", "Invalid credentials in Authorization header")
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        self.wfile.write(content)


def _mode(file: dict[str, Any]) -> dict[str, Any]:
    mode = "lfs" if file["path"].endswith(_LARGE) else "regular"
    return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}


def _listed(name: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    row = {"rfilename": name, "size": len(content), "blobId": blob}
    if name.endswith(_LARGE):
        checksum = hashlib.sha256(content).hexdigest()
        row["lfs"] = {"size": len(content), "sha256": checksum, "pointerSize": 130}
    return row


def _validate(card: str) -> tuple[int, dict[str, Any]]:
    """As the hub does, of a few licences."""
    (_, metadata, _) = card.split("---\n", 2)
    named = yaml.safe_load(metadata).get("license")
    if named not in (None, *LICENCES):
        return 400, {"errors": [{"message": f'"license" must be one of {", ".join(LICENCES)}'}]}
    return 200, {"warnings": [], "errors": []}
