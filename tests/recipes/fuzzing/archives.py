"""Damaged archives: what is unpacked of them must be what was packed.

Zip, rar, gzip, bzip2 and xz have checksums of what they hold; a plain tar has none of its files.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from fuzzing.cases import Case, Find, check_nothing_half_written, run
from fuzzing.damage import damage_bytes

ARCHIVES = (
    *("stored.zip", "deflated.zip", "lzma.zip", "plain.tar", "packed.tar.gz", "packed.tar.bz2"),
    *("packed.tar.xz", "packed.tar.zst", "inner.zip", "stored.rar"),
)
_WITHOUT_CHECKSUM = ("plain.tar",)


def make(base: Path) -> None:
    """Write whole archives of the same three small videos in two folders."""
    from latte_cli.sources.shapes import render_clip
    from latte_cli.video_io import write_video

    folder, plain = base / "archives", base / "archived"
    folder.mkdir(exist_ok=True)
    members: dict[str, bytes] = {}
    for number, name in enumerate(("cat/a b.mp4", "cat/é.mp4", "dog/c.mp4")):
        write_video(plain / name, render_clip(number, num_frames=3, size=32), 8)
        members[f"pets/{name}"] = (plain / name).read_bytes()
    packings = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}
    for name, packing in {**packings, "lzma": zipfile.ZIP_LZMA}.items():
        _write_zip(folder / f"{name}.zip", members, packing)
    inner = {"pets/inner.zip": (folder / "deflated.zip").read_bytes()}
    _write_zip(folder / "inner.zip", inner, zipfile.ZIP_STORED)
    for name in ("plain.tar", "packed.tar.gz", "packed.tar.bz2", "packed.tar.xz"):
        _write_tar(folder / name, members, name.rpartition(".tar")[2].lstrip("."))
    if shutil.which("zstd"):
        subprocess.run(
            ["zstd", "-q", "-f", folder / "plain.tar", "-o", folder / "packed.tar.zst"], check=True
        )
    _write_rar(folder / "stored.rar", members)


def _write_zip(path: Path, members: dict[str, bytes], packing: int) -> None:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _write_tar(path: Path, members: dict[str, bytes], packing: str) -> None:
    with tarfile.open(path, f"w:{packing}") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def _write_rar(path: Path, members: dict[str, bytes]) -> None:
    """A rar whose members are stored: Python reads it without a tool."""
    from helpers.rar_writer import rar_of

    class Content(bytes):
        encode: Callable[..., bytes] = lambda self: bytes(self)  # the writer takes text

    path.write_bytes(rar_of({name: Content(content) for name, content in members.items()}))


def damaged_archive(case: Case) -> str:
    """One archive, damaged, unpacked and prepared."""
    whole = case.chance.choice(sorted((case.base / "archives").iterdir()))
    what, content = damage_bytes(whole.read_bytes(), case.chance)
    name = whole.name
    if case.chance.random() < 0.05:
        name = "a" + case.chance.choice((".zip", ".tar", ".rar", ".tar.gz", "", ".mp4", ".7z"))
        what += f", as {name}"
    path = case.folder / name
    path.write_bytes(content)
    out = case.folder / "out"
    case.what = f"{whole.name}: {what}"
    ended = run("prepare", "folder", "--labels", "--source", path, "--out", out, "--workers", 1)
    check_nothing_half_written(out)
    if ended.code:
        return "refused"
    packed = {
        hashlib.sha256(each.read_bytes()).hexdigest()
        for each in (case.base / "archived").rglob("*.mp4")
    }
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    found = {row["sha256"] for row in rows}
    if found == packed:
        return "harmless"
    if whole.name in _WITHOUT_CHECKSUM:
        return "unseen"
    if found - packed:
        raise Find(f"silent: {whole.name} yields other bytes than were packed")
    if (out / "rejected.jsonl").read_text().strip():
        return "mended"
    raise Find(f"silent: {len(found)} of {len(packed)} videos of {whole.name}")
