"""Unsafe archives are rejected, and nothing of them is left behind."""

import errno
import gzip
import random
import shutil
import tarfile

import pytest
from conftest import fail
from helpers.archive_writer import COPY, FOLDER, LINK, PETS, PIPE, archive_of, assert_rejected, tree

from latte_cli.sources import unpack
from latte_cli.sources.archives import limits

OUTSIDE = ["../a.mp4", "x/../../a.mp4", "/a.mp4", "x\\..\\..\\a.mp4", "C:\\a.mp4", "\\a.mp4"]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_members_outside_the_folder_are_rejected(tmp_path, kind, name):
    archive = archive_of(tmp_path / f"a.{kind}", {"fine.mp4": b"1", name: b"2"})
    assert_rejected(archive, tmp_path / "out", "lies outside of its folder")
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("link", "/etc/passwd"),
        ("link", ".."),
        ("x/link", "../../a"),
        ("x/link", "y/../../../a"),
        ("x/../x/y/link", "../../../a"),
        ("link", "C:\\a"),
        ("link", ""),
    ],
)
def test_links_that_point_outside_are_rejected(tmp_path, kind, name, target):
    """Also those that may do so by way of another link."""
    archive = archive_of(tmp_path / f"a.{kind}", {"fine.mp4": b"1", name: (LINK, target)})
    assert_rejected(archive, tmp_path / "out", "points outside|lies outside")


@pytest.mark.parametrize(
    "members",
    [
        {"x": (LINK, "y"), "x/a": b"1", "y/b": b"2"},
        {"x/a": b"1", "x": (LINK, "y")},
        {"x": b"1", "x/a": b"2"},
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_below_a_link_or_a_file_are_rejected(tmp_path, kind, members):
    archive = archive_of(tmp_path / f"a.{kind}", members)
    assert_rejected(archive, tmp_path / "out", "holds 'x(/a)?' twice, or below a file")


@pytest.mark.parametrize("names", [["x/a.mp4", "x/a.mp4"], ["x/a.mp4", "./x//a.mp4"]])
@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_with_the_same_name_are_rejected(tmp_path, kind, names):
    """One would overwrite the other."""
    archive = archive_of(tmp_path / f"a.{kind}", [(name, b"1") for name in names])
    assert_rejected(archive, tmp_path / "out", "holds .*a.mp4' twice")


def test_a_folder_may_be_listed_twice(tmp_path):
    members = [("x", (FOLDER,)), ("x/a.mp4", b"1"), ("./x/", (FOLDER,)), (".", (FOLDER,))]
    archive = archive_of(tmp_path / "a.tar", members)
    assert tree(unpack(archive, tmp_path / "out")) == {"x": None, "x/a.mp4": b"1"}


def test_pipes_and_devices_are_rejected(tmp_path):
    archive = archive_of(tmp_path / "a.tar", {"pipe.mp4": (PIPE,)})
    assert_rejected(archive, tmp_path / "out", "'pipe.mp4' is not a file, folder or link")


def test_hard_links_must_name_a_file_of_the_archive(tmp_path):
    """One to a symbolic link would point elsewhere from another folder."""
    first = {"x/y/a.mp4": b"1", "x/y/link": (LINK, "../../x/y/a.mp4")}
    fine = archive_of(tmp_path / "a.tar", first | {"b.mp4": (COPY, "x/y/a.mp4")})
    assert tree(unpack(fine, tmp_path / "out"))["b.mp4"] == b"1"
    for target, message in (
        ("x/y/link", "'x/y/link', which is not a file"),
        ("gone", "'gone', which is not a file"),
        ("../a", "points outside"),
        ("/etc/passwd", "points outside"),
    ):
        evil = archive_of(tmp_path / "b.tar", first | {"b.mp4": (COPY, target)})
        assert_rejected(evil, tmp_path / "none", message)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
def test_a_bomb_is_refused(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(limits, "ALWAYS_FINE_BYTES", 1 << 20)
    monkeypatch.setattr(limits, "MAX_RATIO", 100)
    noise = random.Random(0).randbytes(1 << 20)
    bomb = archive_of(tmp_path / f"bomb.{kind}", {f"{n}.mp4": bytes(1 << 20) for n in range(4)})
    fine = archive_of(tmp_path / f"fine.{kind}", {f"{n}.mp4": noise for n in range(4)})
    assert_rejected(bomb, tmp_path / "out", "unpacks to more than .* GiB, a decompression bomb?")
    assert len(tree(unpack(fine, tmp_path / "out"))) == 4


def test_a_bomb_is_rejected_by_its_first_header(tmp_path):
    """A header that announces a terabyte is enough."""
    info = tarfile.TarInfo("a.mp4")
    info.size = 1 << 40
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT)))
    assert_rejected(tmp_path / "a.tar.gz", tmp_path / "out", "a decompression bomb?")
    text = b"64 comment=" + b"x" * 100
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + text)
    assert_rejected(
        tmp_path / "a.tar", tmp_path / "out", "is not an archive|a header of 1099511627776 bytes"
    )


def test_many_empty_members_count_as_a_bomb(tmp_path, monkeypatch):
    """Each takes a block on disk."""
    monkeypatch.setattr(limits, "ALWAYS_FINE_BYTES", 100 * 4096 - 1)
    monkeypatch.setattr(limits, "MAX_RATIO", 1)
    archive = archive_of(tmp_path / "a.zip", {f"{n}.mp4": b"" for n in range(100)})
    assert_rejected(archive, tmp_path / "out", "a decompression bomb?")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_larger_than_the_free_space_is_rejected(tmp_path, kind, monkeypatch):
    archive = archive_of(tmp_path / f"a.{kind}", PETS)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5000))
    assert_rejected(archive, tmp_path / "out", "that are free at")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_full_disk_is_reported_and_leaves_nothing_behind(tmp_path, kind, monkeypatch):
    archive = archive_of(tmp_path / f"a.{kind}", PETS)

    def write(source, target, *words):
        target.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", "a b.mp4")

    monkeypatch.setattr(shutil, "copyfileobj", write)
    monkeypatch.setattr(tarfile, "copyfileobj", write)
    said = fail("prepare", "folder", "--source", archive, "--out", tmp_path / "out")
    assert "the disk is full" in said
    assert "make room" in said
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
