"""Every video below a folder is found once, whatever its name and links."""

import errno
import os
import shutil

import numpy as np
import pytest
from helpers.trees import touch, with_warnings

from latte_cli.runtime.errors import DataError, LatteWarning
from latte_cli.sampling.clip_folder import ClipEntry, ClipFolder
from latte_cli.sources import DATASETS, find_videos
from latte_cli.sources.folder_tree import find_videos_below, unwrapped
from latte_cli.sources.left_out import left_out


def found_below(root):
    return [str(path.relative_to(root)) for path in find_videos_below(root)]


def test_videos_and_folders_of_frames_are_found_together(tmp_path):
    touch(tmp_path, "a/1.mp4", "b/x/1.jpg", "b/x/2.jpg", "b/y.mp4/0000000.png", "c.webm")
    assert found_below(tmp_path) == ["a/1.mp4", "b/x", "b/y.mp4", "c.webm"]
    assert found_below(tmp_path / "b" / "x") == ["."]


def test_images_that_are_not_frames_are_ignored(tmp_path):
    """Next to videos, next to folders unless numbered, hidden, or metadata of a Mac."""
    touch(tmp_path, "a/1.mp4", "a/thumbnail_1.jpg", "cover.jpg", ".x/1.jpg", "__MACOSX/a/1.jpg")
    assert found_below(tmp_path) == ["a/1.mp4"]
    touch(tmp_path, "b/1.png", "b/2.png", "b/thumbs/1.png")
    assert found_below(tmp_path) == ["a/1.mp4", "b", "b/thumbs"]


@pytest.mark.parametrize(
    "names", [["frame (1).png", "frame (2).png"], ["f1_out.png", "f2_out.png"]]
)
def test_numbered_frames_next_to_folders_are_a_video(tmp_path, names):
    touch(tmp_path, *(f"b/{name}" for name in names), "b/thumbs/1.png")
    touch(tmp_path, "poster 2021 final.jpg")
    assert found_below(tmp_path) == ["b", "b/thumbs"]


def test_frames_in_no_clear_order_give_a_warning(tmp_path):
    touch(tmp_path, *(f"a/{side}_{number}.png" for side in ("left", "right") for number in (1, 2)))
    touch(tmp_path, "b/000.jpg", "b/000.png", "b/001.png", "c/1.png", "c/2.png", "1.mp4")
    found, warned = with_warnings(found_below, tmp_path)
    assert found == ["1.mp4", "a", "b", "c"]
    assert len(warned) == 1
    assert "a and 1 more: the order of the frames is not clear (2 kinds of names" in warned[0]
    _, warned = with_warnings(found_below, tmp_path / "b")
    assert "000.jpg and 000.png have the same number" in warned[0]


def test_videos_of_every_container_are_found_in_any_case(tmp_path):
    names = [
        "0.MTS",
        "1.m2ts",
        "2.asf",
        "3.VOB",
        "4.ogm",
        "5.f4v",
        "6.qt",
        "7.dv",
        "8.m2v",
        "9.mpe",
    ]
    names += ["a.mxf", "b.rm", "c.3g2", "d.y4m", "e.Divx", "f.h265", "g.ivf", "h.TRP", "i.apng"]
    touch(tmp_path, *names, "notes.txt", "sound.wav")
    assert found_below(tmp_path) == names


def test_files_of_ambiguous_names_are_known_by_their_content(tmp_path):
    touch(tmp_path, "a.dat", "b.mod", "c.ogg", "LICENSE")
    (tmp_path / "disc.DAT").write_bytes(b"RIFF\0\0\0\0CDXAfmt " + bytes(100))
    (tmp_path / "camera.MOD").write_bytes(b"\0\0\1\xba" + bytes(100))
    (tmp_path / "theora.ogg").write_bytes(b"OggS" + bytes(24) + b"\x80theora" + bytes(100))
    (tmp_path / "0f3a").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    (tmp_path / "sound").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    assert found_below(tmp_path) == ["0f3a", "camera.MOD", "disc.DAT", "theora.ogg"]


def test_files_that_are_left_out_are_counted_by_suffix(tmp_path):
    touch(tmp_path, "a/1.mp4", "a/1.srt", "a/2.SRT", "b/1.png", "b/2.png", "cover.jpg", ".x.txt")
    touch(tmp_path, "part.zip", "README", "c/2.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.mp4").symlink_to("a/1.mp4")
    used = [tmp_path / "a" / "1.mp4", tmp_path / "b"]
    expected = {".srt": 2, ".jpg": 1, ".zip": 1, "no suffix": 1, ".mp4": 1}
    assert left_out(tmp_path, used) == expected
    assert left_out(tmp_path / "part.zip", used) == {}
    touch(tmp_path / "none", "a.m5p", "b.m5p", "c.txt")
    with pytest.raises(DataError, match=r"no videos in this folder; it holds 2 x .m5p, 1 x .txt"):
        find_videos("folder", tmp_path / "none")


def test_unusual_names_are_found(tmp_path):
    names = ["new\nline.mp4", "quote'\".mp4", "sp ace .mp4", "é 猫.mp4", "#000080#000300.mp4"]
    touch(tmp_path, *names, "-dash.mp4")
    assert found_below(tmp_path) == sorted([*names, "-dash.mp4"])


