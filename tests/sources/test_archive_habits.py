"""Archives as the programs of other systems write them, and archives within archives."""

import io
import struct
import tarfile
import zipfile

import pytest
from helpers.archive_writer import FOLDER, archive_of, assert_rejected, tree
from helpers.trees import with_warnings

from latte_cli.sources import find_videos, unpack
from latte_cli.sources.archives import limits

CATS = {"cats/a.mp4": b"1", "dogs/b.mp4": b"22"}
CATS_TREE = {"cats": None, "dogs": None, "cats/a.mp4": b"1", "dogs/b.mp4": b"22"}


def zip_of(path, members, system=3, flags=0, extra=lambda raw: b""):
    """A zip with names as bytes, which zipfile alone would not write."""
    names = {}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for number, (name, data) in enumerate(members.items()):
            raw = name if isinstance(name, bytes) else name.encode()
            names[b"?" * (len(raw) - 4) + b"%04d" % number] = raw
            info = zipfile.ZipInfo("?" * (len(raw) - 4) + f"{number:04d}")
            info.create_system = system
            info.extra = extra(raw)
            opened.writestr(info, data)
    content = buffer.getvalue()
    for stand_in, raw in names.items():
        content = content.replace(stand_in, raw)
    path.write_bytes(content)
    return path


def nested(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("system", [0, 3, 10])
def test_backslashes_of_windows_separate_folders(tmp_path, system):
    """As Compress-Archive of PowerShell wrote them, with and without entries for folders."""
    names = {name.replace("/", "\\"): data for name, data in CATS.items()}
    made = zip_of(tmp_path / "a.zip", {"empty\\": b"", **names}, system)
    assert tree(unpack(made, tmp_path / "out")) == CATS_TREE | {"empty": None}
    videos, classes = find_videos("folder", unpack(made, tmp_path / "out"), labels=True)
    assert (len(videos), classes) == (2, ["cats", "dogs"])


def test_a_backslash_in_a_name_of_unix_is_kept(tmp_path):
    made = zip_of(tmp_path / "a.zip", {"x/AC\\DC.mp4": b"1"})
    assert tree(unpack(made, tmp_path / "out")) == {"x": None, "x/AC\\DC.mp4": b"1"}


def test_backslashes_do_not_lead_outside(tmp_path):
    made = zip_of(tmp_path / "a.zip", {"x\\..\\..\\a.mp4": b"1"}, 0)
    assert_rejected(made, tmp_path / "out", "lies outside of its folder")


def test_a_member_without_a_name_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        info = zipfile.ZipInfo("a.mp4")
        info.filename = ""
        opened.writestr(info, b"1")
    assert_rejected(tmp_path / "a.zip", tmp_path / "out", "the member '' lies outside")


NAMES = {
    "gbk": "训练集/第一类/视频01.mp4",
    "shift_jis": "データ/表示/ねこ01.mp4",
    "cp437": "gefühl/élan/a.mp4",
    "utf-8": "données/猫/é.mp4",
}


@pytest.mark.parametrize("encoding", NAMES)
def test_names_in_other_encodings_than_the_header_says(tmp_path, encoding):
    name = NAMES[encoding]
    made = zip_of(tmp_path / "a.zip", {name.encode(encoding): b"1", b"plain.mp4": b"2"}, 0)
    folder, warned = with_warnings(unpack, made, tmp_path / "out")
    assert tree(folder)[name] == b"1"
    assert bool(warned) == (encoding in ("gbk", "shift_jis"))


def test_the_name_in_the_extra_field_comes_first(tmp_path):
    """Info-ZIP and 7-Zip write it beside a name in the system's encoding."""

    def extra(raw):
        name = raw.decode("gbk").encode()
        crc = zipfile.crc32(raw)
        return struct.pack("<HHBI", 0x7075, 5 + len(name), 1, crc) + name

    name = NAMES["gbk"]
    made = zip_of(tmp_path / "a.zip", {name.encode("gbk"): b"1"}, 0, extra=extra)
    folder, warned = with_warnings(unpack, made, tmp_path / "out")
    assert name in {f"{folder.name}/{each}" for each in tree(folder)} | set(tree(folder))
    assert warned == []


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_names_of_tar_files_in_other_encodings(tmp_path, format_):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=format_, encoding="gbk") as opened:
        for name in ("训练集/猫/a.mp4", "训练集/狗/b.mp4"):
            opened.addfile(tarfile.TarInfo(name))
    folder = unpack(path, tmp_path / "out")
    assert find_videos("folder", folder, labels=True)[1] == ["狗", "猫"]


