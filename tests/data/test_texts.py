"""Encoded texts on disk: each once, found by the text, kept when encoding is interrupted."""

from collections.abc import Sequence
from pathlib import Path

import fsspec
import pytest
import torch
from torch import Tensor

from latte_cli.data.texts import encoding
from latte_cli.data.texts import folder as text_folder
from latte_cli.data.texts.encoding import encode_missing
from latte_cli.data.texts.folder import TextFolder
from latte_cli.data.texts.shards import EncodedCaption, shard_files
from latte_cli.data.texts.store import INDEX, TextMeta, TextSet, key_of
from latte_cli.data.texts.store import META as META_FILE
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import DataError, RemoteError
from latte_cli.runtime.remote.folders import fetch_files
from latte_cli.runtime.remote.urls import local_path

META = TextMeta("tiny", "f" * 8, width=3, tokens=120, clean=False, texts=0)
QUIET = Console(quiet=True)


class Encoder:
    """A text becomes as many tokens as it has letters, and one; counts the texts it is given."""

    def __init__(self, fail_after: int = 10**9) -> None:
        self.seen: list[str] = []
        self.fail_after = fail_after

    def load(self) -> "Encoder":
        return self

    def __call__(self, texts: Sequence[str]) -> list[EncodedCaption]:
        if len(self.seen) == self.fail_after:
            raise KeyboardInterrupt
        self.seen += texts
        return [EncodedCaption(expected(text)) for text in texts]


def expected(text: str) -> Tensor:
    generator = torch.Generator().manual_seed(abs(key_of(text)))
    return torch.randn(len(text) + 1, 3, generator=generator).bfloat16()


def encode(folder: Path, texts: Sequence[str], encoder: Encoder, meta: TextMeta = META) -> int:
    return encode_missing(TextFolder(folder, meta, texts), encoder.load, QUIET)


def test_every_text_is_encoded_once_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr(text_folder, "CHUNK", 2)
    texts = ["a cat", "a dog", "a cat", "two birds", "a dog"]
    encoder = Encoder()
    assert encode(tmp_path, texts, encoder) == 4
    assert sorted(encoder.seen) == ["", "a cat", "a dog", "two birds"], "the null text, too"
    found = TextSet.open(tmp_path)
    assert len(found) == found.meta.texts == 4
    numbers = found.numbers([*texts, ""])
    assert numbers[0] == numbers[2]
    for text, number in zip([*texts, ""], numbers, strict=True):
        assert torch.equal(found.embedding(int(number)), expected(text))


def test_texts_that_are_there_are_not_encoded_again_nor_is_the_encoder_loaded(tmp_path):
    encode(tmp_path, ["a", "b"], Encoder())

    def load() -> Encoder:
        raise AssertionError("loaded")

    assert encode_missing(TextFolder(tmp_path, META, ["b", "a", "a"]), load, QUIET) == 0
    more = Encoder()
    encode(tmp_path, ["a", "c", "b"], more)
    assert more.seen == ["c"]
    assert len(TextSet.open(tmp_path)) == 4


def test_what_is_done_is_kept_when_encoding_is_interrupted(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        encode(tmp_path, ["a", "b", "c"], Encoder(fail_after=2))
    with pytest.raises(DataError, match="no encoded captions here"):
        TextSet.open(tmp_path)
    rest = Encoder()
    assert encode(tmp_path, ["a", "b", "c"], rest) == 2
    assert rest.seen == ["b", "c"]
    assert not (tmp_path / ".encoding").exists()


def test_a_shard_is_written_every_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "CLOSE_AFTER_S", 0.0)
    encode(tmp_path, ["a", "b"], Encoder())
    assert len(shard_files(tmp_path)) == 3
    assert torch.equal(
        TextSet.open(tmp_path).embedding(int(TextSet.open(tmp_path).numbers(["b"])[0])),
        expected("b"),
    )


def test_a_damaged_shard_is_encoded_again(tmp_path):
    encode(tmp_path, ["a"], Encoder())
    (shard,) = shard_files(tmp_path)
    shard.write_bytes(shard.read_bytes()[:40])
    with pytest.raises(DataError, match="missing or damaged"):
        TextSet.open(tmp_path).embedding(0)
    again = Encoder()
    encode(tmp_path, ["a"], again)
    assert again.seen == ["", "a"]
    found = TextSet.open(tmp_path)
    assert torch.equal(found.embedding(int(found.numbers(["a"])[0])), expected("a"))


def test_texts_of_another_encoder_and_texts_that_are_not_there_are_errors(tmp_path):
    encode(tmp_path, ["a"], Encoder())
    other = TextMeta("other", "0" * 8, width=3, tokens=120, clean=False, texts=0)
    with pytest.raises(DataError, match="other settings: fingerprint 'ffffffff' instead of"):
        encode(tmp_path, ["a"], Encoder(), other)
    with pytest.raises(DataError, match="`unknown` is not encoded, and 1 more"):
        TextSet.open(tmp_path).numbers(["a", "unknown", "neither"])


def test_texts_that_lie_elsewhere_are_read_as_here_and_checked(tmp_path, monkeypatch):
    """In fsspec's memory; each embedding is one range of a shard."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    texts = ["a cat", "a dog"]
    encode(tmp_path / "here", texts, Encoder())
    store = fsspec.filesystem("memory")
    for path in (tmp_path / "here").iterdir():
        store.pipe_file(f"/texts/{path.name}", path.read_bytes())
    elsewhere = local_path("memory://texts")
    fetch_files(elsewhere, (META_FILE, INDEX))
    found = TextSet.open(elsewhere)
    for text, number in zip(texts, found.numbers(texts), strict=True):
        assert torch.equal(found.embedding(int(number)), expected(text))
    (shard,) = shard_files(tmp_path / "here")
    store.pipe_file(f"/texts/{shard.name}", shard.read_bytes()[:-2] + b"xx")
    (tmp_path / "cache" / "latte" / "parts").rename(tmp_path / "forgotten")
    with pytest.raises(RemoteError, match="fails its checksum"):
        for number in range(3):
            TextSet.open(elsewhere).embedding(number)
    store.rm("/texts", recursive=True)
