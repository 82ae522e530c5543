"""Encoded texts on disk: each text once, in memory-mapped shards.

A shard is one safetensors file that holds the embeddings of its n-th text as tensor `n`, (l, d)
bfloat16, without padding (but see `NULL_TEXT`). Its metadata say which texts these are, how they
were encoded and what their numbers add up to (`shards`). `meta.json` holds what all texts of the
folder have in common, `index.safetensors` where each is.
"""

# Axes: n texts, l tokens of a text, d width of the embeddings.

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file
from torch import Tensor

from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import write_tensors, write_text
from latte_cli.runtime.records import record_from
from latte_cli.runtime.remote.shards import RemoteShards, ShardItem
from latte_cli.runtime.remote.urls import url_of

INDEX, META, WORK = "index.safetensors", "meta.json", ".encoding"
HEADER = "header"
"""The key of a shard's metadata: a `ShardHeader` as JSON.

There is only one, since the library writes several in any order: the same texts make the same file.
"""

NULL_TEXT = ""
"""The text of a clip without one.

It is kept with its padding, as the published pipeline guides: its embeddings, cut to the length of
the prompt, are what guidance leads away from.
"""

_KIND = ("fingerprint", "width", "tokens", "clean", "precision")
_MAX_OPEN_SHARDS = 64
_KEY_BYTES = 8  # of 25 million texts, two share a key once in 10^5 data sets
_AGAIN = "run the same `latte encode-latents` command again; what is encoded is kept"


@dataclass(frozen=True)
class TextMeta:
    """What all encoded texts of a folder have in common.

    Attributes:
        encoder: of the texts, as it was given.
        fingerprint: of its weights and its tokenizer's files.
        width: of the embeddings.
        tokens: that a text is cut after.
        clean: whether texts were cleaned as those of the published networks.
        texts: how many different ones the finished folder holds.
        precision: of the encoder's weights.
    """

    encoder: str
    fingerprint: str
    width: int
    tokens: int
    clean: bool
    texts: int
    precision: str = "bf16"

    @property
    def kind(self) -> dict[str, str | int | bool]:
        """The settings that a text's embedding depends on."""
        return {name: getattr(self, name) for name in _KIND}


def key_of(text: str) -> int:
    """Identifies a text: the first 64 bits of its SHA-256, as a signed number."""
    return int.from_bytes(sha256(text.encode()).digest()[:_KEY_BYTES], "big", signed=True)


class TextSet:
    """A finished folder of encoded texts, open for reading by several threads.

    Attributes:
        folder: the folder.
        meta: what its texts have in common.
    """

    def __init__(
        self, folder: Path, meta: TextMeta, index: dict[str, NDArray[Any]], shards: Sequence[str]
    ) -> None:
        self.folder, self.meta = folder, meta
        self._keys, self._shards = index["keys"], index["shards"]
        self._positions, self._names = index["positions"], shards
        self._shard = lru_cache(maxsize=_MAX_OPEN_SHARDS)(self._open)
        url = url_of(folder)
        self._elsewhere = None if url is None else RemoteShards(url, _items)

    @classmethod
    def open(cls, folder: Path) -> "TextSet":
        """Read a folder's metadata and index.

        Raises:
            DataError: if there are no texts, the encoding is unfinished or a file is damaged.
        """
        meta = require_meta(folder)
        index, names = _read_index(folder)
        if len(index["keys"]) < meta.texts:
            raise DataError(
                f"{folder}: {len(index['keys'])} of {meta.texts} texts are encoded", hint=_AGAIN
            )
        return cls(folder, meta, index, names)

    def __len__(self) -> int:
        return len(self._keys)

    def numbers(self, texts: Iterable[str]) -> NDArray[np.intp]:
        """The numbers of some texts in this folder, (n,).

        Raises:
            DataError: if one is not encoded; names it.
        """
        texts = list(texts)
        keys = np.array([key_of(text) for text in texts], np.int64)
        found = np.searchsorted(self._keys, keys)
        found[found == len(self._keys)] = 0
        missing = np.flatnonzero(self._keys[found] != keys) if len(self._keys) else [0]
        if len(missing):
            raise DataError(
                f"{self.folder}: `{texts[missing[0]]:.60}` is not encoded, and "
                f"{len(missing) - 1} more",
                hint="`latte encode-latents` encodes captions that are new",
            )
        return found

    def embedding(self, number: int) -> Tensor:
        """The embeddings of the n-th text, (l, d) bfloat16 in mapped memory.

        Raises:
            DataError: if its shard is missing or damaged.
        """
        name, position = self._names[int(self._shards[number])], int(self._positions[number])
        if self._elsewhere is not None:
            return self._elsewhere.read(name, position)[str(position)]
        try:
            tensor: Tensor = self._shard(name).get_tensor(str(position))
        except (SafetensorError, FileNotFoundError) as error:
            raise DataError(
                f"{self.folder / name}: missing or damaged",
                hint="delete it if it is there, and run `latte encode-latents` again",
            ) from error
        return tensor

    def _open(self, name: str) -> Any:
        return safe_open(self.folder / name, "pt")


