"""Damaged archives and unknown formats are rejected, and nothing is left behind."""

import struct
import sys
import zipfile

import pytest
from helpers.archive_writer import PETS, PETS_TREE, archive_of, assert_rejected, tree

from latte_cli.runtime.errors import DataError
from latte_cli.sources import unpack
from latte_cli.sources.archives import formats


def damaged(path, how):
    data = bytearray(path.read_bytes())
    if how == "cut":
        data = data[: len(data) // 2]
    else:
        middle = len(data) // 3
        data[middle : middle + 40] = bytes(byte ^ 0x55 for byte in data[middle : middle + 40])
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("how", ["cut", "flipped"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_damaged_archive_is_rejected(tmp_path, kind, how):
    noise = bytes(byte * 7919 % 251 for byte in range(20_000))
    archive = damaged(archive_of(tmp_path / f"a.{kind}", PETS | {"z.mp4": noise}), how)
    with pytest.raises(DataError, match=r"is damaged|is not an archive, or is incomplete") as error:
        unpack(archive, tmp_path / "out")
    assert "download it again" in error.value.hint
    assert not list((tmp_path / "out").rglob("*.mp4"))


def test_a_tar_file_cut_between_two_members_is_rejected(tmp_path):
    """tarfile would take it, like a damaged header, for the end."""
    members = {f"{n}.mp4": bytes(1000) for n in range(4)}
    whole = archive_of(tmp_path / "a.tar", members).read_bytes()
    for part in (whole[: 2 * 1536], whole[: 2 * 1536 + 100]):
        (tmp_path / "a.tar").write_bytes(part)
        assert_rejected(tmp_path / "a.tar", tmp_path / "out", "is damaged .incomplete")
    (tmp_path / "a.tar").write_bytes(whole[:3072] + b"rubbish" + whole[3079:])
    assert_rejected(tmp_path / "a.tar", tmp_path / "out", "is damaged .*a broken header")


def test_the_checksum_at_the_end_of_a_compressed_archive_is_checked(tmp_path):
    archive = archive_of(tmp_path / "a.tar.gz", PETS)
    data = bytearray(archive.read_bytes())
    data[-6] ^= 1  # of eight bytes, the first four are the checksum
    archive.write_bytes(data)
    assert_rejected(archive, tmp_path / "out", "is damaged .CRC check failed")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.zip", b"", "is not an archive, or is incomplete"),
        ("a.tar.gz", b"text", "is not an archive, or is incomplete"),
        ("a.rar", b"text", "is not an archive, or is incomplete"),
        ("a.tar", bytes(10240), "is empty"),
        ("a.zip", b"PK\5\6" + bytes(18), "is empty"),
    ],
)
def test_a_file_that_is_an_archive_by_name_only_is_rejected(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert_rejected(tmp_path / name, tmp_path / "out", message)


def with_headers(path, *, flags=0, packing=8):
    """A zip archive with other flags and compression in its headers."""
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.find(mark)
        while at >= 0:
            data[at + offset : at + offset + 4] = struct.pack("<HH", flags, packing)
            at = data.find(mark, at + 1)
    path.write_bytes(data)
    return path


def test_an_encrypted_archive_is_rejected(tmp_path):
    archive = with_headers(archive_of(tmp_path / "a.zip", {"a.mp4": b"1"}), flags=1)
    assert_rejected(archive, tmp_path / "out", "needs a password")


def test_an_unknown_compression_is_rejected(tmp_path):
    """Deflate64 comes from some Windows programs."""
    archive = with_headers(archive_of(tmp_path / "a.zip", {"a.mp4": b"1"}), packing=9)
    assert_rejected(archive, tmp_path / "out", "cannot be unpacked .*compression")


def test_utf8_names_are_read_even_if_not_declared(tmp_path):
    """As in archives made on a Mac."""
    members = {"é 猫.mp4": b"1", "plain.mp4": b"2"}
    archive = with_headers(archive_of(tmp_path / "a.zip", members), flags=0)
    with zipfile.ZipFile(archive) as opened:
        assert "é 猫.mp4" not in opened.namelist()
    assert tree(unpack(archive, tmp_path / "out")) == members


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python reads Zstandard")
def test_zstandard_is_rejected_if_python_cannot_read_it(tmp_path):
    (tmp_path / "a.tar.zst").write_bytes(formats._ZSTANDARD + bytes(100))
    assert_rejected(tmp_path / "a.tar.zst", tmp_path / "out", "cannot read Zstandard, 3.14 can")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="this Python reads no Zstandard")
def test_zstandard_is_read_if_python_can(tmp_path):
    from compression import zstd

    plain = archive_of(tmp_path / "a.tar", PETS).read_bytes()
    (tmp_path / "b.tar.zst").write_bytes(zstd.compress(plain))
    assert tree(unpack(tmp_path / "b.tar.zst", tmp_path / "out")) == PETS_TREE
