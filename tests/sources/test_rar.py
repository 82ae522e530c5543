"""rar archives: by whichever program is there, and refused unwritten where they are not safe."""

import shutil

import pytest
from helpers import rar_writer
from helpers.archive_writer import refused, tree
from helpers.rar_programs import calls, install, pretended

from latte_cli.runtime.errors import DataError
from latte_cli.sources import unpack

PROGRAMS = ["unrar", "bsdtar", "7z", "7zz"]
LINK, COPY = "link", "copy"
PETS = {
    "pets": None,
    "pets/cat/a b.mp4": "aaa",
    "pets/cat/é 猫'\".mp4": "bb",
    "pets/dog/-x.mp4": "",
    "pets/dog/link.mp4": (LINK, "../cat/a b.mp4"),
    "pets/dog/again.mp4": (COPY, "pets/cat/a b.mp4"),
}
PETS_TREE = {
    "cat": None,
    "cat/a b.mp4": b"aaa",
    "cat/é 猫'\".mp4": b"bb",
    "dog": None,
    "dog/-x.mp4": b"",
    "dog/link.mp4": "../cat/a b.mp4",
    "dog/again.mp4": b"aaa",
}
HOSTILE = [
    ({"a.mp4": "1", "../b.mp4": "2"}, "would lie outside"),
    ({"/tmp/b.mp4": "2"}, "would lie outside"),
    ({"link": (LINK, "/etc")}, "leads outside"),
    ({"x/link": (LINK, "../../y")}, "leads outside"),
    ({"x": (LINK, "y"), "x/a.mp4": "1"}, "as a folder and as a file or link"),
    ({"a.mp4": "1", "A.mp4": "2"}, "twice, or two names that differ in case"),
    ({"a.mp4": "1", "b.mp4": (COPY, "../a.mp4")}, "leads outside"),
]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder that is all of PATH, empty so far."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_where_no_program_is_there_all_are_named(tmp_path, programs):
    archive = pretended(tmp_path / "a.rar", PETS)
    refused(archive, tmp_path / "out", "needs unrar, bsdtar or 7z, and none is on PATH")


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_unpacks_alone(tmp_path, programs, name):
    install(programs, name)
    archive = pretended(tmp_path / "-UCF101.rar", PETS)
    seen = []
    folder = unpack(archive, tmp_path / "out", lambda *counts: seen.append(counts))
    assert folder == tmp_path / "out" / "unpacked" / "-UCF101" / "pets"
    assert tree(folder) == PETS_TREE
    assert (seen[0], seen[-1]) == ((0, 6), (6, 6))
    before = calls(programs)
    (programs / name).unlink()  # what is unpacked needs no program
    assert unpack(archive, tmp_path / "out") == folder
    assert calls(programs) == before


def test_the_ablest_program_comes_first(tmp_path, programs):
    install(programs, *PROGRAMS)
    unpack(pretended(tmp_path / "a.rar", PETS), tmp_path / "out")
    assert calls(programs) == ["unrar list", "unrar x"]


def test_where_one_program_cannot_another_does(tmp_path, programs):
    """Debian's 7z is built without rar, and any 7z takes links that step upwards for an attack."""
    install(programs, *PROGRAMS)
    faults = {"unrar": "half way: unknown method", "7z": "Cannot open", "7zz": "Dangerous link"}
    folder = unpack(pretended(tmp_path / "a.rar", PETS, faults), tmp_path / "out")
    assert tree(folder) == PETS_TREE
    words = ["unrar list", "unrar x", "7z list", "7zz list", "bsdtar -cf", "bsdtar -cf"]
    assert calls(programs) == words
    assert sorted(path.name for path in (tmp_path / "out" / "unpacked").iterdir()) == [
        ".a.json",
        "a",
    ]


def test_where_none_can_all_reasons_are_told(tmp_path, programs):
    install(programs, "unrar", "bsdtar")
    faults = {"unrar": "half way: unknown method", "bsdtar": "half way: Unsupported"}
    archive = pretended(tmp_path / "a.rar", PETS, faults)
    with pytest.raises(DataError) as told:
        unpack(archive, tmp_path / "out")
    assert str(told.value) == (
        f"{archive}: unrar cannot read it (half way: unknown method); "
        "bsdtar cannot read it (half way: Unsupported)"
    )
    assert "without a password" in told.value.hint
    assert list((tmp_path / "out" / "unpacked").iterdir()) == []


@pytest.mark.parametrize("words", ["a.mp4  - checksum error", "Unexpected end of archive"])
def test_where_one_program_tells_of_damage_no_other_is_asked(tmp_path, programs, words):
    """bsdtar sees less of it."""
    install(programs, "unrar", "bsdtar")
    archive = pretended(tmp_path / "a.rar", PETS, {"unrar": words})
    refused(archive, tmp_path / "out", f"is damaged .unrar: {words}")
    assert calls(programs) == ["unrar list"]


