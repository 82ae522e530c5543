"""Captions in text files beside videos and pictures, and pictures as videos of one frame."""

import json

import numpy as np
import pytest
from conftest import succeed
from helpers.trees import touch, with_warnings
from PIL import Image

from latte_cli.data.manifest import read_dataset
from latte_cli.runtime.errors import DataError
from latte_cli.sources import captions
from latte_cli.sources.shapes import render_clip
from latte_cli.video_io import inspect_video, read_video, write_video


def test_each_video_and_picture_has_the_text_beside_it(tmp_path):
    touch(tmp_path, "a.mp4", "deep/b.webm", "deep/c.png", "d.mp4", ".hidden/e.mp4")
    for name, text in {"a.txt": "one\n two ", "deep/b.caption": "\ufeffthree", "deep/c.txt": "four",
                       "d.txt": " \n", "notes.txt": "of no video"}.items():  # fmt: skip
        (tmp_path / name).write_text(text, encoding="utf-8")
    (found, classes), warned = with_warnings(captions.find, tmp_path)
    assert [(v.path.relative_to(tmp_path).as_posix(), v.caption) for v in found] == [
        ("a.mp4", "one two"),
        ("deep/b.webm", "three"),
        ("deep/c.png", "four"),
    ]
    assert not classes
    assert warned == [f"{tmp_path}: 1 videos have no caption beside them, first: d.mp4"]


def test_text_that_is_none_and_folders_without_are_errors(tmp_path):
    touch(tmp_path, "a.mp4")
    with pytest.raises(DataError, match="expected one table"):
        captions.find(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match="not UTF-8"):
        captions.find(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match="no video has a caption"):
        captions.find(tmp_path)


def test_pictures_are_prepared_beside_videos(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    write_video(source / "clip.mp4", render_clip(1, size=32, num_frames=6), 8)
    picture = np.random.default_rng(0).integers(0, 255, (40, 32, 3), np.uint8)
    Image.fromarray(picture).save(source / "still.png")
    rows = [{"video": "clip.mp4", "caption": ["a", "b"]}, {"video": "still", "caption": "c"}]
    (source / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    succeed("prepare", "captions", f"--source={source}", f"--out={tmp_path / 'data'}")
    videos = {v.path.rpartition("/")[2]: v for v in read_dataset(tmp_path / "data").videos}
    assert {name: (v.frames, v.captions) for name, v in videos.items()} == {
        "clip.mp4": (6, ("a", "b")),
        "still.png": (1, ("c",)),
    }
    assert (videos["still.png"].width, videos["still.png"].height) == (32, 40)
    assert np.array_equal(read_video(source / "still.png")[0], picture)
    assert inspect_video(source / "still.png").frames == 1
