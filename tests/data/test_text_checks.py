"""What a folder of encoded texts holds, and every kind of damage to it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from latte_cli.data.texts import folder as text_folder
from latte_cli.data.texts.encoding import encode_missing
from latte_cli.data.texts.folder import TextFolder
from latte_cli.data.texts.inspecting import check_texts, count_text_checks, text_info
from latte_cli.data.texts.shards import EncodedCaption, read_shard_header, shard_files, write_shard
from latte_cli.data.texts.store import TextMeta, key_of
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import DataError

META = TextMeta("tiny", "f" * 8, width=3, tokens=120, clean=False, texts=0)
TEXTS = ["a cat", "a dog", "a bird"]
QUIET = Console(quiet=True)


def encode(texts):
    """As many tokens as letters; what is longer than eight is cut."""
    return [
        EncodedCaption(
            torch.full((min(8, len(text) + 1), 3), float(abs(key_of(text)) % 97)).bfloat16(),
            cut=max(0, len(text) - 7),
        )
        for text in texts
    ]


def fill(folder: Path, texts=TEXTS, meta=META) -> None:
    encode_missing(TextFolder(folder, meta, texts), lambda: encode, QUIET)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Two shards of two texts each: the null text and a cat, a dog and a bird."""
    monkeypatch.setattr(text_folder, "CHUNK", 2)
    fill(tmp_path / "texts")
    return tmp_path / "texts"


def problems(folder: Path, expected: TextMeta | None = META, texts=TEXTS) -> dict[str, str]:
    found = check_texts(folder, expected, texts)
    assert all(Path(path).parent == folder for path in found)
    return {Path(path).name: problem for path, problem in found.items()}


def test_an_intact_folder_has_no_problems_and_is_counted(folder):
    calls = []
    assert check_texts(folder, META, TEXTS, lambda: calls.append(1)) == {}
    assert len(calls) == count_text_checks(folder) == 2
    info = text_info(folder, ["a cat", "a dog", "a cat"], ["a bird"])
    assert (info.captions, info.distinct_captions) == (3, 2)
    assert (info.encoded_texts, info.missing_texts, info.lost_text_shards) == (4, 0, 0)
    assert (info.text_encoder, info.text_fingerprint, info.text_precision) == (
        "tiny", "f" * 8, "bf16",
    )  # fmt: skip
    assert info.text_bytes == sum(path.stat().st_size for path in shard_files(folder))


def test_what_is_missing_lost_or_cut_is_counted(folder, tmp_path):
    shard = shard_files(folder)[0]
    held = len(read_shard_header(shard).texts)
    shard.unlink()
    info = text_info(folder, [*TEXTS, "a fish"], [])
    assert (info.encoded_texts, info.missing_texts, info.lost_text_shards) == (4 - held, 3, 1)
    fill(folder, [*TEXTS, "far too long"])
    info = text_info(folder, [*TEXTS, "far too long", "far too long"], [])
    assert (info.missing_texts, info.cut_captions, info.cut_tokens) == (0, 1, 5)
    nothing = text_info(tmp_path / "none", TEXTS, [])
    assert (nothing.encoded_texts, nothing.missing_texts, nothing.text_encoder) == (0, 4, None)


def changed(path: Path, at: int, value: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + len(value)] = value
    path.write_bytes(content)


def last_number_changed(path: Path) -> None:
    changed(path, path.stat().st_size - 2, b"\x01\x3c")


def last_number_infinite(path: Path) -> None:
    changed(path, path.stat().st_size - 2, b"\x80\x7f")


def header_changed(path: Path) -> None:
    changed(path, 30, b"\x00\x00")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (last_number_changed, "text 1 is damaged"),
    (last_number_infinite, "text 1 holds numbers that are not finite"),
    (header_changed, "damaged"),
    (cut_off, "damaged"),
    (emptied, "damaged"),
    (Path.unlink, "missing or damaged"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_damaged_shard_is_named_and_repaired_by_encoding_again(folder, damage, message):
    shard = shard_files(folder)[0]
    content = shard.read_bytes()
    damage(shard)
    assert problems(folder) == {shard.name: message}
    shard.unlink(missing_ok=True)
    fill(folder)
    assert shard.read_bytes() == content
    assert problems(folder) == {}


def test_shards_that_are_not_of_the_folder_are_named(folder, tmp_path):
    first, second = shard_files(folder)
    shutil.copyfile(first, second)
    assert problems(folder)[second.name] == "its name does not match its content"
    fill(tmp_path / "other", meta=replace(META, fingerprint="0" * 8))
    (other, _) = shard_files(tmp_path / "other")
    shutil.copyfile(other, folder / other.name)
    assert problems(folder)[other.name] == "encoded with other settings than the others"


def test_the_index_is_compared_with_the_texts_and_the_shards(folder):
    said = problems(folder, texts=[*TEXTS, "a fish", "a fly"])
    assert said == {"index.safetensors": "2 texts are not encoded, the first: `a fish`"}
    meta = folder / "meta.json"
    meta.write_text(meta.read_text().replace('"texts": 4', '"texts": 5'))
    assert problems(folder) == {"index.safetensors": "has 4 texts, meta.json says 5"}
    first, second = shard_files(folder)
    names = {first.name: second.name, second.name: first.name}
    fill(folder)
    assert problems(folder) == {}
    index = folder / "index.safetensors"
    content = index.read_bytes()
    for name, other in names.items():
        content = content.replace(name.encode(), other.encode()[::-1])
    for other in names.values():
        content = content.replace(other.encode()[::-1], other.encode())
    index.write_bytes(content)
    assert "holds another text at place" in problems(folder)[first.name]
    fill(folder)
    assert problems(folder) == {}, "an index that is wrong is written again"


def test_damaged_and_missing_files_of_the_folder_are_named_and_written_again(folder):
    for name, content in (("index.safetensors", b"no"), ("meta.json", b"{")):
        (folder / name).write_bytes(content)
        assert "damaged" in problems(folder)[name]
        fill(folder)
        assert problems(folder) == {}
        (folder / name).unlink()
        assert name in problems(folder)
        fill(folder)
        assert problems(folder) == {}
    (folder / ".encoding").mkdir()
    assert problems(folder) == {".encoding": "the encoding is still running, or was killed"}
    fill(folder)
    assert problems(folder) == {}
    assert problems(folder.parent / "none") == {"meta.json": "no encoded captions here"}


def test_other_settings_are_named(folder):
    expected = replace(META, encoder="theirs", fingerprint="0" * 8)
    assert problems(folder, expected) == {
        "meta.json": "made by another text encoder than theirs is now"
    }
    expected = replace(META, precision="int8")
    assert problems(folder, expected) == {
        "meta.json": "precision is bf16, the configuration says int8"
    }
    assert problems(folder, None) == {}
    with pytest.raises(DataError, match="precision 'bf16' instead of 'int8'") as caught:
        fill(folder, meta=expected)
    assert "keeps both" in caught.value.hint


def test_a_text_in_two_shards_is_found_in_either(folder):
    """Two processes may have encoded it, where one took the other for dead."""
    extra = write_shard(folder, META, {"a dog": encode(["a dog"])[0]})
    fill(folder)
    assert problems(folder) == {}
    for path in shard_files(folder):
        if path != extra:
            continue
        path.unlink()
    fill(folder)
    assert problems(folder) == {}
