"""Shards of encoded texts: what each holds, and writing one, which appears whole or not at all."""

# Axes: l tokens of a text, d width of the embeddings.

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from latte_cli.data.texts.store import HEADER, TextMeta, key_of
from latte_cli.runtime.files import write_tensors
from latte_cli.runtime.records import record_from

_NAME = re.compile(r"texts-[0-9a-f]{16}\.safetensors")
_DIGITS = 16  # of a checksum


@dataclass(frozen=True)
class EncodedCaption:
    """What the encoder makes of a text.

    Attributes:
        tokens: embeddings, (l, d), without padding.
        cut: number of tokens at its end that did not fit.
        unknown: number of tokens that stand for what the tokenizer does not know.
    """

    tokens: Tensor
    cut: int = 0
    unknown: int = 0


@dataclass(frozen=True)
class StoredText:
    """What a shard records of a text.

    Attributes:
        key: of the text.
        checksum: of its embeddings.
        length: their number.
        cut: as in EncodedCaption.
        unknown: likewise.
    """

    key: int
    checksum: str
    length: int
    cut: int
    unknown: int

    @property
    def is_incomplete(self) -> bool:
        """Whether the encoder did not take all of it; a text without words has one token."""
        return bool(self.cut or self.unknown or self.length <= 1)


@dataclass(frozen=True)
class ShardHeader:
    """What a shard records.

    Attributes:
        kind: how its texts were encoded, and by which encoder.
        texts: each text, in order.
    """

    kind: dict[str, str | int | bool]
    texts: tuple[StoredText, ...]


def shard_name(meta: TextMeta, keys: Sequence[int]) -> str:
    """Name of the shard that holds the texts of these keys, encoded as `meta` says."""
    digest = sha256(json.dumps([meta.kind, list(keys)]).encode())
    return f"texts-{digest.hexdigest()[:16]}.safetensors"


def shard_files(folder: Path) -> list[Path]:
    """The finished shards of a folder; unfinished ones have other names."""
    return sorted(path for path in folder.glob("texts-*") if _NAME.fullmatch(path.name))


def checksum(tokens: Tensor) -> str:
    """The first 64 bits of the SHA-256 of some embeddings, in hex."""
    return sha256(tokens.view(torch.int16).numpy().tobytes()).hexdigest()[:_DIGITS]


def read_shard_header(path: Path) -> ShardHeader:
    """What a shard records.

    Raises:
        ValueError: if the shard is damaged.
    """
    try:
        with safe_open(path, "pt") as shard:
            metadata = shard.metadata() or {}
        return record_from(ShardHeader, json.loads(metadata[HEADER]))
    except (SafetensorError, FileNotFoundError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged") from error


def write_shard(folder: Path, meta: TextMeta, texts: Mapping[str, EncodedCaption]) -> Path:
    """Write a shard of some texts; its name follows from which they are."""
    tensors = [each.tokens.to("cpu", torch.bfloat16).contiguous() for each in texts.values()]
    stored = tuple(
        StoredText(key_of(text), checksum(tokens), len(tokens), each.cut, each.unknown)
        for (text, each), tokens in zip(texts.items(), tensors, strict=True)
    )
    header = ShardHeader({"encoder": meta.encoder, **meta.kind}, stored)
    path = folder / shard_name(meta, [each.key for each in stored])
    numbered = {str(position): tokens for position, tokens in enumerate(tensors)}
    write_tensors(path, numbered, {HEADER: json.dumps(asdict(header))})
    return path