def test_damage_that_7z_tells_at_the_top_of_its_listing_counts(tmp_path, programs):
    install(programs, "7zz", "bsdtar")
    listing = (
        "--\\nPath = a.rar\\nType = Rar5\\nERRORS:\\nUnexpected end of archive\\n----------\\n"
    )
    (programs / "7zz").write_text(f"#!/bin/sh\nprintf -- '{listing}'\nexit 2\n")
    archive = pretended(tmp_path / "a.rar", PETS)
    refused(archive, tmp_path / "out", "is damaged .Unexpected end of archive")


@pytest.mark.parametrize("name", ["unrar", "bsdtar", "7z"])
@pytest.mark.parametrize(("members", "told"), HOSTILE)
def test_what_is_not_safe_is_refused_unwritten(tmp_path, programs, name, members, told):
    install(programs, name)
    refused(pretended(tmp_path / "a.rar", members), tmp_path / "out", told)
    assert len(calls(programs)) == 1, "it was listed, not unpacked"


@pytest.mark.parametrize("name", ["unrar", "7z"])
def test_what_was_not_listed_is_refused_once_it_is_there(tmp_path, programs, name):
    """Whatever a program may be talked into writing, its folder is thrown away."""
    install(programs, name)
    archive = pretended(tmp_path / "a.rar", {"a.mp4": "1"}, hidden={"out": (LINK, "/etc")})
    refused(archive, tmp_path / "out", "holds .*out', which leads outside")


@pytest.mark.parametrize("text", ["x\n        Size: 5", "x\n  Attributes: a/../../b", "x\nText"])
def test_names_that_would_forge_a_listing_are_refused(tmp_path, programs, text):
    """By unrar, which prints line ends as they are; bsdtar, which lists nothing, takes them."""
    install(programs, "unrar")
    archive = pretended(tmp_path / "a.rar", {text: "1"})
    refused(archive, tmp_path / "out", "a member is listed oddly")
    install(programs, "bsdtar")
    if ".." not in text:
        assert tree(unpack(archive, tmp_path / "out")) == {text: b"1"}


def test_a_link_that_is_listed_without_its_target_is_refused(tmp_path, programs):
    install(programs, "unrar")
    archive = pretended(tmp_path / "a.rar", {"a.mp4": (LINK, "")})
    refused(archive, tmp_path / "out", "nothing tells where 'a.mp4' leads to")


@pytest.fixture(params=PROGRAMS)
def real(request, tmp_path, monkeypatch):
    """One of the programs, where this machine has it, alone on PATH."""
    program = shutil.which(request.param)
    if program is None:
        pytest.skip(f"no {request.param} on this machine")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / request.param).symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return request.param


def written(path, members):
    """A real archive of what `pretended` takes."""
    kinds = {LINK: rar_writer.SYMLINK, COPY: rar_writer.HARD_LINK}
    real = {
        name: (kinds[what[0]], what[1]) if isinstance(what, tuple) else what
        for name, what in members.items()
    }
    path.write_bytes(rar_writer.rar_of(real))
    return path


def or_skip(error):
    """Debian's 7z is built without rar."""
    if "Cannot open the file as archive" in str(error):
        pytest.skip("this program is built without rar")


def test_a_real_program_unpacks_a_real_archive(tmp_path, real):
    link = {"pets/dog/link.mp4": (LINK, "-x.mp4")}  # 7z takes any step upwards for an attack
    archive = written(tmp_path / "-a.rar", PETS | link)
    try:
        folder = unpack(archive, tmp_path / "out")
    except DataError as error:
        or_skip(error)
        raise
    assert tree(folder) == PETS_TREE | {"dog/link.mp4": "-x.mp4"}


@pytest.mark.parametrize(("members", "told"), HOSTILE)
def test_a_real_program_lists_what_is_not_safe(tmp_path, real, members, told):
    archive = written(tmp_path / "a.rar", members)
    with pytest.raises(DataError) as error:
        unpack(archive, tmp_path / "out")
    or_skip(error.value)
    assert error.match(told)
    assert not list(tmp_path.rglob("*.mp4"))


def test_a_real_program_says_that_an_archive_is_damaged(tmp_path, real):
    archive = written(tmp_path / "a.rar", {"a.mp4": "x" * 1000, "b.mp4": "y" * 1000})
    data = archive.read_bytes()
    archive.write_bytes(data[:1200])
    with pytest.raises(DataError, match=r"is damaged|cannot read it") as error:
        unpack(archive, tmp_path / "out")
    or_skip(error.value)
    assert not list(tmp_path.rglob("*.mp4"))
