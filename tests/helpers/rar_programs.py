"""Programs that pretend to read rar archives, and say what unrar, bsdtar and 7z would.

What unrar 6.2 and 7-Zip 26 print of the archives of rar_writer.py was the model. A pretended
archive is JSON behind the mark of a rar archive; programs that it names fail there.
"""

import json
import os
import sys
from pathlib import Path

MAGIC = b"Rar!\x1a\x07\x01\x00"
LOG = "calls.txt"

_PROGRAM = """#!{python}
import io, json, os, sys, tarfile

name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
with open(os.path.join(os.path.dirname(sys.argv[0]), "calls.txt"), "a") as log:
    log.write(name + " " + ("list" if words[0] in ("lt", "l") else words[0]) + "\\n")
archive = next(word.removeprefix("@") for word in words if word.startswith(("/", "@/")))
with open(archive, "rb") as file:
    said = json.loads(file.read()[8:])
members, fault = said["members"], said["faults"].get(name)
if fault and not fault.startswith("half way: "):
    sys.exit(print(fault, file=sys.stderr) or 10)


def out(text):
    sys.stdout.buffer.write(os.fsencode(text) + b"\\n")


def unrar_list():
    out("\\nArchive: " + archive + "\\nDetails: RAR 5\\n")
    kinds = dict(file="File", folder="Directory", link="Unix symbolic link", copy="Hard link")
    modes = dict(file="-rw-r--r--", folder="drwxr-xr-x", link="lrwxrwxrwx", copy="-rw-r--r--")
    for name, kind, what in members:
        out("        Name: " + name)
        out("        Type: " + kinds[kind])
        if kind in ("link", "copy"):
            out("      Target: " + what)
        if kind != "folder":
            out("        Size: %d" % (len(what) if kind == "file" else 0))
            out(" Packed size: 0\\n       Ratio: 100%")
        out("  Attributes: " + modes[kind] + "\\n     Host OS: Unix\\n")


def seven_zip_list():
    out("\\nListing archive: " + archive + "\\n\\n--\\nPath = " + archive + "\\nType = Rar5\\n")
    out("----------")
    for name, kind, what in members:
        out("Path = " + name.replace("\\n", "_"))
        out("Folder = " + ("+" if kind == "folder" else "-"))
        out("Size = %d\\nModified = \\nEncrypted = -" % (len(what) if kind == "file" else 0))
        out("Attributes = " + dict(folder="D drwxr-xr-x", link=" lrwxrwxrwx").get(kind, ""))
        out("Symbolic Link = " + (what if kind == "link" else ""))
        out("Hard Link = " + (what if kind == "copy" else "") + "\\nCopy Link = \\n")


def unpack(folder, word):
    out("\\nExtracting from " + archive + "\\n")
    for number, (name, kind, what) in enumerate(members + said["hidden"]):
        if fault and number == 1:
            sys.exit(print(fault, file=sys.stderr) or 3)
        path = os.path.join(folder, name)
        os.makedirs(path if kind == "folder" else os.path.dirname(path), exist_ok=True)
        if kind == "file":
            with open(path, "w") as file:
                file.write(what)
        elif kind == "link":
            os.symlink(what, path)
        elif kind == "copy":
            os.link(os.path.join(folder, what), path)
        out(word + name + "      OK")


def tar():
    types = dict(folder=tarfile.DIRTYPE, link=tarfile.SYMTYPE, copy=tarfile.LNKTYPE)
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as stream:
        for name, kind, what in members:
            if fault and name == members[1][0]:
                sys.stdout.buffer.flush()
                sys.exit(print(fault, file=sys.stderr) or 1)
            info = tarfile.TarInfo(name)
            if kind == "file":
                info.size = len(what)
            else:
                info.type, info.linkname = types[kind], what
            stream.addfile(info, io.BytesIO(what.encode()))


if name == "bsdtar":
    tar()
elif words[0] == "x":
    if name == "unrar":
        unpack(words[-1], "Extracting  ")
    else:
        unpack(words[-1].removeprefix("-o"), "- ")
else:
    unrar_list() if name == "unrar" else seven_zip_list()
"""


def install(folder, *names):
    """Put pretended programs into a folder that PATH shall be."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(_PROGRAM.replace("{python}", sys.executable))
        (folder / name).chmod(0o755)


def calls(folder):
    """What was run, in order: program and word."""
    log = Path(folder, LOG)
    return log.read_text().split("\n")[:-1] if log.exists() else []


def pretended(path, members, faults=None, hidden=()):
    """A pretended archive.

    Args:
        path: where to write it.
        members: by name, text of a file, None for a folder, or (kind, target).
        faults: what a program says and fails with, by its name.
        hidden: members that are written, yet not listed.
    """
    listed = [_entry(name, what) for name, what in dict(members).items()]
    unlisted = [_entry(name, what) for name, what in dict(hidden).items()]
    said = {"members": listed, "faults": faults or {}, "hidden": unlisted}
    path.write_bytes(MAGIC + json.dumps(said).encode())
    return path


def _entry(name, what):
    if isinstance(what, tuple):
        return [name, *what]
    return [name, "folder", ""] if what is None else [name, "file", what]


assert os.name == "posix", "programs are found by their first line"
