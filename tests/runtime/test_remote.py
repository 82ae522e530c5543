"""URLs, the bounded cache, and reading shards by range, in fsspec's memory and on the disk."""

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from threading import Event

import fsspec
import pytest
import torch
from safetensors.torch import save_file

from latte_cli.runtime.errors import ConfigError, RemoteError
from latte_cli.runtime.remote import access
from latte_cli.runtime.remote.cache import BlobCache, open_cache
from latte_cli.runtime.remote.folders import fetch_files
from latte_cli.runtime.remote.shards import RemoteShards, ShardItem
from latte_cli.runtime.remote.urls import local_path, url_of, with_urls

VIDEOS = 5


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    """A store in memory, which is empty, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(access, "FIRST_RETRY_AFTER_S", (0.0, 0.0))
    monkeypatch.setattr(access, "RETRY_AFTER_S", (0.0, 0.0))
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


@pytest.mark.parametrize(
    "url", ["s3://bucket/a/b", "gs://b", "hf://datasets/me/it/x", "memory://x"]
)
def test_a_url_is_found_again_by_its_mirror(url):
    assert url_of(local_path(url)) == url
    assert url_of(local_path(url + "/")) == url
    assert with_urls(f"in {local_path(url)}/c: lost") == f"in {url}/c: lost"


def test_paths_are_not_urls():
    for text in ("data", "/data/x", "C:/data", "a:b", "./s3"):
        assert local_path(text) == Path(text)
        assert url_of(Path(text)) is None
    assert local_path("file:///data") == Path("/data")


@pytest.mark.parametrize("url", ["s3://", "s3://bucket/../other", "s3://bucket//x"])
def test_a_url_that_would_leave_its_mirror_is_refused(url):
    with pytest.raises(RemoteError, match="not the URL of a folder"):
        local_path(url)


def test_the_cache_stays_below_its_limit_and_loses_what_was_used_longest_ago(tmp_path):
    cache = BlobCache(tmp_path / "parts", 10_000)
    for number in range(9):
        path = cache.store(str(number), bytes(1000))
        os.utime(path, (number, number))
    cache.find("0")
    for number in range(9, 14):
        cache.store(str(number), bytes(1000))
    sizes = [path.stat().st_size for path in (tmp_path / "parts").rglob("*") if path.is_file()]
    assert sum(sizes) <= 10_000
    assert cache.find("0") is not None
    assert cache.find("1") is None
    assert cache.find("13").read_bytes() == bytes(1000)


@pytest.mark.parametrize("size", ["much", "0", "-1", "inf"])
def test_a_wrong_size_of_the_cache_is_refused(monkeypatch, size):
    monkeypatch.setenv("LATTE_CACHE_GB", size)
    with pytest.raises(ConfigError, match=f"LATTE_CACHE_GB={size}"):
        open_cache()


def written(store, *, filler: int = 0) -> tuple[RemoteShards, list[torch.Tensor]]:
    """A shard of some videos, two tensors each, whose header is as long as wished."""
    torch.manual_seed(0)
    values = [torch.randn(2, 3, 4).half() for _ in range(VIDEOS)]
    tensors = {f"{n}.{part}": v for n, value in enumerate(values)
               for part, v in (("a", value[0].clone()), ("b", value[1].clone()))}  # fmt: skip
    sums = [sha256(value.numpy().tobytes()).hexdigest() for value in values]
    save_file(tensors, "shard", {"sums": " ".join(sums), "filler": "x" * filler})
    store.pipe_file("/data/shard", Path("shard").read_bytes())

    def items(metadata):
        sums = metadata["sums"].split()
        return [ShardItem((f"{n}.a", f"{n}.b"), checksum) for n, checksum in enumerate(sums)]

    return RemoteShards("memory://data", items), values


@pytest.mark.parametrize("filler", [0, 200_000])
def test_items_are_read_as_they_were_written(memory, filler):
    """Whether the header fits into the first read or not."""
    shards, values = written(memory, filler=filler)
    for number, value in enumerate(values):
        read = shards.read("shard", number)
        assert torch.equal(torch.stack([read[f"{number}.a"], read[f"{number}.b"]]), value)


def test_what_was_fetched_ahead_is_not_fetched_again(memory, monkeypatch):
    shards, values = written(memory)
    reads, all_read = [], Event()
    read_range = access.read_range

    def counted(url, start, stop):
        content = read_range(url, start, stop)
        reads.append(start)
        if len(reads) == 1 + VIDEOS:  # a header, and the videos
            all_read.set()
        return content

    monkeypatch.setattr("latte_cli.runtime.remote.shards.read_range", counted)
    shards.fetch_ahead(("shard", n) for n in range(VIDEOS))
    assert all_read.wait(10)
    for number in range(VIDEOS):
        assert torch.equal(shards.read("shard", number)[f"{number}.b"], values[number][1])
    assert len(reads) == 1 + VIDEOS
    memory.store.clear()
    again = RemoteShards("memory://data", shards._items_of)  # another run
    assert torch.equal(again.read("shard", 2)["2.a"], values[2][0])


def test_two_threads_that_read_the_same_at_once_both_get_it(memory, monkeypatch):
    shards, values = written(memory)
    reading, go_on = Event(), Event()
    read_range = access.read_range

    def held(url, start, stop):
        reading.set()
        assert go_on.wait(10)
        return read_range(url, start, stop)

    monkeypatch.setattr("latte_cli.runtime.remote.shards.read_range", held)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(shards.read, "shard", 0)
        assert reading.wait(10)
        second = pool.submit(shards.read, "shard", 0)
        time.sleep(0.1)  # so that it waits for the first, or takes its place
        go_on.set()
        for each in (first, second):
            assert torch.equal(each.result(10)["0.a"], values[0][0])


def test_a_wrong_checksum_is_an_error_until_the_shard_is_mended(memory):
    shards, values = written(memory)
    good = Path("shard").read_bytes()
    memory.pipe_file("/data/shard", good[:-1] + bytes([good[-1] ^ 1]))
    last = VIDEOS - 1
    with pytest.raises(RemoteError, match=f"item {last} fails its checksum"):
        shards.read("shard", last)
    memory.pipe_file("/data/shard", good)
    assert torch.equal(shards.read("shard", last)[f"{last}.b"], values[last][1])


def test_a_shard_that_was_written_anew_is_read_by_its_new_header(memory):
    shards, _ = written(memory)
    shards.read("shard", 0)
    torch.manual_seed(1)
    values = torch.randn(2, 3, 4).half()
    save_file(
        {"0.a": values[0].clone(), "0.b": values[1].clone()},
        "new",
        {"sums": sha256(values.numpy().tobytes()).hexdigest(), "filler": "longer"},
    )
    memory.pipe_file("/data/shard", Path("new").read_bytes())
    again = RemoteShards("memory://data", shards._items_of)
    again._cache.drop(f"{again._header('shard').items[0].checksum}-48")
    assert torch.equal(again.read("shard", 0)["0.a"], values[0])


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x08" + bytes(7) + b"no json!"])
def test_a_shard_that_is_none_is_named(memory, content):
    memory.pipe_file("/data/shard", content)
    with pytest.raises(RemoteError, match="memory://data/shard: damaged"):
        RemoteShards("memory://data", lambda metadata: []).read("shard", 0)


def test_files_are_fetched_again_only_if_they_have_changed(memory, monkeypatch):
    fetched = []
    download = access.download
    monkeypatch.setattr(
        "latte_cli.runtime.remote.folders.download",
        lambda url, target: fetched.append(url) or download(url, target),
    )
    folder = local_path("memory://data")
    fetch_files(folder, ["meta.json"])
    assert not folder.exists()
    memory.pipe_file("/data/meta.json", b"one")
    for _ in range(2):
        fetch_files(folder, ["meta.json"])
    assert (folder / "meta.json").read_bytes() == b"one"
    assert fetched == ["memory://data/meta.json"]
    memory.pipe_file("/data/meta.json", b"other")
    fetch_files(folder, ["meta.json"])
    assert (folder / "meta.json").read_bytes() == b"other"
    memory.rm("/data/meta.json")
    fetch_files(folder, ["meta.json"])
    assert not (folder / "meta.json").exists()


def test_a_full_disk_is_no_lost_connection(memory, monkeypatch):
    """It is raised at once, as it is."""
    memory.pipe_file("/data/x", b"x")
    attempts = []

    def full(*words):
        attempts.append(words)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(memory), "get_file", full)
    with pytest.raises(OSError, match="No space left"):
        access.download("memory://data/x", "x")
    assert len(attempts) == 1
