"""Archives: unpacked once, whole or not at all."""

import subprocess
import sys

import pytest
from helpers.archive_writer import PETS, PETS_TREE, archive_of, tree

from latte_cli.runtime.errors import DataError
from latte_cli.sources import unpack

KINDS = ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "txz"]


@pytest.mark.parametrize("kind", KINDS)
def test_contents_are_unpacked_unchanged_and_only_once(tmp_path, kind):
    archive = archive_of(tmp_path / f"sp ace.{kind}", PETS)
    seen = []
    folder = unpack(archive, tmp_path / "out", lambda done, total: seen.append((done, total)))
    assert folder == tmp_path / "out" / "unpacked" / "sp ace" / "pets"
    assert tree(folder) == PETS_TREE
    assert seen[0] == (0, 6)
    assert seen[-1] == (6, 6)
    assert seen == sorted(seen)
    marks = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if not path.is_symlink()}
    assert unpack(archive, tmp_path / "out", lambda done, total: pytest.fail("again")) == folder
    assert all(path.stat().st_mtime_ns == at for path, at in marks.items())


def test_a_changed_archive_is_unpacked_again(tmp_path):
    archive = archive_of(tmp_path / "a.zip", {"old.mp4": b"1"})
    unpack(archive, tmp_path / "out")
    archive_of(tmp_path / "a.zip", {"new.mp4": b"22"})
    assert tree(unpack(archive, tmp_path / "out")) == {"new.mp4": b"22"}


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    archive = archive_of(tmp_path / "a-b.tar", PETS)
    left = tmp_path / "out" / "unpacked" / ".part-1234-a-b"
    others = tmp_path / "out" / "unpacked" / ".part-1234-b"
    for folder in (left, others):
        (folder / "half").mkdir(parents=True)
    assert tree(unpack(archive, tmp_path / "out")) == PETS_TREE
    assert not left.exists()
    assert others.exists()


def test_an_interrupted_run_leaves_nothing_behind(tmp_path):
    """Whatever interrupts it, between two members."""
    archive = archive_of(tmp_path / "a.zip", PETS)

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "out", stop)
    assert list((tmp_path / "out" / "unpacked").iterdir()) == []
    assert tree(unpack(archive, tmp_path / "out")) == PETS_TREE


def test_a_killed_run_does_not_affect_the_next(tmp_path):
    archive = archive_of(tmp_path / "a.tar", PETS)
    killed = (
        "import os, sys; from pathlib import Path; from latte_cli.sources import unpack;"
        "unpack(Path('a.tar'), Path('out'), lambda done, _: done == 3 and os.kill(os.getpid(), 9))"
    )
    assert subprocess.run([sys.executable, "-c", killed], cwd=tmp_path).returncode == -9
    (half,) = (tmp_path / "out" / "unpacked").iterdir()
    assert half.name.startswith(".part-")
    assert tree(unpack(archive, tmp_path / "out")) == PETS_TREE
    assert not half.exists()


@pytest.mark.parametrize("name", ["..zip", "...zip", ".zip", "zip", "no ending"])
def test_unusual_archive_names_stay_in_the_folder(tmp_path, name):
    made = archive_of(tmp_path / "a.zip", {"a.mp4": b"1"})
    out = tmp_path / "out"
    folder = unpack(made.rename(tmp_path / name), out)
    assert folder.parent == out / "unpacked"
    assert tree(folder) == {"a.mp4": b"1"}


def test_folders_and_tables_are_returned_unchanged(tmp_path):
    for name in ("t.csv", "t.jsonl", "a.mp4", "empty"):
        (tmp_path / name).write_text("video,caption\n" if name != "empty" else "")
        assert unpack(tmp_path / name, tmp_path / "out") == tmp_path / name
    assert unpack(tmp_path, tmp_path / "out") == tmp_path
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match=r"gone.zip: no such file or folder"):
        unpack(tmp_path / "gone.zip", tmp_path / "out")