def test_archives_within_archives_are_unpacked(tmp_path):
    """Each to a folder of its name, or of its whole name if that is taken; at any depth."""
    inner = nested({"a.mp4": b"1"})
    members = {
        "cats.zip": inner,
        "dogs/more.zip": nested({"birds.zip": inner, "b.mp4": b"2"}),
        "x.zip": inner,
        "x/c.mp4": b"3",
    }
    made = archive_of(tmp_path / "a.zip", members)
    expected = {
        "cats/a.mp4": b"1",
        "dogs/more/birds/a.mp4": b"1",
        "dogs/more/b.mp4": b"2",
        "x/c.mp4": b"3",
        "x.zip/a.mp4": b"1",
    }
    found = tree(unpack(made, tmp_path / "out"))
    assert {name: data for name, data in found.items() if data is not None} == expected
    assert len(find_videos("folder", unpack(made, tmp_path / "out"))[0]) == 5


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("inside", ["zip", "tar", "tar.gz", "tgz"])
def test_kinds_within_kinds(tmp_path, kind, inside):
    inner = archive_of(tmp_path / f"i.{inside}", CATS).read_bytes()
    made = archive_of(
        tmp_path / f"a.{kind}", {f"data/i.{inside.upper()}": inner, "data/e": (FOLDER,)}
    )
    assert CATS_TREE.items() <= tree(unpack(made, tmp_path / "out") / "i").items()


def test_an_inner_archive_is_as_safe_and_whole_as_an_outer_one(tmp_path, monkeypatch):
    evil = archive_of(tmp_path / "a.zip", {"in.zip": nested({"../a.mp4": b"1"})})
    assert_rejected(evil, tmp_path / "out", "in.zip: the member '../a.mp4' lies outside")
    broken = archive_of(tmp_path / "b.zip", {"in.zip": nested(CATS)[:-30]})
    assert_rejected(broken, tmp_path / "out", "in.zip: is not an archive, or is incomplete")
    monkeypatch.setattr(limits, "ALWAYS_FINE_BYTES", 5 << 20)
    monkeypatch.setattr(limits, "MAX_RATIO", 1)
    parts = {f"{n}.zip": nested({"a.mp4": bytes(1 << 20)}) for n in range(8)}
    bomb = archive_of(tmp_path / "c.zip", parts)
    assert_rejected(bomb, tmp_path / "out", "a decompression bomb?")


def test_an_archive_that_holds_itself_ends(tmp_path):
    inner = nested({"a.mp4": b"1"})
    for _ in range(12):
        inner = nested({"in.zip": inner})
    (tmp_path / "a.zip").write_bytes(inner)
    assert_rejected(tmp_path / "a.zip", tmp_path / "out", "archives within archives")


def test_odd_members_of_tar_files(tmp_path):
    """Labels of volumes and listings of folders, as GNU tar makes backups; backslashes."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as opened:
        for name, kind in (("VOLUME", b"V"), ("cats", b"D"), ("dogs\\b.mp4", tarfile.CONTTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, 2
            opened.addfile(info, io.BytesIO(b"22"))
    assert tree(unpack(path, tmp_path / "out")) == {"cats": None, "dogs": None, "dogs/b.mp4": b"22"}


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_one_tar_file_behind_another_is_not_passed_over(tmp_path, kind):
    made = archive_of(tmp_path / f"a.{kind}", CATS)
    more = archive_of(tmp_path / f"b.{kind}", {"x" * 200 + ".mp4": b"1"})
    made.write_bytes(made.read_bytes() + more.read_bytes())
    assert_rejected(made, tmp_path / "out", "several tar archives, one behind the other")


@pytest.mark.parametrize("name", ["a.7z", "a.zip.001", "a.z01", "a.mp4.gz", "a.ISO"])
def test_other_kinds_of_archives_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(100))
    assert_rejected(tmp_path / name, tmp_path / "out", "an archive of a kind that is not read")