def test_linked_videos_are_found_once(tmp_path):
    touch(tmp_path, "in/b/1.mp4", "in/c/1.jpg", "in/c/2.jpg", "out/x/2.mp4", "in/.store/blob")
    root = tmp_path / "in"
    (root / "a.mp4").symlink_to(root / "b" / "1.mp4")
    (root / "aa").symlink_to(root / "c")
    (root / "there").symlink_to(tmp_path / "out")
    (root / "also there").symlink_to(tmp_path / "out" / "x")
    (root / "stored.mp4").symlink_to(root / ".store" / "blob")
    (tmp_path / "out" / "back").symlink_to(root)
    (tmp_path / "out" / "x" / "up").symlink_to("..")
    (root / "self.mp4").symlink_to("self.mp4")
    (root / "self").symlink_to("self")
    os.mkfifo(root / "pipe.mp4")
    assert found_below(root) == ["also there/2.mp4", "b/1.mp4", "c", "self.mp4", "stored.mp4"]


def test_a_broken_link_is_listed(tmp_path):
    (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
    assert found_below(tmp_path) == ["gone.mp4"]


def test_empty_folders_give_a_warning(tmp_path):
    touch(tmp_path, "a/1.mp4")
    for name in ("b/c", "d"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.warns(LatteWarning, match="b/c and 1 more: empty folders, skipped"):
        assert found_below(tmp_path) == ["a/1.mp4"]


@pytest.fixture
def outputs(world, tmp_path):
    """Outputs of each kind, and the user's own videos beside them."""
    shutil.copytree(world.root, tmp_path / "w")
    touch(tmp_path / "w" / "latents" / "shapes-32-embedded" / "previews", "000-x.mp4")
    touch(tmp_path / "w" / "runs" / "shapes" / "previews", "step-00000006.mp4")
    touch(tmp_path / "w" / "data" / "shapes" / "unpacked" / "cat", "1.mp4")
    for name in ("begun", "done"):
        clips = ClipFolder(tmp_path / "samples" / name, [ClipEntry("0", {})], {}, "mp4", 8)
        clips.begin()
        clips.write(clips.entries[0], np.zeros((2, 16, 16, 3), np.uint8))
    clips.finish()
    touch(tmp_path, "1.mp4", "demo/demo.mp4", "demo/demo.png", "w/data/shapes/cat/2.mp4")
    return tmp_path


def test_outputs_of_this_program_are_skipped_with_a_warning(outputs):
    found, warned = with_warnings(found_below, outputs)
    assert found == ["1.mp4", "w/data/shapes/cat/2.mp4"]
    assert warned == [f"{outputs}/demo and 6 more: made by latte itself, skipped"]
    (outputs / "also there").symlink_to(outputs / "w" / "runs" / "shapes")
    assert with_warnings(found_below, outputs)[0] == found


def test_outputs_of_this_program_are_found_if_named_as_the_source(outputs):
    data = outputs / "w" / "data" / "shapes"
    assert len(found_below(data)) == 16 + 2
    assert len(found_below(data / "videos")) == 16
    assert found_below(outputs / "samples" / "done") == ["0.mp4"]
    assert found_below(outputs / "demo") == ["demo.mp4"]


@pytest.mark.parametrize(
    ("names", "inner"),
    [
        (["pets/cat/1.mp4", "pets/dog/1.mp4"], "pets"),
        (["x/pets/cat/1.mp4", "x/pets/dog/1.mp4", "x/readme.txt", "__MACOSX/a"], "x/pets"),
        (["cat/1.mp4"], "."),
        (["cat/clip/1.jpg"], "."),
        (["pets/cat/clip/1.jpg"], "pets"),
        (["a.mp4", "pets/cat/1.mp4"], "."),
    ],
)
def test_folders_that_wrap_another_are_skipped(tmp_path, names, inner):
    touch(tmp_path, *names)
    assert unwrapped(tmp_path) == tmp_path / inner


def test_unreadable_folders_are_skipped_with_a_warning(tmp_path, monkeypatch):
    touch(tmp_path, "a/1.mp4", "closed/1.mp4", "closed too/1.mp4")
    (tmp_path / "way").symlink_to("closed")
    scandir = os.scandir

    def guarded(path):
        if "closed" in os.path.basename(os.path.realpath(path)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found, warned = with_warnings(found_below, tmp_path)
    assert found == ["a/1.mp4"]
    assert warned == [f"{tmp_path}/closed and 1 more: cannot be read, skipped"]
    with pytest.raises(PermissionError):
        find_videos_below(tmp_path / "closed")


def test_names_that_are_not_utf8_are_found(tmp_path):
    """They are rejected later, when videos are checked."""
    name = os.fsdecode(b"\xff\xfe.mp4")
    touch(tmp_path, name)
    assert found_below(tmp_path) == [name]


def test_every_data_set_is_found_by_its_name(tmp_path):
    touch(tmp_path, "train/Archery/1.mp4", "test/Bowling/1.mp4")
    (tmp_path / "captions.csv").write_text("video,caption\ntrain/Archery/1.mp4,a bow\n")
    for name in set(DATASETS) - {"shapes"}:
        assert with_warnings(find_videos, name, tmp_path)[0][0]
    with pytest.raises(Exception, match="no data set named `ucf`"):
        find_videos("ucf", tmp_path)


@pytest.mark.parametrize("name", sorted(set(DATASETS) - {"shapes"}))
def test_invalid_sources_are_rejected_with_a_hint(tmp_path, name):
    (tmp_path / "empty").mkdir()
    touch(tmp_path, "file.mp4")
    for source in ("empty", "none", "file.mp4"):
        with pytest.raises(DataError) as error:
            find_videos(name, tmp_path / source)
        assert error.value.hint
