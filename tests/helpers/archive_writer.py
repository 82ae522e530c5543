"""Archives of any members, safe or not, and the contents of folders."""

import io
import tarfile
import zipfile

import pytest

from latte_cli.runtime.errors import DataError
from latte_cli.sources import unpack

FOLDER, LINK, COPY, PIPE = "folder", "link", "copy", "pipe"
PETS = {
    "pets/cat/a b.mp4": b"a" * 5000,
    "pets/cat/é 猫'\".mp4": b"b",
    "pets/cat/new\nline.mp4": b"",
    "pets/dog/-x.mp4": b"c" * 700,
    "pets/dog/link.mp4": (LINK, "../cat/a b.mp4"),
    "pets/empty": (FOLDER,),
}
_TYPES = {
    FOLDER: (tarfile.DIRTYPE, 0o040755),
    LINK: (tarfile.SYMTYPE, 0o120777),
    COPY: (tarfile.LNKTYPE, 0o100644),
    PIPE: (tarfile.FIFOTYPE, 0o010644),
}


def archive_of(path, members):
    """An archive of a list, or a dict, of names with bytes or (kind, target)."""
    pairs = list(members.items()) if isinstance(members, dict) else members
    write = _write_zip if path.name.endswith("zip") else _write_tar
    path.parent.mkdir(parents=True, exist_ok=True)
    write(
        path,
        [(name, (what, ()) if isinstance(what, bytes) else (b"", what)) for name, what in pairs],
    )
    return path


def _write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, (data, kind) in members:
            info = zipfile.ZipInfo(name + "/" * (kind[:1] == (FOLDER,)))
            info.external_attr = _TYPES[kind[0]][1] << 16 if kind else 0
            info.compress_type = zipfile.ZIP_DEFLATED
            opened.writestr(info, kind[1] if kind[:1] == (LINK,) else data)


def _write_tar(path, members):
    packing = {"gz": "gz", "bz2": "bz2", "xz": "xz"}.get(path.suffix[1:].replace("t", ""), "")
    with tarfile.open(path, f"w:{packing}") as opened:
        for name, (data, kind) in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if kind:
                info.type, info.linkname = _TYPES[kind[0]][0], (*kind, "")[1]
            opened.addfile(info, io.BytesIO(data))


def tree(folder):
    """The contents of a folder: bytes of files, targets of links, None for folders."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = None if path.is_dir() else path.read_bytes()
    return found


PETS_TREE = {name.removeprefix("pets/"): what for name, what in PETS.items()} | {
    "dog/link.mp4": "../cat/a b.mp4",
    "cat": None,
    "dog": None,
    "empty": None,
}


def assert_rejected(path, out, message):
    """Assert that unpacking fails with a message and a hint, and leaves nothing behind."""
    with pytest.raises(DataError, match=message) as error:
        unpack(path, out)
    assert error.value.hint
    assert str(path) in str(error.value)
    assert [each for each in out.rglob("*") if each != out / "unpacked"] == []
