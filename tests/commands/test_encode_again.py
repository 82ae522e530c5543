"""`latte encode-latents` again: after an interruption or a change, or beside other processes."""

import errno
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from conftest import fail, invoke, succeed
from diffusers import AutoencoderKL
from helpers.small_data import (
    BYTES_A_VIDEO,
    COUNT,
    contents,
    copy_data,
    encode,
    latents_of,
    videos_of,
    words,
)

from latte_cli.config.locations import asset
from latte_cli.data.latents import encoding
from latte_cli.data.latents import plan as latent_plan
from latte_cli.data.latents.encoding import ChunkEncoding
from latte_cli.data.latents.reading import LatentSet, read_index
from latte_cli.data.latents.shards import ShardWriter, shard_files
from latte_cli.runtime import claims
from latte_cli.runtime.signals import Stopped
from latte_cli.vae import LatentCodec, to_signal
from latte_cli.video_io import read_video, write_video


@pytest.fixture
def data(world, tmp_path) -> Path:
    return copy_data(world, tmp_path)


@pytest.fixture
def two_a_shard(monkeypatch) -> None:
    monkeypatch.setattr(latent_plan, "SHARD_BYTES", 2 * BYTES_A_VIDEO)


def test_a_finished_folder_is_not_changed(data):
    encode(data)
    before = {path: path.stat().st_mtime_ns for path in Path("l").iterdir()}
    assert encode(data)["encoded_now"] == 0
    assert {path: path.stat().st_mtime_ns for path in Path("l").iterdir()} == before


@pytest.mark.parametrize(
    ("stop", "code"),
    [(KeyboardInterrupt, 130), (Stopped(75, "stopped"), 75), (RuntimeError, 1)],
    ids=["ctrl-c", "sigterm", "error"],
)
def test_an_interrupted_encoding_keeps_every_video_that_was_done(data, monkeypatch, stop, code):
    """All eight would fit into one shard; the latents are those of an undisturbed run."""
    encode(data, "--out=calm")
    frames, original = [], LatentCodec.encode

    def stops(codec, signal):
        frames.append(signal.shape[1])
        if sum(frames) > 5 * 32:
            raise stop
        return original(codec, signal)

    with monkeypatch.context() as patched:
        patched.setattr(LatentCodec, "encode", stops)
        assert invoke(*words(data, "--workers=1")).exit_code == code
    there = {path: path.stat().st_mtime_ns for path in shard_files(Path("l"))}
    assert len(there) == 1
    if code != 1:
        assert json.loads(succeed("--json", *words(data, "--info")).stdout)["missing"] == 3
        assert "5 of 8 videos: the encoding was interrupted" in fail(
            "train", "--preset=shapes", "-o", "data.latents=l", "-o", "data.size=32"
        )
    result = succeed("--json", *words(data))
    assert "5 of 8 videos are already encoded" in result.stderr
    assert json.loads(result.stdout)["encoded_now"] == 3
    assert latents_of(Path("l")) == latents_of(Path("calm"))
    assert {path: path.stat().st_mtime_ns for path in there} == there, "never written twice"
    assert not Path("l/.encoding").exists()
    succeed(*words(data, "--verify"))


def test_shards_are_closed_by_time_so_that_a_kill_loses_little(data, monkeypatch):
    encode(data, "--out=calm")
    monkeypatch.setattr(encoding, "CLOSE_AFTER_S", 0.0)
    assert encode(data)["encoded_now"] == COUNT
    assert len(shard_files(Path("l"))) == COUNT, "each video is on the disk once it is done"
    assert latents_of(Path("l")) == latents_of(Path("calm"))
    succeed(*words(data, "--verify"))