def _items(metadata: Mapping[str, str]) -> list[ShardItem]:
    """The tensor and the checksum of each text of a shard."""
    texts = json.loads(metadata[HEADER])["texts"]
    return [ShardItem((str(n),), text["checksum"]) for n, text in enumerate(texts)]


def write_index(folder: Path, meta: TextMeta, places: dict[int, tuple[str, int]]) -> None:
    """Write where each text is, then the metadata, which say that the folder is whole.

    Args:
        folder: of the texts.
        meta: what they have in common.
        places: shard and position by the text's key.
    """
    keys = np.array(sorted(places), np.int64)
    names = sorted({name for name, _ in places.values()})
    numbers = {name: number for number, name in enumerate(names)}
    index = {
        "keys": keys,
        "shards": np.array([numbers[places[int(key)][0]] for key in keys], np.int32),
        "positions": np.array([places[int(key)][1] for key in keys], np.int32),
    }
    tensors = {name: torch.from_numpy(values) for name, values in index.items()}
    write_tensors(folder / INDEX, tensors, {"shards": json.dumps(names)})
    write_text(folder / META, json.dumps(asdict(meta), indent=2) + "\n")


def read_places(folder: Path) -> dict[int, tuple[str, int]]:
    """Shard and position of each text, by its key.

    Raises:
        DataError: if there is no index, or it is damaged.
    """
    index, names = _read_index(folder)
    shards, positions = index["shards"].tolist(), index["positions"].tolist()
    places = zip((names[number] for number in shards), positions, strict=True)
    return dict(zip(index["keys"].tolist(), places, strict=True))


def _read_index(folder: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The arrays `keys` (sorted), `shards` and `positions`, (n,), and the names of the shards."""
    path = folder / INDEX
    try:
        with safe_open(path, "np") as file:
            names = json.loads(file.metadata()["shards"])
        index = load_file(path)
        sizes = {len(index[name]) for name in ("keys", "shards", "positions")}
        if len(sizes) != 1 or index["shards"].max(initial=-1) >= len(names):
            raise ValueError("its parts do not fit together")
    except FileNotFoundError as error:
        raise DataError(f"{folder}: texts are only partly encoded", hint=_AGAIN) from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged", hint=_AGAIN) from error
    return index, list(names)


def read_meta(folder: Path) -> TextMeta | None:
    """What the texts of a folder have in common; None if there are none.

    Raises:
        DataError: if the file is damaged.
    """
    path = folder / META
    if not path.is_file():
        return None
    try:
        return record_from(TextMeta, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: damaged, or of another version", hint=_AGAIN) from error


def require_meta(folder: Path) -> TextMeta:
    """What the texts of a folder have in common.

    Raises:
        DataError: if there are none, or the file is damaged.
    """
    meta = read_meta(folder)
    if meta is None:
        raise DataError(
            f"{folder}: no encoded captions here", hint="`latte encode-latents` makes them"
        )
    return meta
