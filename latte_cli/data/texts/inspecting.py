"""What a folder of encoded texts holds, in numbers, and whether all of it is intact."""

# Axes: l tokens of a text, d width of the embeddings.

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from latte_cli.data.texts.losses import losses_of
from latte_cli.data.texts.shards import (
    ShardHeader,
    StoredText,
    checksum,
    read_shard_header,
    shard_files,
    shard_name,
)
from latte_cli.data.texts.store import (
    INDEX,
    META,
    NULL_TEXT,
    WORK,
    TextMeta,
    key_of,
    read_places,
    require_meta,
)
from latte_cli.runtime.errors import DataError

Problem = tuple[str, str]
"""The name of a file, and what is wrong with it."""

_SHOWN = 60  # characters of a text in a message


@dataclass(frozen=True)
class TextInfo:
    """What `--info` reports of encoded captions.

    Attributes:
        texts: the folder.
        text_encoder: as it was given; None if nothing is encoded.
        text_fingerprint: of its weights and its vocabulary; None likewise.
        text_precision: of its weights; None likewise.
        captions: of all videos, also those that are the same.
        distinct_captions: how many of them differ.
        encoded_texts: different captions, preview prompts and the null text that are encoded.
        missing_texts: those that are not, or whose shard is lost.
        lost_text_shards: number of shards that are missing or damaged.
        cut_captions: captions and prompts longer than the encoder takes.
        cut_tokens: tokens of theirs that are left out.
        text_bytes: total size of the shards.
    """

    texts: Path
    text_encoder: str | None
    text_fingerprint: str | None
    text_precision: str | None
    captions: int
    distinct_captions: int
    encoded_texts: int
    missing_texts: int
    lost_text_shards: int
    cut_captions: int
    cut_tokens: int
    text_bytes: int


def text_info(folder: Path, captions: Sequence[str], prompts: Iterable[str]) -> TextInfo:
    """Count what a folder of encoded texts holds.

    Args:
        folder: of the texts; it need not exist.
        captions: of the data set, also those that are the same.
        prompts: of previews, which are encoded, too.
    """
    distinct = dict.fromkeys(captions)
    headers, lost = _headers(folder)
    kinds = [header.kind for header in headers.values()]
    stored = {each.key: each for header in headers.values() for each in header.texts}
    wanted = list(dict.fromkeys([NULL_TEXT, *prompts, *distinct]))
    encoded = sum(key_of(text) in stored for text in wanted)
    losses = losses_of(wanted, stored)
    first: Mapping[str, object] = kinds[0] if kinds else {}
    encoder, fingerprint, precision = (
        None if (value := first.get(name)) is None else str(value)
        for name in ("encoder", "fingerprint", "precision")
    )
    return TextInfo(
        texts=folder,
        text_encoder=encoder,
        text_fingerprint=fingerprint,
        text_precision=precision,
        captions=len(captions),
        distinct_captions=len(distinct),
        encoded_texts=encoded,
        missing_texts=len(wanted) - encoded,
        lost_text_shards=len(lost),
        cut_captions=len(losses.cut),
        cut_tokens=sum(losses.cut.values()),
        text_bytes=sum((folder / name).stat().st_size for name in headers),
    )


def _headers(folder: Path) -> tuple[dict[str, ShardHeader], set[str]]:
    """What each shard records, by name; the names of those that are damaged or missing."""
    headers: dict[str, ShardHeader] = {}
    lost = set()
    for path in shard_files(folder):
        try:
            headers[path.name] = read_shard_header(path)
        except ValueError:
            lost.add(path.name)
    with suppress(DataError):  # the encoding is not finished
        lost |= {name for name, _ in read_places(folder).values()} - headers.keys()
    return headers, lost


def count_text_checks(folder: Path) -> int:
    """How often `check_texts` calls back."""
    return len(shard_files(folder))


