"""Batches of frames from worker processes, and videos that cannot be read."""

# Axes: n frames of a batch, h height, w width.

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latte_cli.data.latents import frame_reading
from latte_cli.data.latents.frame_reading import BatchReader, FrameBatch, FrameReaders, Request
from latte_cli.data.latents.plan import Source
from latte_cli.data.manifest import Dataset, VideoRecord
from latte_cli.runtime.errors import VideoError
from latte_cli.video_io.frame_folders import checksum_of_frames

LENGTHS = {"a": 7, "b": 4, "c": 1}
SIZE, BATCH = 8, 3


class OddReader(BatchReader):
    """A decoder that hangs or dies over videos of certain names."""

    def __call__(self, request: Request, alive) -> FrameBatch | VideoError:
        if request.source.path.name == "hangs" and request.start:
            time.sleep(1000)
        if request.source.path.name == "dies" and request.start:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(request, alive)


def video(folder: Path, name: str, frames: int) -> Source:
    """A folder of frames: the n-th one is n everywhere."""
    (folder / name).mkdir()
    for number in range(frames):
        picture = np.full((SIZE, SIZE, 3), number, np.uint8)
        Image.fromarray(picture).save(folder / name / f"{number:03d}.png")
    sha256 = checksum_of_frames(folder / name)
    record = VideoRecord(name, frames, 0.0, SIZE, SIZE, None, None, "train", 0, sha256)
    return Source(record, folder / name, None)


def reader(folder: Path, kind: type[BatchReader] = BatchReader) -> BatchReader:
    return kind(Dataset(folder, (), ()), SIZE, "crop-resize", BATCH)


@pytest.fixture
def sources(tmp_path) -> list[Source]:
    return [video(tmp_path, name, frames) for name, frames in LENGTHS.items()]


def numbers(batch: FrameBatch | VideoError) -> list[int]:
    assert isinstance(batch, FrameBatch), batch
    assert batch.frames.shape == (len(batch.frames), SIZE, SIZE, 3)
    return batch.frames[:, 0, 0, 0].tolist()


def test_a_video_is_read_in_equal_batches_and_a_remainder(sources, tmp_path):
    read, signs = reader(tmp_path), []
    batches = [read(Request(sources[0], start), lambda: signs.append(1)) for start in (0, 3, 6)]
    assert [numbers(batch) for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [batch.start for batch in batches] == [0, 3, 6]
    assert [batch.is_last for batch in batches] == [False, False, True]
    assert len(signs) == 7, "one call for each frame"


def test_another_video_starts_from_its_first_frame(sources, tmp_path):
    read = reader(tmp_path)
    read(Request(sources[0], 0), lambda: None)
    assert numbers(read(Request(sources[1], 0), lambda: None)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"), [(1, "has 4 frames, the manifest says 5"), (-1, "has more than 3")]
)
def test_a_video_of_another_length_is_an_error(sources, tmp_path, change, message):
    record, read = sources[1].video, reader(tmp_path)
    wrong = Source(replace(record, frames=record.frames + change), sources[1].path, None)
    starts = range(0, wrong.video.frames, BATCH)
    answers = [read(Request(wrong, start), lambda: None) for start in starts]
    assert isinstance(answers[-1], VideoError)
    assert message in str(answers[-1])
    assert str(wrong.path) in str(answers[-1])


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ZeroDivisionError("x"), "the decoder failed (ZeroDivisionError: x)"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_any_exception_of_a_decoder_becomes_a_video_error(
    sources, tmp_path, monkeypatch, error, message
):
    def fails(*args: object) -> None:
        raise error

    monkeypatch.setattr(frame_reading, "prepared_frames", fails)
    answer = reader(tmp_path)(Request(sources[0], 0), lambda: None)
    assert isinstance(answer, VideoError)
    assert f"{sources[0].path}: " in str(answer)
    assert message in str(answer)


def test_processes_read_all_videos_with_frames_in_order(sources, tmp_path):
    with FrameReaders(reader(tmp_path), workers=2) as readers:
        for some in (sources, sources[:1], []):
            found: dict[str, list[int]] = {}
            for source, batch in readers.read(some):
                assert batch.start == len(found.setdefault(source.video.path, []))
                found[source.video.path] += numbers(batch)
            expected = {s.video.path: list(range(s.video.frames)) for s in some}
            assert found == expected


def test_a_decoder_that_hangs_or_dies_fails_only_its_own_video(tmp_path):
    names = ("hangs", "a", "dies", "b", "gone", "changed")
    sources = [video(tmp_path, name, 5) for name in names]
    for frame in (tmp_path / "gone").iterdir():
        frame.unlink()
    (tmp_path / "changed" / "001.png").write_bytes((tmp_path / "a" / "002.png").read_bytes())
    complete, errors = set(), {}
    with FrameReaders(reader(tmp_path, OddReader), workers=2, timeout_s=1.0) as readers:
        for source, batch in readers.read(sources):
            if isinstance(batch, VideoError):
                errors[source.video.path] = str(batch)
            elif batch.is_last:
                complete.add(source.video.path)
    assert complete == {"a", "b"}
    assert "the decoder hung (no new frame for 1 s)" in errors["hangs"]
    assert "the decoder crashed (SIGKILL)" in errors["dies"]
    assert "holds no frames" in errors["gone"]
    assert "changed since it was prepared" in errors["changed"]
    assert all(str(tmp_path / name) in error for name, error in errors.items())


def test_worker_processes_do_not_import_torch():
    script = "import sys, latte_cli.data.latents.frame_reading; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    assert shown.stdout == b"False\n"


def test_leaving_the_readers_ends_their_processes(sources, tmp_path):
    with FrameReaders(reader(tmp_path), workers=1) as readers:
        next(iter(readers.read(sources)))
    assert not any(thread.is_alive() for thread in readers._threads)
