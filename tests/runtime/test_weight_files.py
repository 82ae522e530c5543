"""Files of weights: hostile pickles run nothing, and other files are named for what they are."""

import builtins
import io
import os
import pickle
import subprocess
import tarfile
import zipfile
from contextlib import suppress

import pytest
import torch
from safetensors.torch import save_file

from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.weight_files.pickles import Foreign, load_without_code
from latte_cli.runtime.weight_files.reading import read_tensor_file


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *args) -> None:
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def refused(path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_tensor_file(path)
    assert error.value.hint
    return str(error.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, "posix.system|nt.system"),
        (os.mkdir, "posix.mkdir|nt.mkdir"),
        (subprocess.Popen, "commands.Popen|subprocess.Popen"),
        (builtins.eval, "builtins.eval"),
        (builtins.exec, "builtins.exec"),
        (builtins.open, "io.open|_io.open|builtins.open"),
        (builtins.__import__, "__builtin__.__import__|builtins.__import__"),
    ],
)
def test_calls_that_harm_are_refused_and_not_run(tmp_path, monkeypatch, function, name, zipped):
    monkeypatch.setattr(builtins, "_ran", [], raising=False)
    words = {
        "system": ["touch ran"],
        "mkdir": ["ran"],
        "Popen": [["touch", "ran"]],
        "eval": ["_ran.append(1)"],
        "exec": ["_ran.append(1)"],
        "open": ["ran", "w"],
        "__import__": ["antigravity"],
    }[function.__name__]
    content = {"ema": {"w": torch.zeros(1)}, "args": Call(function, *words)}
    torch.save(content, "w.pt", _use_new_zipfile_serialization=zipped)
    assert any(
        f"calls {each}, which was not run" in refused(tmp_path / "w.pt") for each in name.split("|")
    )
    assert not builtins._ran
    assert not (tmp_path / "ran").exists()


def test_calls_of_other_functions_are_inert(tmp_path, capsys):
    """Chains of attributes and calls of what they give reach nothing."""
    chain = Call(getattr, Call(getattr, str, "join"), "__call__")
    content = {"ema": {"w": torch.ones(2)}, "a": chain, "b": Call(print, "ran")}
    torch.save(content, "w.pt")
    found = read_tensor_file(tmp_path / "w.pt")
    assert isinstance(found["a"], Foreign)
    assert torch.equal(found["ema"]["w"], torch.ones(2))
    assert not capsys.readouterr().out


HOSTILE = {
    "nested_name": b"\x80\x04\x8c\x0etorch.storage\x8c\x10_load_from_bytes\x93C\x00\x85R.",
    "state_of_function": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}U\x08__code__NsN\x86b.",
    "state_of_class": b"\x80\x02cfoo\nBar\nN}U\x0c__setstate__NsN\x86b.",
    "dotted": b"\x80\x04\x8c\x05torch\x8c\x12serialization.load\x93\x8c\x01x\x85R.",
    "extension": b"\x80\x02\x82\x01.",
    "deep": b"\x80\x02" + b"(" * 10_000 + b"t" * 10_000 + b".",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_end_in_an_error_or_inert_objects(tmp_path, name):
    before = torch._utils._rebuild_tensor_v2.__code__
    with zipfile.ZipFile("w.pt", "w") as archive:
        archive.writestr("w/data.pkl", HOSTILE[name])
        archive.writestr("w/version", "3\n")
        archive.writestr("w/byteorder", "little")
    with suppress(CheckpointError):
        assert isinstance(read_tensor_file(tmp_path / "w.pt"), (Foreign, tuple))
    assert torch._utils._rebuild_tensor_v2.__code__ is before


def test_torchscript_programs_are_not_loaded(tmp_path, monkeypatch):
    torch.jit.script(torch.nn.ReLU()).save("w.pt")
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("was loaded"))
    assert "a TorchScript program" in refused(tmp_path / "w.pt")


def test_tar_files_are_not_unpacked(tmp_path):
    with tarfile.open("w.pt", "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    assert "not a file of weights" in refused(tmp_path / "w.pt")
    with pytest.raises(pickle.UnpicklingError):
        load_without_code(tmp_path / "w.pt")


def test_other_files_are_named_for_what_they_are(tmp_path):
    path = tmp_path / "w.pt"

    def message(content: bytes) -> str:
        path.write_bytes(content)
        return refused(path)

    assert "it is empty" in message(b"")
    assert "Git LFS" in message(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    assert "a web page" in message(b"<!doctype html><html>Sign in</html>")
    torch.save({"w": torch.zeros(1000)}, path)
    assert "its end is missing" in message(path.read_bytes()[:3000])
    save_file({"w": torch.zeros(1000)}, path)
    assert "its end is missing" in message(path.read_bytes()[:3000])
    assert "its end is missing" in message(path.read_bytes()[:40])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.pt", b"x")
    assert "a zip archive of other files" in refused(path)


def test_missing_files_and_folders_are_named(tmp_path):
    assert "no such file" in refused(tmp_path / "none.pt")
    assert "no such file" in refused(tmp_path)


def test_a_damaged_list_of_an_archives_members(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"w": torch.zeros(3)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2")] ^= 1
    path.write_bytes(content)
    assert zipfile.is_zipfile(path), "its end is there"
    assert "damaged" in refused(path)


@pytest.mark.parametrize("has_checksums", [True, False])
def test_the_checksums_of_an_archive_are_compared_if_it_has_any(tmp_path, has_checksums):
    """torch itself reads the changed numbers without a word."""
    path = tmp_path / "a.pt"
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(has_checksums)
    try:
        torch.save({"w": torch.full((64,), 3.0)}, path)
    finally:
        torch.serialization.set_crc32_options(before)
    assert read_tensor_file(path)["w"].sum() == 192
    content = path.read_bytes()
    number = torch.tensor(3.0).numpy().tobytes()
    place = content.index(number * 64)
    path.write_bytes(content[:place] + torch.tensor(5.0).numpy().tobytes() + content[place + 4 :])
    assert torch.load(path, weights_only=True)["w"].sum() == 194
    if has_checksums:
        assert "data/0 does not match its checksum" in refused(path)
    else:
        assert read_tensor_file(path)["w"].sum() == 194
