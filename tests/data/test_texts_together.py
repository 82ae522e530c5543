"""Encoding texts in several processes at once, and after a process was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from latte_cli.data.texts import folder as text_folder
from latte_cli.data.texts.encoding import encode_missing
from latte_cli.data.texts.folder import TextFolder
from latte_cli.data.texts.inspecting import check_texts
from latte_cli.data.texts.shards import EncodedCaption, shard_files
from latte_cli.data.texts.store import TextMeta, TextSet, key_of
from latte_cli.runtime.console import Console

META = TextMeta("tiny", "f" * 8, width=3, tokens=120, clean=False, texts=0)
TEXTS = [f"text {number}" for number in range(40)]


def encode(texts):
    """Two tokens for each text, and a note of it."""
    found = []
    for text in texts:
        generator = torch.Generator().manual_seed(abs(key_of(text)))
        found.append(EncodedCaption(torch.randn(2, 3, generator=generator).bfloat16()))
        with Path("seen").open("a") as file:
            file.write(text + "\n")
    return found


def slowly(texts):
    """The same, for processes that are to meet."""
    Path("at-work", str(os.getpid())).touch()
    deadline = time.monotonic() + 120
    while len(os.listdir("at-work")) < 2:
        assert time.monotonic() < deadline, "the other does not begin"
        time.sleep(0.01)
    time.sleep(0.02)
    return encode(texts)


def thrice(texts):
    """The same, until three shards are there; then it hangs."""
    if len(shard_files(Path("texts"))) == 3:
        Path("hangs").touch()
        time.sleep(600)
    return encode(texts)


def work(encoder, folder: Path = Path("texts")) -> None:
    text_folder.CHUNK = 4
    encode_missing(TextFolder(folder, META, TEXTS), lambda: encoder, Console(quiet=True))


@pytest.fixture(autouse=True)
def _in_parts(monkeypatch) -> None:
    monkeypatch.setattr(text_folder, "CHUNK", 4)
    Path("at-work").mkdir()


def start(encoder: str = "slowly") -> "subprocess.Popen[str]":
    paths = (str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
    module = Path(__file__).stem
    return subprocess.Popen(
        [sys.executable, "-c", f"import {module}; {module}.work({module}.{encoder})"],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        },
        stderr=subprocess.PIPE,
        text=True,
    )


def files(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def embeddings(folder: str) -> list[bytes]:
    """Those of each text, whichever shard they are in."""
    texts = TextSet.open(Path(folder))
    numbers = texts.numbers(["", *TEXTS])
    found = [texts.embedding(int(number)) for number in numbers]
    return [each.view(torch.int16).numpy().tobytes() for each in found]


def test_two_processes_encode_each_text_once_and_the_same(monkeypatch):
    both = [start(), start()]
    for process in both:
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert sorted(Path("seen").read_text().splitlines()) == sorted(["", *TEXTS])
    work(encode, Path("calm"))
    assert files("texts") == files("calm")


def test_after_a_kill_the_same_command_goes_on_and_ends_with_the_same_bytes():
    process = start("thrice")
    deadline = time.monotonic() + 120
    while not Path("hangs").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    there = {path: path.stat().st_mtime_ns for path in shard_files(Path("texts"))}
    assert list(Path("texts/.encoding").glob("*.claim")), "of the dead process"
    assert not Path("texts/meta.json").exists()
    seen = Path("seen").read_text().splitlines()
    work(encode)
    twice = len(Path("seen").read_text().splitlines()) - len(TEXTS) - 1
    assert 0 <= twice <= text_folder.CHUNK, f"{len(seen)} were encoded before"
    assert {path: path.stat().st_mtime_ns for path in there} == there, "never written twice"
    work(encode, Path("calm"))
    assert embeddings("texts") == embeddings("calm")
    assert files("texts") == files("calm")
    assert check_texts(Path("texts"), META, TEXTS) == {}
