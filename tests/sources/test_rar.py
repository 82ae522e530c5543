"""Rar archives: stored members need no tool, compressed ones any that is installed."""

import shutil
import sys

import pytest
import rarfile
from helpers.archive_writer import assert_rejected, tree
from helpers.rar_writer import HARD_LINK, SYMLINK, rar_of

from latte_cli.runtime.errors import DataError
from latte_cli.sources import unpack
from latte_cli.sources.archives import formats, limits

PETS = {
    "pets": None,
    "pets/cat/a b.mp4": "aaa",
    "pets/cat/é 猫'\".mp4": "bb",
    "pets/cat/new\nline.mp4": "c",
    "pets/dog/-x.mp4": "",
    "pets/dog/link.mp4": (SYMLINK, "../cat/a b.mp4"),
    "pets/dog/again.mp4": (HARD_LINK, "pets/cat/a b.mp4"),
}
PETS_TREE = {
    "cat": None,
    "cat/a b.mp4": b"aaa",
    "cat/é 猫'\".mp4": b"bb",
    "cat/new\nline.mp4": b"c",
    "dog": None,
    "dog/-x.mp4": b"",
    "dog/link.mp4": "../cat/a b.mp4",
    "dog/again.mp4": b"aaa",
}
HOSTILE = [
    ({"a.mp4": "1", "../b.mp4": "2"}, "lies outside"),
    ({"/tmp/b.mp4": "2"}, "lies outside"),
    ({"C:\\b.mp4": "2"}, "lies outside"),
    ({"link": (SYMLINK, "/etc")}, "points outside"),
    ({"x/link": (SYMLINK, "../../y")}, "points outside"),
    ({"x/link": (SYMLINK, "y\\..\\..\\..\\z")}, "points outside"),
    ({"x": (SYMLINK, "y"), "x/a.mp4": "1"}, "holds 'x' twice, or below a file"),
    ({"a.mp4": "1", "./a.mp4": "2"}, "holds './a.mp4' twice"),
    ({"a.mp4": "1", "b.mp4": (HARD_LINK, "../a.mp4")}, "points outside"),
    ({"a.mp4": (SYMLINK, "x"), "b.mp4": (HARD_LINK, "a.mp4")}, "which is not a file"),
]
SMALL = {"a.mp4": "1", "x": None, "x/b.mp4": "22", "x/empty.mp4": ""}
SMALL_TREE = {"a.mp4": b"1", "x": None, "x/b.mp4": b"22", "x/empty.mp4": b""}

# Prints what the writer stored in an archive, as unrar prints what it decompresses.
TOOL = """#!{python}
import sys
if len(sys.argv) > 3:  # else it is only asked whether it runs
    with open({log!r}, "a") as log:
        log.write("run\\n")
    archive = open(next(word for word in sys.argv if word.endswith(".rar")), "rb").read()
    contents = [text for text in (b"1", b"22") if archive.count(b"mp4" + text)]
    sys.stdout.buffer.write({contents})
"""


def rar(path, members, **options):
    path.write_bytes(rar_of(members, **options))
    return path


@pytest.fixture
def bin_folder(tmp_path, monkeypatch):
    """An empty folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def install(bin_folder):
    """Installs a tool that writes all contents of an archive, or something else."""

    def write(contents='b"".join(contents)', name="unrar"):
        log = bin_folder / "runs.txt"
        text = TOOL.format(python=sys.executable, log=str(log), contents=contents)
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
        return log

    return write


def test_an_archive_is_unpacked_once(tmp_path, bin_folder):
    archive = rar(tmp_path / "-UCF101.rar", PETS)
    seen = []
    folder = unpack(archive, tmp_path / "out", lambda *counts: seen.append(counts))
    assert folder == tmp_path / "out" / "unpacked" / "-UCF101" / "pets"
    assert tree(folder) == PETS_TREE
    assert (seen[0], seen[-1]) == ((0, 7), (7, 7))
    assert unpack(archive, tmp_path / "out", lambda *counts: pytest.fail("again")) == folder


@pytest.mark.parametrize(("members", "message"), HOSTILE)
def test_unsafe_members_are_rejected(tmp_path, bin_folder, members, message):
    assert_rejected(rar(tmp_path / "a.rar", members), tmp_path / "out", message)


def test_a_bomb_is_rejected(tmp_path, bin_folder, monkeypatch):
    monkeypatch.setattr(limits, "ALWAYS_FINE_BYTES", 10_000)
    monkeypatch.setattr(limits, "MAX_RATIO", 1)
    bomb = rar(tmp_path / "a.rar", {f"{n}.mp4": "" for n in range(9)})
    assert_rejected(bomb, tmp_path / "out", "a decompression bomb?")


def test_without_a_tool_a_compressed_archive_is_rejected_with_their_names(tmp_path, bin_folder):
    archive = rar(tmp_path / "a.rar", SMALL, packed=True)
    assert_rejected(
        archive, tmp_path / "out", "needs unrar, unar, 7z or bsdtar, and none is installed"
    )


@pytest.mark.parametrize("name", ["unrar", "7z", "bsdtar"])
def test_one_run_of_a_tool_reads_all_compressed_members(tmp_path, install, name):
    runs = install(name=name)
    archive = rar(tmp_path / "-a.rar", SMALL, packed=True)
    assert tree(unpack(archive, tmp_path / "out")) == SMALL_TREE
    assert runs.read_text() == "run\n"


def test_beside_links_each_compressed_member_is_read_on_its_own(tmp_path, install):
    runs = install()
    members = SMALL | {"link.mp4": (SYMLINK, "a.mp4"), "b.mp4": (HARD_LINK, "a.mp4")}
    archive = rar(tmp_path / "-a.rar", members, packed=True)
    links = {"link.mp4": "a.mp4", "b.mp4": b"1"}
    assert tree(unpack(archive, tmp_path / "out")) == SMALL_TREE | links
    assert runs.read_text() == "run\n" * 3


@pytest.mark.parametrize("contents", ['b"9" * 9', 'b""'])
def test_a_tool_that_fails_leaves_nothing_behind(tmp_path, install, contents):
    install(contents)
    archive = rar(tmp_path / "a.rar", SMALL, packed=True)
    assert_rejected(archive, tmp_path / "out", "cannot be read .*(CRC|Failed)")


@pytest.mark.parametrize("size", [1100, 1300, -1, -9])
def test_an_incomplete_archive_is_rejected(tmp_path, bin_folder, size):
    archive = rar(tmp_path / "a.rar", {"a.mp4": "x" * 1000, "b.mp4": "y" * 1000})
    archive.write_bytes(archive.read_bytes()[:size])
    assert_rejected(archive, tmp_path / "out", "cannot be read")


@pytest.mark.parametrize("name", ["unrar", "unar", "bsdtar", "7z", "7zz"])
def test_a_real_tool_reads_a_real_archive(tmp_path, monkeypatch, name):
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"no {name} on this computer")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / name).symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(rarfile, "FORCE_TOOL", True)  # even for what is stored
    formats._find_rar_tool()
    members = SMALL | {"-dash [1] 猫.mp4": "333"}
    try:
        folder = unpack(rar(tmp_path / "-a.rar", members), tmp_path / "out")
    except DataError as error:
        if name.startswith("7z"):
            pytest.skip(f"this {name} is built without rar: {error}")
        raise
    assert tree(folder) == SMALL_TREE | {"-dash [1] 猫.mp4": b"333"}
