"""Models of the hub: what is downloaded is said, and a missing network is told once and soon."""

import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps
from threading import Thread
from typing import ClassVar

import pytest
from conftest import fail, invoke

from latte_cli.runtime.errors import CheckpointError, LatteNote
from latte_cli.runtime.weight_files import hub
from latte_cli.runtime.weight_files.hub import HubFolder, hub_autoencoder, hub_pipeline

COMMIT = "0" * 39 + "1"
FILES = {
    "config.json": b"{}",
    "vae/config.json": b'{"a": 1}',
    "vae/diffusion_pytorch_model.safetensors": b"x" * 2000,
    "vae/diffusion_pytorch_model.bin": b"y" * 3000,
    "old/pytorch_model.bin": b"z" * 10,
}


class FakeHub(BaseHTTPRequestHandler):
    """Answers what is asked to list and to download one model, `us/model`."""

    asked: ClassVar[list[str]] = []

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.asked.append(path)
        listing = f"/api/models/us/model/tree/{COMMIT}"
        if path.startswith(listing):
            rows = [
                {"type": "file", "path": n, "size": len(c), "oid": f"{len(c):040d}"}
                for n, c in FILES.items()
            ]
            return self.answer(dumps(rows).encode())
        if path.startswith("/api/models/us/model"):
            files = [{"rfilename": n, "size": len(c)} for n, c in FILES.items()]
            return self.answer(dumps({"id": "us/model", "sha": COMMIT, "siblings": files}).encode())
        name = path.removeprefix(f"/us/model/resolve/{COMMIT}/")
        if name in FILES:
            return self.answer(FILES[name])
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        return None

    def answer(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{len(content):040d}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *words):
        pass


@pytest.fixture
def online(tmp_path, monkeypatch):
    """The hub's library with an empty cache, told that it may ask; set where it asks."""
    hub._list_files.cache_clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)

    def at(endpoint):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)

    yield at
    hub._list_files.cache_clear()


@pytest.fixture
def server(online):
    """A small hub on this machine; gives what was asked."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    Thread(target=running.serve_forever, daemon=True).start()
    online(f"http://127.0.0.1:{running.server_port}")
    FakeHub.asked.clear()
    yield FakeHub.asked
    running.shutdown()


@pytest.fixture(params=["refuses", "is silent"])
def no_network(request, online):
    """No server at all, or one that takes connections and never answers."""
    with socket.socket() as waiting:
        waiting.bind(("127.0.0.1", 0))
        if request.param == "is silent":
            waiting.listen()
        online(f"http://127.0.0.1:{waiting.getsockname()[1]}")
        yield


@pytest.mark.parametrize(
    "words",
    [
        ("t2v", "a"),
        ("calibrate", "--model=us/model"),
        ("sample", "--preset=shapes", "-o", "vae.path=us/model"),
    ],
)
def test_without_a_network_one_line_says_so_within_3_seconds(no_network, words):
    started = time.monotonic()
    said = fail(*words)
    assert time.monotonic() - started < 6, "3 s, on a quiet machine"
    assert "not found on this machine, and the hub cannot be reached" in said
    assert len(invoke(*words).stderr.splitlines()) == 2, "error and hint"


def test_a_folder_is_downloaded_once_and_its_size_is_said(server):
    with pytest.warns(LatteNote, match=r"us/model/vae \(0.00201 MB, 2 files\) from http://127"):
        folder = hub_pipeline("us/model", "vae").fetch()
    found = {path.name for path in folder.iterdir()}
    assert found == {"config.json", "diffusion_pytorch_model.safetensors"}, "and no pickles"
    asked = [path for path in server if "/resolve/" in path]
    assert hub_pipeline("us/model", "vae").fetch() == folder
    assert [path for path in server if "/resolve/" in path] == asked, "nothing is fetched twice"


def test_what_is_in_the_cache_is_used_without_a_network(server, online, monkeypatch):
    with pytest.warns(LatteNote):
        folder = hub_pipeline("us/model", "vae").fetch()
    with pytest.warns(LatteNote):
        root = hub_autoencoder("us/model").fetch()
    assert root == folder.parent
    hub._list_files.cache_clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert hub_pipeline("us/model", "vae").fetch() == folder
    assert hub_autoencoder("us/model").fetch() == root
    hub_pipeline("us/model", "vae").check()
    for missing in (hub_pipeline("us/model", "old"), HubFolder("us/other", "", "mend it")):
        with pytest.raises(CheckpointError, match="cannot be reached"):
            missing.check()


def test_a_model_that_the_hub_does_not_have_is_another_error(server):
    with pytest.raises(CheckpointError, match="us/nothing: the hub has no such model"):
        hub_pipeline("us/nothing", "vae").fetch()
    with pytest.warns(LatteNote):
        assert hub_pipeline("us/model", "old").fetch().name == "old", "pickles if there is no other"