def check_texts(
    folder: Path,
    expected: TextMeta | None,
    texts: Sequence[str],
    on_done: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Check settings, index, and every number of every shard.

    Args:
        folder: of the texts.
        expected: how they should be encoded; None if the encoder is not available.
        texts: the captions of the data set, and the prompts of previews.
        on_done: called after each shard.

    Returns:
        The first problem of each file, by its path, causes before their consequences; empty if
        there are none.
    """
    found: dict[str, str] = {}
    for name, problem in _problems(folder, expected, texts, on_done):
        found.setdefault(str(folder / name), problem)
    return found


def _problems(
    folder: Path, expected: TextMeta | None, texts: Sequence[str], on_done: Callable[[], None]
) -> Iterator[Problem]:
    meta = None
    try:
        meta = require_meta(folder)
        yield from ((META, problem) for problem in _problems_of_meta(meta, expected))
    except DataError as error:
        yield META, str(error).partition(": ")[2]
    if (folder / WORK).is_dir():
        yield WORK, "the encoding is still running, or was killed"
    stored: dict[tuple[str, int], StoredText] = {}
    for path in shard_files(folder):
        try:
            header = read_shard_header(path)
            stored |= {(path.name, place): each for place, each in enumerate(header.texts)}
            yield from ((path.name, problem) for problem in _problems_of_shard(path, header, meta))
        except ValueError:
            yield path.name, "damaged"
        on_done()
    if meta is not None:
        yield from _problems_of_index(folder, meta, stored, [NULL_TEXT, *texts])


def _problems_of_meta(meta: TextMeta, expected: TextMeta | None) -> Iterator[str]:
    """Compare the metadata with how texts should be encoded."""
    if expected is None:
        return
    for name, value in expected.kind.items():
        if getattr(meta, name) == value:
            continue
        if name == "fingerprint":
            yield f"made by another text encoder than {expected.encoder} is now"
        else:
            yield f"{name} is {getattr(meta, name)}, the configuration says {value}"


def _problems_of_shard(path: Path, header: ShardHeader, meta: TextMeta | None) -> Iterator[str]:
    """Check a shard's name and every number in it."""
    if meta is not None:
        if any(header.kind.get(name) != value for name, value in meta.kind.items()):
            yield "encoded with other settings than the others"
            return
        if path.name != shard_name(meta, [each.key for each in header.texts]):
            yield "its name does not match its content"
    width = header.kind.get("width")
    try:
        with safe_open(path, "pt") as shard:
            names = set(shard.keys())
            for position, stored in enumerate(header.texts):
                if problem := _problem_of_text(shard, names, position, stored, width):
                    yield problem
    except (SafetensorError, OSError) as error:
        yield f"damaged ({error})"


def _problem_of_text(
    shard: Any, names: set[str], position: int, stored: StoredText, width: object
) -> str:
    """What is wrong with the embeddings of a text; empty if nothing is."""
    name = str(position)
    if name not in names:
        return f"text {name} is missing"
    tensor = shard.get_slice(name)
    shape = [stored.length, width]
    if (tensor.get_dtype(), list(tensor.get_shape())) != ("BF16", shape):
        return f"text {name} is {tensor.get_dtype()} {tensor.get_shape()}, not BF16 {shape}"
    tokens = shard.get_tensor(name)
    if not tokens.isfinite().all():
        return f"text {name} holds numbers that are not finite"
    return "" if checksum(tokens) == stored.checksum else f"text {name} is damaged"


def _problems_of_index(
    folder: Path,
    meta: TextMeta,
    stored: Mapping[tuple[str, int], StoredText],
    texts: Sequence[str],
) -> Iterator[Problem]:
    """Compare the index with the shards, the metadata and the texts of the data set."""
    try:
        places = read_places(folder)
    except DataError as error:
        yield INDEX, str(error).partition(": ")[2]
        return
    if len(places) != meta.texts:
        yield INDEX, f"has {len(places)} texts, {META} says {meta.texts}"
    for key, place in places.items():
        if place not in stored:
            yield place[0], "missing or damaged"
        elif stored[place].key != key:
            yield place[0], f"holds another text at place {place[1]} than {INDEX} says"
    missing = [text for text in dict.fromkeys(texts) if key_of(text) not in places]
    if missing:
        yield INDEX, f"{len(missing)} texts are not encoded, the first: `{missing[0]:.{_SHOWN}}`"
