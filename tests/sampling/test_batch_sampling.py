"""Clips of a batch are written several at a time; those that are still sampled, one by one."""

import threading
from contextlib import nullcontext
from errno import ENOSPC

import numpy as np
import pytest

from latte_cli.sampling.clip_folder import ClipEntry, ClipFolder
from latte_cli.sampling.parallel_sampling import Batch, BatchSampling

ENTRIES = [ClipEntry(f"{i:05d}-seed0", {"index": i, "seed": 0}) for i in range(3)]
CLIPS = [np.full((2, 16, 16, 3), 40 * i, np.uint8) for i in range(3)]
PATIENCE_S = 20


def folder_at(path):
    return ClipFolder(path, ENTRIES, {"steps": 3}, "npz", 8.0)


def sample(folder, clips, missing=ENTRIES):
    batch = Batch(0, ENTRIES, [None] * 3, frozenset(entry.name for entry in missing))
    work = BatchSampling(folder, lambda: nullcontext(lambda requests, on_step: clips))
    return list(work([batch], lambda steps: None))


def test_clips_of_a_batch_are_written_at_the_same_time(tmp_path, monkeypatch):
    folder, together = folder_at(tmp_path / "out"), threading.Barrier(3)
    write = folder.write

    def write_with_others(entry, frames):
        together.wait(PATIENCE_S)  # broken if one were written after the other
        write(entry, frames)

    monkeypatch.setattr(folder, "write", write_with_others)
    folder.begin()
    sample(folder, iter(CLIPS))
    assert folder.missing() == []
    folder.finish()
    for clip, frames in zip(CLIPS, folder.read_frames(3, [0, 1]), strict=True):
        np.testing.assert_array_equal(frames, clip)


def test_a_clip_that_is_still_sampled_is_written_by_the_thread_that_samples(tmp_path):
    folder, threads = folder_at(tmp_path / "out"), set()

    def frames_of(clip):
        for frame in clip:
            threads.add(threading.current_thread())
            yield frame

    folder.begin()
    sample(folder, (frames_of(clip) for clip in CLIPS))
    assert folder.missing() == []
    assert threads == {threading.current_thread()}


def test_only_missing_clips_are_written(tmp_path):
    folder = folder_at(tmp_path / "out")
    folder.begin()
    sample(folder, iter(CLIPS), missing=ENTRIES[1:])
    assert folder.missing() == ENTRIES[:1]


def test_a_batch_ends_with_the_error_of_writing(tmp_path, monkeypatch):
    folder = folder_at(tmp_path / "out")

    def full_disk(entry, frames):
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(folder, "write", full_disk)
    folder.begin()
    with pytest.raises(OSError, match="No space left"):
        sample(folder, iter(CLIPS))
