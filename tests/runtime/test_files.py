"""Files appear complete or not at all; a folder has one run at a time."""

import errno
import os
import stat
import subprocess
import sys

import pytest
import torch
from safetensors import SafetensorError

from latte_cli.runtime import files
from latte_cli.runtime.errors import LatteError


def test_a_file_appears_only_once_it_is_complete(tmp_path):
    target = tmp_path / "deep" / "x.txt"
    with pytest.raises(RuntimeError), files.atomic_file(target) as part:
        part.write_text("half")
        assert part.suffix == ".txt"
        raise RuntimeError
    assert list(target.parent.iterdir()) == []
    files.write_text(target, "whole")
    with pytest.raises(RuntimeError), files.atomic_file(target) as part:
        part.write_text("half")
        raise RuntimeError
    assert target.read_text() == "whole", "what was there stays"


def test_an_incomplete_last_json_line_is_ignored(tmp_path):
    path = tmp_path / "x.jsonl"
    files.write_json_lines(path, [{"name": "é\n'\""}, {"n": 2}])
    assert files.read_json_lines(path) == [{"name": "é\n'\""}, {"n": 2}]
    with path.open("a") as file:
        file.write('{"n": 3')
    assert files.read_json_lines(path)[-1] == {"n": 2}
    with path.open("a") as file:
        file.write("}\n")
    assert files.read_json_lines(path)[-1] == {"n": 3}
    with path.open("a") as file:
        file.write('half\n{"n": 4}\n')
    with pytest.raises(ValueError, match="Expecting value"):
        files.read_json_lines(path)
    assert files.read_json_lines(path, skip_damaged=True)[-1] == {"n": 4}


@pytest.mark.parametrize("line", ["3", "true", "[]", '"name"', "null"])
def test_json_lines_are_objects(tmp_path, line):
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"n": 1}}\n{line}\n{{"n": 2}}\n')
    with pytest.raises(ValueError, match="is not an object"):
        files.read_json_lines(path)
    assert files.read_json_lines(path, skip_damaged=True) == [{"n": 1}, {"n": 2}]


def test_half_of_a_surrogate_pair_is_written_escaped():
    """As a damaged line of metrics.jsonl may hold, which a resumed run keeps."""
    text = files.json_lines([{"lr": "\ud83d"}, {"name": "é"}])
    assert text.encode() == b'{"lr": "\\ud83d"}\n{"name": "\xc3\xa9"}\n'


def test_safetensors_reports_a_full_disk_as_oserror(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)})
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="files have no such modes")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_have_the_mode_of_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        files.write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)})
        files.write_text(tmp_path / "x.txt", "text")
        with files.atomic_file(tmp_path / "x.bin") as part:
            part.write_bytes(b"x")
            part.chmod(0o600)  # as libraries do that write to a temporary file first
        with files.atomic_folder(tmp_path / "folder") as folder:
            files.write_tensors(folder / "x.safetensors", {"a": torch.zeros(1)})
    finally:
        os.umask(before)
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in paths} == {
        name: oct(mode) for name in ("x.safetensors", "x.txt", "x.bin")
    }


def test_checksums_are_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert files.sha256_of(tmp_path / "x").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_locking_a_folder_removes_leftovers_of_a_killed_run(tmp_path):
    folder = tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    (folder / ".part-1-manifest.jsonl").write_text("half")
    (folder / "manifest.jsonl").write_text("whole")
    with files.lock_folder(folder):
        assert [path.name for path in folder.glob("[!.]*")] == ["manifest.jsonl"]
        assert not list(folder.glob(".part-*"))
    assert [path.name for path in folder.iterdir()] == ["manifest.jsonl"]


def test_a_new_folder_that_stays_empty_is_removed(tmp_path):
    with pytest.raises(RuntimeError), files.lock_folder(tmp_path / "data" / "mine"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    with files.lock_folder(tmp_path / "there"):
        pass
    assert (tmp_path / "there").is_dir(), "it was not made"


def test_a_second_run_is_rejected_until_the_first_ends(tmp_path):
    with files.lock_folder(tmp_path):
        with pytest.raises(LatteError, match="another run is writing here"):
            files.lock_folder(tmp_path).__enter__()
        with files.lock_folder(tmp_path / "other"):
            pass
    with files.lock_folder(tmp_path):
        pass


def test_a_disk_without_locks_is_no_error(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*words):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with files.lock_folder(tmp_path):
        pass


def test_the_lock_of_a_killed_run_does_not_last(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from latte_cli.runtime.files import lock_folder;"
        "lock = lock_folder(Path(sys.argv[1])); lock.__enter__(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    with files.lock_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
