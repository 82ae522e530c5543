"""Safetensors files that lie elsewhere, read by range: a header, then tensors one after another.

What is read is checked against its checksum before it is used, and kept in the cache.
"""

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from latte_cli.runtime.errors import RemoteError
from latte_cli.runtime.remote.access import read_range
from latte_cli.runtime.remote.cache import open_cache

_FIRST_READ = 1 << 16  # bytes, of which most headers need less
_MAX_HEADER_BYTES = 100_000_000  # as the format says
_MAX_HEADERS, _MAX_HELD = 256, 512
_THREADS = 16  # that fetch ahead: each waits for its answer most of the time
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


_Key = tuple[str, int]  # a shard, and the number of an item in it


@dataclass(frozen=True)
class ShardItem:
    """Tensors of a shard that lie one after another, and the checksum of their bytes.

    Attributes:
        tensors: their names, in the order of the file.
        checksum: the beginning of their SHA-256, in hex.
    """

    tensors: tuple[str, ...]
    checksum: str


@dataclass(frozen=True)
class _Header:
    """What a shard's header says: dtype, shape and place of each tensor; the checked items."""

    tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...], int, int]]
    items: Sequence[ShardItem]


class RemoteShards:
    """The shards of a folder elsewhere, read by several threads; an item is fetched once.

    Args:
        url: of the folder.
        items_of: the items of a shard, in order, by the metadata of its header.
    """

    def __init__(
        self, url: str, items_of: Callable[[Mapping[str, str]], Sequence[ShardItem]]
    ) -> None:
        self._url, self._items_of, self._cache = url, items_of, open_cache()
        self._header = lru_cache(maxsize=_MAX_HEADERS)(self._read_header)
        self._held: OrderedDict[_Key, Future[dict[str, Tensor]]] = OrderedDict()
        self._lock = Lock()
        self._header_locks = [Lock() for _ in range(_THREADS)]
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch")

    def read(self, shard: str, number: int) -> dict[str, Tensor]:
        """The tensors of a shard's n-th item by name, in mapped memory.

        Raises:
            RemoteError: if the shard cannot be read, is damaged, or fails its checksum twice.
        """
        key, mine = (shard, number), Future[dict[str, Tensor]]()
        mine.set_running_or_notify_cancel()  # so that no other reader cancels it
        with self._lock:
            found = self._held.get(key)
            if found is None or found.cancel():  # cancel: it waits behind others
                found = self._hold(key, mine)
            self._held.move_to_end(key)
        if found is mine:
            try:
                mine.set_result(self._fetch(shard, number))
            except BaseException as error:
                mine.set_exception(error)
        try:
            return found.result()
        except BaseException:
            with self._lock:
                self._held.pop(key, None)  # the next attempt is a new one
            raise

    def fetch_ahead(self, items: Iterable[tuple[str, int]]) -> None:
        """Begin to fetch items, by shard and number, that will be read soon."""
        for key in items:
            with self._lock:
                if key not in self._held:
                    self._hold(key, self._pool.submit(self._fetch, *key))

    def close(self) -> None:
        """Fetch nothing more ahead."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _hold(self, key: _Key, future: "Future[dict[str, Tensor]]") -> "Future[dict[str, Tensor]]":
        """Remember a fetch, and forget the one that was used longest ago."""
        self._held[key] = future
        if len(self._held) > _MAX_HELD:
            self._held.popitem(last=False)
        return future

    def _fetch(self, shard: str, number: int) -> dict[str, Tensor]:
        """Read an item from the cache, else from its place; a wrong one once more."""
        for is_last in (False, True):
            header = self._header(shard)
            if number >= len(header.items):
                raise _damaged(f"{self._url}/{shard}", "it holds fewer videos than the index says")
            item = header.items[number]
            places = [header.tensors[name] for name in item.tensors]
            start, stop = places[0][2], places[-1][3]
            key = f"{item.checksum}-{stop - start}"
            if (path := self._cache.find(key)) is not None:
                return _tensors(header, item, _mapped_bytes(path, stop - start))
            content = read_range(f"{self._url}/{shard}", start, stop)
            is_right = len(content) == stop - start
            if is_right and sha256(content).hexdigest().startswith(item.checksum):
                path = self._cache.store(key, content)
                data = _mapped_bytes(path, len(content)) if path else _bytes(content)
                return _tensors(header, item, data)
            # A header of the cache may be of a shard that was written anew.
            self._cache.drop(self._header_key(shard))
            self._header.cache_clear()
            if is_last:
                raise _damaged(f"{self._url}/{shard}", f"item {number} fails its checksum")
        raise AssertionError

    def _header_key(self, shard: str) -> str:
        return f"header of {self._url}/{shard}"

    def _read_header(self, shard: str) -> _Header:
        with self._header_locks[hash(shard) % _THREADS]:  # several threads want it at once
            return self._read_header_alone(f"{self._url}/{shard}", self._header_key(shard))

    def _read_header_alone(self, url: str, key: str) -> _Header:
        path = self._cache.find(key)
        content = path.read_bytes() if path is not None else b""
        try:
            if not content:
                content = _fetch_header(url)
                self._cache.store(key, content)
            return _parse_header(content, self._items_of)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            self._cache.drop(key)
            raise _damaged(url, "its header cannot be read") from error


def _fetch_header(url: str) -> bytes:
    """The length of the header, 8 bytes, and the header."""
    content = read_range(url, 0, _FIRST_READ)
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > _MAX_HEADER_BYTES:
        raise ValueError
    if (missing := 8 + length - len(content)) > 0:
        content += read_range(url, len(content), len(content) + missing)
    if len(content) < 8 + length:
        raise ValueError
    return content[: 8 + length]


def _parse_header(
    content: bytes, items_of: Callable[[Mapping[str, str]], Sequence[ShardItem]]
) -> _Header:
    rows: dict[str, Any] = json.loads(content[8:])
    items = items_of(rows.pop("__metadata__"))
    tensors = {}
    for name, row in rows.items():
        dtype, shape = _DTYPES[row["dtype"]], tuple(row["shape"])
        start, stop = row["data_offsets"]
        if stop - start != math.prod(shape) * dtype.itemsize:
            raise ValueError
        tensors[name] = (dtype, shape, len(content) + start, len(content) + stop)
    for item in items:
        places = [tensors[name] for name in item.tensors]
        if any(before[3] != after[2] for before, after in pairwise(places)):
            raise ValueError  # not one after another
    return _Header(tensors, items)


def _tensors(header: _Header, item: ShardItem, data: Tensor) -> dict[str, Tensor]:
    """Views of an item's bytes, by the tensors' names."""
    first = header.tensors[item.tensors[0]][2]
    found = {}
    for name in item.tensors:
        dtype, shape, start, stop = header.tensors[name]
        found[name] = data[start - first : stop - first].view(dtype).reshape(shape)
    return found


def _mapped_bytes(path: Path, size: int) -> Tensor:
    return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)


def _bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _damaged(url: str, reason: str) -> RemoteError:
    return RemoteError(
        f"{url}: damaged ({reason})",
        hint="nothing was trained on it; run `latte encode-latents` again where it was made, and "
        "upload it again",
    )
