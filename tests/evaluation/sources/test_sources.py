"""Sources: the same clips from a data set, a folder, frames, an array; what is wrong in them."""

import os
import shutil

import numpy as np
import pytest
from helpers.eval_data import (
    QUIET,
    SIZE,
    frame_folders,
    mp4_folder,
    npz_file,
    prepared,
    shapes_clip,
    small,
)

from latte_cli.config import load_config
from latte_cli.config.locations import asset
from latte_cli.evaluation.protocol import protocol_from
from latte_cli.evaluation.sources import scanning
from latte_cli.evaluation.sources.clip_sets import Compression
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.evaluation.sources.videos import ReadRequest
from latte_cli.runtime.errors import CheckpointError, DataError, VideoError
from latte_cli.video_io import read_video, write_video


def opened(path, *overrides, memory=None):
    config = small(*overrides)
    return open_source(path, protocol_from(config), config, memory or path.parent / "seen", QUIET)


def read(source, *windows):
    return {
        r.request.video.name: r.clips
        for r in source.read([ReadRequest(v, windows) for v in source.videos])
    }


def test_a_prepared_data_set_gives_the_videos_of_its_split(tmp_path):
    source = opened(prepared(tmp_path / "data"))
    assert len(source.videos) == 4
    assert [v.name for v in source.videos] == sorted(v.name for v in source.videos)
    assert len(opened(tmp_path / "data", "data.split=all").videos) == 6
    path = tmp_path / "data" / "videos" / source.videos[1].name
    window = range(2, 9, 2)
    assert np.array_equal(read(source, window)[source.videos[1].name][0], read_video(path, window))
    with pytest.raises(DataError, match="no videos of the split `test`"):
        shutil.copytree(tmp_path / "data", tmp_path / "other")
        manifest = tmp_path / "other" / "manifest.jsonl"
        manifest.write_text(manifest.read_text().replace('"test"', '"train"'))
        opened(tmp_path / "other", "data.split=test")


def test_clips_of_a_video_are_decoded_in_one_pass(tmp_path, monkeypatch):
    from latte_cli.evaluation.sources import files as files_source

    source = opened(mp4_folder(tmp_path / "f", 2))
    passes = []
    iter_frames = files_source.iter_frames
    monkeypatch.setattr(files_source, "iter_frames", lambda *a: passes.append(a) or iter_frames(*a))
    for name, clips in read(source, range(0, 4), range(3, 10, 2)).items():
        whole = read_video(tmp_path / "f" / name)
        assert np.array_equal(clips[0], whole[:4])
        assert np.array_equal(clips[1], whole[3:10:2])
    assert len(passes) == 2


@pytest.mark.parametrize("kind", ["png", "npz", "packed"])
def test_lossless_sources_give_the_exact_pixels(tmp_path, kind):
    if kind == "png":
        source = opened(frame_folders(tmp_path / "f"))
    else:
        save = np.savez if kind == "npz" else np.savez_compressed
        source = opened(npz_file(tmp_path / "f.npz", save=save))
    assert [video.encoding for video in source.videos] == ["lossless"] * 6
    clips = read(source, range(1, 8, 2))
    for index, video in enumerate(source.videos):
        assert np.array_equal(clips[video.name][0], shapes_clip(index)[1:8:2])


def test_labels_come_from_names_arrays_and_manifests(tmp_path):
    places = [mp4_folder(tmp_path / "f"), npz_file(tmp_path / "f.npz"), prepared(tmp_path / "d")]
    for path in places:
        assert [v.label for v in opened(path, "data.split=all").videos] == [0, 1, 2, 3, 4, 5]
    assert {v.label for v in opened(frame_folders(tmp_path / "g")).videos} == {None}


def test_crop_and_resize_follow_the_order_of_the_protocol(tmp_path):
    wide = np.random.default_rng(0).integers(0, 255, (2, 4, 40, 64, 3), np.uint8)
    np.savez(tmp_path / "f.npz", clips=wide)
    source = opened(tmp_path / "f.npz")
    from latte_cli.data.frames import prepare_frame

    for index, (clip,) in enumerate(read(source, range(4)).values()):
        assert np.array_equal(clip[0], prepare_frame(wide[index, 0], SIZE, "crop-resize"))
    other = read(opened(tmp_path / "f.npz", "eval.protocol=stylegan-v"), range(4))
    first = next(iter(other.values()))[0][0]
    assert np.array_equal(first, prepare_frame(wide[0, 0], SIZE, "resize-crop"))