def test_a_second_signal_does_not_lose_what_the_first_one_saves(data, monkeypatch):
    """A terminal sends Ctrl-C to all processes, and torchrun sends SIGTERM on top of it."""
    finish = ShardWriter.finish

    def signaled_while_it_writes(writer, complete):
        os.kill(os.getpid(), signal.SIGTERM)
        return finish(writer, complete)

    def signaled(codec, frames):
        called.append(1)
        if len(called) == 1:
            return encoded(codec, frames)
        raise KeyboardInterrupt

    called: list[int] = []
    encoded = LatentCodec.encode
    with monkeypatch.context() as patched:
        patched.setattr(ShardWriter, "finish", signaled_while_it_writes)
        patched.setattr(LatentCodec, "encode", signaled)
        assert invoke(*words(data, "--workers=1", "--batch=32")).exit_code in (75, 130)
    assert len(shard_files(Path("l"))) == 1
    assert encode(data)["encoded_now"] == COUNT - 1


def test_latents_do_not_depend_on_what_was_encoded_before(data, two_a_shard):
    """A video's latents are the same bytes whichever others are encoded with it."""
    encode(data, "--out=whole")
    manifest = data / "manifest.jsonl"
    rows = manifest.read_text().splitlines(keepends=True)
    for some in (rows[5:7], rows[2:], rows):
        manifest.write_text("".join(some))
        encode(data)
    whole, grown = LatentSet.open(Path("whole")), LatentSet.open(Path("l"))
    assert {v.shard for v in whole.videos} != {v.shard for v in grown.videos}
    for a, b in zip(whole.videos, grown.videos, strict=True):
        assert a.path == b.path
        assert torch.equal(whole.moments(a, 0, 32).mean, grown.moments(b, 0, 32).mean)
        assert torch.equal(whole.moments(a, 0, 32).std, grown.moments(b, 0, 32).std)


def test_the_index_follows_the_manifest(data):
    """Videos removed from it are removed, labels and splits are updated."""
    encode(data)
    manifest = data / "manifest.jsonl"
    first, *rest = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [{**row, "split": "test", "label": 7} for row in rest]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = encode(data)
    assert (shown["videos"], shown["encoded_now"]) == (COUNT - 1, 0)
    videos = LatentSet.open(Path("l")).videos
    assert not [video for video in videos if video.path.endswith(first["path"])]
    assert {(video.split, video.label) for video in videos} == {("test", 7)}


def test_a_moved_data_set_keeps_its_latents(data):
    encode(data)
    moved = data.rename(data.with_name("moved"))
    assert encode(moved)["encoded_now"] == 0
    assert all("moved" in video.path for video in LatentSet.open(Path("l")).videos)


def test_a_changed_video_is_encoded_again_and_its_old_shard_is_kept(data, two_a_shard):
    encode(data)
    old = shard_files(Path("l"))
    for path in videos_of(data)[:2]:  # the two of the first shard
        write_video(path, read_video(path)[::-1], 8)
    said = succeed(*words(data)).stderr
    assert "8 of 8 videos are already encoded" in said, "the manifest is not updated yet"
    succeed("prepare", "shapes", f"--count={COUNT}", "--size=32", f"--out={data}")
    result = succeed("--json", *words(data))
    assert json.loads(result.stdout)["encoded_now"] == 2
    assert "1 shards (17.3kB) hold no video of the present data set" in " ".join(
        result.stderr.split()
    )
    assert set(old) < set(shard_files(Path("l"))), "only the user deletes shards"
    video = LatentSet.open(Path("l")).videos[0]
    frames = to_signal(torch.from_numpy(read_video(video.path)))
    expected = LatentCodec.load("embedded").encode(frames[None]).mean[0]
    stored = LatentSet.open(Path("l")).moments(video, 0, 32).mean
    torch.testing.assert_close(stored, expected, atol=2e-3, rtol=2e-3)


def test_a_restored_video_is_encoded(data):
    first = videos_of(data)[0]
    content = first.read_bytes()
    first.unlink()
    assert encode(data)["unreadable"] == 1
    first.write_bytes(content)
    assert encode(data)["encoded_now"] == 1
    calm = encode(data, "--out=calm")
    assert calm["videos"] == COUNT
    assert Path("l/index.jsonl").read_text() != Path("calm/index.jsonl").read_text()


