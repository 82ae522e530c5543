"""`latte convert --push`: shown first, sent whole, continued after interruptions, told in words."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import fail, invoke, succeed
from helpers.stub_hub import GOOD, READ_ONLY, StubHub

from latte_cli.config.locations import asset

SHAPES = asset("shapes-fast")
MODEL = "us/shapes"


def push(*words: object) -> dict:
    """What was uploaded, or would be."""
    result = succeed("--json", "convert", SHAPES, "made", f"--push={MODEL}", *words)
    return json.loads(result.stdout)["push"]


def refused(*words: object) -> str:
    return fail("convert", SHAPES, "made", f"--push={MODEL}", *words)


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def on_hub(hub: StubHub, branch: str = "main", model: str = MODEL) -> dict[str, bytes]:
    """What a branch holds, without what the hub itself puts there."""
    files = dict(hub.repositories[model].branches[branch])
    del files[".gitattributes"]
    return files


def test_without_yes_nothing_is_sent_and_all_is_shown(hub, tmp_path):
    result = succeed("convert", SHAPES, "made", f"--push={MODEL}", "--license=mit")
    assert not hub.asked
    files = contents(tmp_path / "made")
    assert set(files) == {"ema.safetensors", "config.yaml", "meta.json", "README.md"}
    assert all(name in result.stdout for name in files)
    assert "license: mit" in result.stdout, "the card"
    assert "Nothing is sent yet." in result.stderr
    assert f"convert {SHAPES} made --push={MODEL} --license=mit --yes" in result.stderr
    shown = push("--license=mit")
    assert not shown["uploaded"]
    assert shown["files"] == {name: len(content) for name, content in files.items()}
    assert shown["bytes"] == sum(map(len, files.values()))
    assert shown["card"].encode() == files["README.md"]
    assert not hub.asked


def test_what_arrives_is_the_folder_byte_for_byte(hub, tmp_path):
    shown = push("--yes", "--private")
    assert on_hub(hub) == contents(tmp_path / "made")
    assert shown["uploaded"]
    assert set(shown["sent"]) == set(on_hub(hub))
    assert shown["commit"].startswith(hub.url)
    assert hub.repositories[MODEL].private
    assert len(hub.repositories[MODEL].commits) == 1, "all files at once"


def test_the_same_again_sends_nothing(hub):
    push("--yes")
    sent = hub.sent()
    assert len(sent) == 1
    again = push("--yes")
    assert again["uploaded"]
    assert (again["sent"], again["commit"]) == ([], None)
    assert hub.sent() == sent
    assert len(hub.repositories[MODEL].commits) == 1
    said = succeed("convert", SHAPES, "made", f"--push={MODEL}", "--yes").stderr
    assert "as it did before" in said


def test_a_branch_is_made_and_main_stays_as_it_is(hub, tmp_path):
    push("--yes", "--revision=v2/fast")
    assert on_hub(hub, "v2/fast") == contents(tmp_path / "made")
    assert on_hub(hub) == {}
    assert b"--revision v2/fast" in on_hub(hub, "v2/fast")["README.md"]


def test_a_card_that_was_edited_is_kept_and_sent(hub, tmp_path):
    push()
    card = tmp_path / "made" / "README.md"
    made = card.read_text()
    push("--license=mit")
    assert "license: mit" in card.read_text(), "nobody edited it, so it is made anew"
    card.write_text(made.replace("# shapes", "# My shapes"))
    said = succeed("convert", SHAPES, "made", f"--push={MODEL}", "--yes").stderr
    assert "README.md was edited, and is kept" in said
    assert b"# My shapes" in on_hub(hub)["README.md"]


def test_other_files_of_the_same_names_are_kept_unless_overwritten(hub, tmp_path):
    theirs = hub.create(MODEL).branches["main"]
    theirs |= {"config.yaml": b"another model", "notes.txt": b"of somebody"}
    said = refused("--yes")
    assert f"{MODEL} exists, with other content in config.yaml" in said
    assert "--overwrite replaces these files" in said
    assert on_hub(hub) == {"config.yaml": b"another model", "notes.txt": b"of somebody"}
    push("--yes", "--overwrite")
    assert on_hub(hub) == {**contents(tmp_path / "made"), "notes.txt": b"of somebody"}


def test_a_public_repository_is_not_taken_for_a_private_one(hub):
    hub.create(MODEL)
    assert "exists already, and is public, but --private is given" in refused("--yes", "--private")
    assert on_hub(hub) == {}


def test_a_token_that_is_missing_wrong_or_only_reads_is_told(hub, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    said = refused("--yes")
    assert "no token of the hub on this machine" in said
    assert "hf auth login" in said
    assert not (tmp_path / "made").exists(), "found before anything is converted"
    assert not hub.asked
    assert not push()["uploaded"], "showing needs none"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "does not accept this machine's token (401" in refused("--yes")
    monkeypatch.setenv("HF_TOKEN", READ_ONLY)
    said = refused("--yes")
    assert f"{MODEL}: this machine's token may not write there (403: this token only reads)" in said
    assert not hub.repositories


def test_no_network_and_a_library_that_is_offline_are_told(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    said = refused("--yes")
    assert "the hub cannot be reached at http://127.0.0.1:9" in said
    assert "run the same command again" in said
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused("--yes")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/repos/create", 500, "the hub failed (500: out of order)"),
        ("/api/repos/create", 429, "too many requests from here (429"),
        (f"/api/models/{MODEL}/revision/main", 503, "the hub failed (503"),
        (f"/api/models/{MODEL}/preupload/main", 500, "the hub failed (500"),
        (f"/{MODEL}.git/info/lfs/objects/batch", 404, "no such repository or branch"),
        ("/large/", 500, "the hub failed (500"),
        ("/large/", 0, "the upload broke off"),
        (f"/api/models/{MODEL}/commit/main", 500, "the hub failed (500"),
        (f"/api/models/{MODEL}/commit/main", 412, "changed meanwhile by someone else (412"),
        (f"/api/models/{MODEL}/commit/main", 0, "the upload broke off"),
    ],
)
def test_a_hub_that_fails_is_told_and_the_same_command_goes_on(hub, tmp_path, path, status, words):
    hub.faults = lambda method, asked: status if asked.startswith(path) else None
    said = refused("--yes")
    assert words in said
    assert f"{MODEL}: " in said
    assert "run the same command again" in said
    assert not hub.repositories.get(MODEL) or on_hub(hub) == {}, "all or nothing"
    before = set(hub.large)
    hub.asked.clear()
    hub.faults = lambda method, asked: None
    push("--yes")
    assert on_hub(hub) == contents(tmp_path / "made")
    assert not before & set(hub.sent()), "what had arrived is not sent again"


def test_a_server_that_is_no_hub_is_told(hub, monkeypatch):
    monkeypatch.setattr("helpers.stub_hub._Handler._answer", _answer_with_a_page)
    assert "the answer is not that of a hub hint: is HF_ENDPOINT right?" in refused("--yes")


def _answer_with_a_page(self, status, values):
    self.send_response(200)
    self.end_headers()
    self.wfile.write(b"<html>")
    self.close_connection = True


def test_a_licence_that_the_hub_does_not_know_is_told(hub):
    said = refused("--yes", "--license=mine")
    assert 'refuses the card: - "license" must be one of apache-2.0' in said
    assert "--license" in said
    push("--yes", "--license=apache-2.0")
    assert b"license: apache-2.0" in on_hub(hub)["README.md"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize(("name", "code"), [("SIGKILL", -9), ("SIGINT", 130)])
def test_a_stopped_upload_goes_on_without_what_had_arrived(hub, tmp_path, name, code):
    """Stopped while the second of two large files is on its way."""
    second = hashlib.sha256(b"another large file").hexdigest()
    arrives, killed = threading.Event(), threading.Event()

    def hold(method: str, path: str) -> int | None:
        if not (method == "PUT" and path.endswith(second)):
            return None
        arrives.set()
        killed.wait(60)
        return 0

    hub.faults = hold
    succeed("convert", SHAPES, "made")
    (tmp_path / "made" / "more.safetensors").write_bytes(b"another large file")
    words = ["convert", str(SHAPES), "made", f"--push={MODEL}", "--yes"]
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": GOOD}
    command = [sys.executable, "-m", "latte_cli", *words]
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert arrives.wait(240)
    while not hub.large:  # both are sent at the same time
        assert running.poll() is None
    running.send_signal(signal.Signals[name])
    _, said = running.communicate()
    killed.set()
    assert running.returncode == code, said
    assert ("same command" in said) == (name == "SIGINT")
    (first,) = hub.large
    assert on_hub(hub) == {}
    hub.faults = lambda method, path: None
    hub.asked.clear()
    assert push("--yes")["uploaded"]
    assert hub.sent() == [second]
    assert first != second
    assert on_hub(hub) == contents(tmp_path / "made")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["made", "--push=shapes"], "a model of the hub is OWNER/NAME"),
        (["made", "--push=us/a--b"], "the hub has no such names"),
        (["made.pt", "--push=us/a"], "--push uploads a folder, but pt is a file"),
        (["made", "--push=us/a", "--license=My own"], "not an identifier of the hub"),
        (["made", "--yes"], "--yes has no effect without --push"),
        (["made", "--private"], "--private has no effect without --push"),
        (["made", "--license=mit"], "--license has no effect without --push"),
    ],
)
def test_options_that_do_not_go_together_are_told_before_anything_is_read(words, message):
    Path("weights.pt").touch()
    assert message in fail("convert", "weights.pt", *words)
    assert "error" in json.loads(invoke("--json", "convert", "weights.pt", *words).stdout)