def test_generated_clips_do_not_depend_on_which_are_requested():
    config = load_config("shapes-fast", ["eval.clips=5", "sample.steps=1", "sample.batch=2"])
    source = open_source(asset("shapes-fast"), protocol_from(config), config, None, QUIET)
    assert [video.label for video in source.videos] == [0, 1, 2, 3, 4]
    both = {}
    for chosen in (source.videos, source.videos[3:4]):
        wanted = [ReadRequest(video, (range(8),)) for video in chosen]
        both[len(chosen)] = {r.request.video.name: r.clips[0] for r in source.read(wanted)}
    assert len(both[5]) == 5
    ((name, clip),) = both[1].items()
    assert np.array_equal(clip, both[5][name])
    assert clip.shape == (8, 64, 64, 3)
    again = open_source(asset("shapes-fast"), protocol_from(config), config, None, QUIET)
    assert [v.key for v in again.videos] == [v.key for v in source.videos]
    slower = config.model_copy(update={"sample": config.sample.model_copy(update={"steps": 2})})
    other = open_source(asset("shapes-fast"), protocol_from(slower), slower, None, QUIET)
    assert not {v.key for v in other.videos} & {v.key for v in source.videos}


def test_unreadable_videos_are_named_and_scanned_once(tmp_path, monkeypatch):
    folder = mp4_folder(tmp_path / "f", 3)
    (folder / "text.mp4").write_text("no video")
    (folder / "empty.mp4").touch()
    whole = (folder / "00001-seed0-label1.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    source = opened(folder)
    assert len(source.videos) == 3
    assert set(source.unreadable) == {"text.mp4", "empty.mp4", "cut.mp4"}
    assert "the file is empty" in source.unreadable["empty.mp4"]

    decoded = []
    decode = scanning._decode
    monkeypatch.setattr(
        scanning, "_decode", lambda video: decoded.append(video[0].name) or decode(video)
    )
    assert len(opened(folder).videos) == 3
    assert decoded == [], "nothing changed"
    os.utime(folder / "text.mp4", (1, 1))
    write_video(folder / "new.mp4", shapes_clip(7), 8)
    assert len(opened(folder).videos) == 4
    assert sorted(decoded) == ["new.mp4", "text.mp4"]


def test_a_damaged_scan_cache_is_rebuilt(tmp_path):
    folder = mp4_folder(tmp_path / "f", 2)
    opened(folder)
    (file,) = (tmp_path / "seen").glob("*.json")
    file.write_text("{")
    assert len(opened(folder).videos) == 2


def test_a_video_that_has_become_shorter_is_an_error(tmp_path):
    source = opened(prepared(tmp_path / "data"))
    write_video(tmp_path / "data" / "videos" / source.videos[2].name, shapes_clip(2, 3), 8)
    with pytest.raises(VideoError, match=r"00002.*frame 3 is missing now"):
        read(source, range(0, 8, 1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", "damaged"),
        ("cut", "damaged"),
        (np.zeros((2, 4, 8, 8), np.uint8), r"uint8 of shape \(2, 4, 8, 8\)"),
        (np.zeros((2, 4, 8, 8, 3), np.float32), "float32 of shape"),
        (np.zeros((0, 4, 8, 8, 3), np.uint8), "of shape"),
        (np.array([{}], object), "of shape"),
    ],
)
def test_arrays_that_are_not_clips_are_an_error(tmp_path, content, message):
    path = tmp_path / "f.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        whole = npz_file(path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    else:
        np.savez(path, clips=content)
    with pytest.raises(DataError, match=message):
        read(opened(path), range(4))


def test_a_path_without_videos_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.mp4").touch()
    with pytest.raises(DataError, match="no videos in this folder"):
        opened(tmp_path / "empty")
    with pytest.raises(DataError, match="none of its 1 videos can be read"):
        opened(tmp_path / "bad")
    with pytest.raises(DataError, match="no such folder"):
        opened(tmp_path / "none")
    with pytest.raises(DataError, match="not a folder"):
        opened(tmp_path / "file")
    with pytest.raises(CheckpointError, match="no such file"):
        opened(tmp_path / "none.pt")
    with pytest.raises(DataError, match="no such file"):
        opened(tmp_path / "none.npz")


def test_compression_of_the_files_is_not_repeated():
    """Video files have been through a codec, JPEG frames of the size through all of it."""
    whole = Compression.parse("mp4-crf5 jpeg-75")
    assert (whole.crf, whole.quality) == (5, 75)
    assert whole.remaining("lossless", resized=False) == whole
    assert whole.remaining("video", resized=False) == Compression(None, 75)
    assert whole.remaining("jpeg", resized=False) == Compression()
    assert whole.remaining("jpeg", resized=True) == Compression(None, 75)
    assert Compression.parse("none") == Compression()
    assert str(whole) == "mp4 crf 5, then JPEG 75"