def test_latents_of_other_settings_are_never_mixed(data, tmp_path):
    encode(data)
    vae = AutoencoderKL.from_pretrained(asset("autoencoder"))
    with torch.no_grad():
        vae.encoder.conv_in.bias[0] += 1e-3
    vae.save_pretrained(tmp_path / "embedded")
    for more, message in (
        (["--size=48"], "size 32 instead of 48"),
        (["--flip"], "flip False instead of True"),
        (["--crop=resize-crop"], "crop 'crop-resize' instead of 'resize-crop'"),
        ([f"--vae={tmp_path / 'embedded'}"], "vae_fingerprint '"),
    ):
        said = fail(*words(data, *more))
        assert message in said
        assert "give another --out" in said
    Path("l/meta.json").write_text("{")
    assert "size 32 instead of 48" in fail(*words(data, "--size=48")), "shards record it, too"
    assert encode(data)["encoded_now"] == 0
    assert LatentSet.open(Path("l")).meta.size == 32


def test_the_path_of_the_autoencoder_does_not_matter(data, tmp_path):
    encode(data)
    shutil.copytree(asset("autoencoder"), tmp_path / "copy")
    assert encode(data, f"--vae={tmp_path / 'copy'}")["encoded_now"] == 0


def test_a_full_disk_is_reported_and_finished_shards_are_kept(data, two_a_shard, monkeypatch):
    original = ShardWriter.put

    def full_after_the_first_shard(writer, number, start, moments):
        if shard_files(Path("l")):
            raise OSError(errno.ENOSPC, "No space left on device", "l")
        original(writer, number, start, moments)

    with monkeypatch.context() as patched:
        patched.setattr(ShardWriter, "put", full_after_the_first_shard)
        said = fail(*words(data))
    assert "l: the disk is full" in said
    assert "make room, then run the same command again" in said
    assert len(shard_files(Path("l"))) == 1
    assert encode(data)["encoded_now"] == COUNT - 2
    encode(data, "--out=calm")
    assert contents(Path("l")) == contents(Path("calm"))


def test_a_finished_folder_on_a_read_only_disk_is_accepted(data, monkeypatch):
    def read_only(path: Path, text: str) -> bool:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    encode(data)
    monkeypatch.setattr(claims, "_create", read_only)
    assert encode(data)["encoded_now"] == 0
    assert "the disk is read-only" in fail(*words(data, "--out=other"))


def test_the_main_process_waits_for_claims_of_others(data, two_a_shard, monkeypatch):
    """One on another node, which releases its claim without having encoded anything."""
    claim = Path("l/.encoding/000002.claim")
    claim.parent.mkdir(parents=True)
    claim.write_text(json.dumps({"host": "elsewhere 1", "pid": 5, "token": "x"}))
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            claim.unlink()

    monkeypatch.setattr("time.sleep", wait)
    result = succeed("--json", *words(data))
    assert "waiting for process 5 on elsewhere" in result.stderr
    assert len(waits) == 2
    assert json.loads(result.stdout)["encoded_now"] == COUNT
    assert not claim.parent.exists()


def test_another_data_set_of_the_same_folder_name_replaces_the_index(data, monkeypatch):
    """Also if it is killed before its first shard: nobody trains on the first one's videos."""
    encode(data)
    other = Path("other") / data.name
    succeed("prepare", "shapes", "--count=8", "--size=32", "--seed=5", f"--out={other}")

    def killed(*_: object) -> None:
        raise SystemExit(9)

    with monkeypatch.context() as patched:
        patched.setattr(ChunkEncoding, "_encode_chunk", killed)
        assert invoke(*words(other)).exit_code == 9
    assert read_index(Path("l")) == []
    train = ("train", "--preset=shapes", "-o", "data.latents=l", "-o", "data.size=32")
    assert "0 of 8 videos: the encoding was interrupted" in fail(*train)
    assert encode(other)["encoded_now"] == 8
    assert all(Path(video.path).is_relative_to(other) for video in read_index(Path("l")))
    assert encode(data)["encoded_now"] == 0, "its shards are kept"
