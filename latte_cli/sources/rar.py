"""rar archives, by whichever of the programs that can read them is there.

unrar and 7z list an archive as blocks of keys and values, and unpack it themselves. bsdtar turns it
into a tar stream, which is read as any other tar file; it comes last, for it passes some damage
over that the others see.
"""

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from latte_cli.runtime.errors import DataError
from latte_cli.sources.archive_formats import StrictTar, tar_members, unpack_tar
from latte_cli.sources.archive_members import AGAIN, CannotRead, Member, check_inside
from latte_cli.sources.rar_listings import ANOTHER, SEVEN_ZIP, UNRAR, listed_members

MAGIC = b"Rar!\x1a\x07"

_UNPACK_IT = "unpack it yourself, and give the folder"
_LAST_WORDS_S = 2.0
_PROGRAMS = {"unrar": UNRAR, "7z": SEVEN_ZIP, "7zz": SEVEN_ZIP, "bsdtar": None}
_DAMAGE = re.compile(
    "checksum error|unexpected end|corrupt|crc failed|data error|headers error|damaged",
    re.IGNORECASE,
)
"""What they say of an archive that is not whole, and no other program need be asked about."""


class Rar:
    """A rar archive, read by one of the programs.

    Args:
        archive: its file.
        name: the program.
        program: where it lies.
    """

    def __init__(self, archive: Path, name: str, program: str) -> None:
        self.archive = archive
        self._absolute = os.path.abspath(archive)  # its name may begin with a dash
        self._lister = _PROGRAMS[name]
        self._program = program

    @classmethod
    def readers(cls, archive: Path) -> "list[Rar]":
        """The archive as read by each of the programs that are there, the ablest first.

        Raises:
            DataError: if there is none.
        """
        found = {name: path for name in _PROGRAMS if (path := shutil.which(name))}
        if not found:
            raise DataError(
                f"{archive}: a rar archive needs unrar, bsdtar or 7z, and none is on PATH",
                hint=f"install one (Debian: apt install libarchive-tools), or {_UNPACK_IT}",
            )
        return [cls(archive, name, path) for name, path in found.items()]

    def members(self) -> Iterator[Member]:
        """List what the archive holds.

        Raises:
            CannotRead: if the program cannot.
            DataError: at a name that a listing cannot be trusted with.
        """
        if self._lister is None:
            with self._tar_stream() as stream:
                yield from tar_members(stream)
            return
        with self._running(*self._lister.listing, self._absolute) as output:
            lines = (os.fsdecode(line).rstrip("\r\n") for line in output)
            yield from listed_members(self.archive, self._lister, lines)

    def unpack(self, folder: Path) -> Iterator[None]:
        """Unpack into an empty folder, yielding after every member.

        Raises:
            CannotRead: if the program cannot.
            DataError: if something comes to lead outside after all.
        """
        if self._lister is None:
            with self._tar_stream() as stream:
                yield from unpack_tar(stream, self.archive, folder)
            return
        before, after = self._lister.folder
        words = (self._absolute, f"{before}{folder.absolute()}{after}")
        with self._running(*self._lister.unpacking, *words) as output:
            for line in output:
                if os.fsdecode(line).startswith(self._lister.told):
                    yield
        check_inside(self.archive, folder)

    @contextmanager
    def _tar_stream(self) -> Iterator[tarfile.TarFile]:
        with (
            self._running("-cf", "-", "--format=pax", f"@{self._absolute}") as output,
            StrictTar.open(fileobj=output, mode="r|") as stream,
        ):
            yield stream

    @contextmanager
    def _running(self, *words: str) -> Iterator[IO[bytes]]:
        """Run the program for its output.

        Raises:
            CannotRead: at the end, if it failed.
            DataError: if it failed for damage.
        """
        with TemporaryFile() as said:
            process = subprocess.Popen(
                [self._program, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**os.environ, "LC_ALL": "C.UTF-8"},  # names in any letters, words in English
            )
            assert process.stdout is not None
            try:
                yield process.stdout
                process.stdout.read()  # what follows the end, so that it can end in peace
                process.wait()
            except (tarfile.TarError, CannotRead):  # what came is no whole one: did it say why?
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_LAST_WORDS_S)
                if process.returncode:
                    raise self._failure(process.returncode, said) from None
                raise
            finally:
                process.kill()
                process.stdout.close()
                process.wait()
            if process.returncode:
                raise self._failure(process.returncode, said)

    def _failure(self, code: int, said: IO[bytes]) -> DataError:
        """Why the program failed, in its own words where it has any."""
        said.seek(0)
        lines = (line.strip() for line in os.fsdecode(said.read()).split("\n"))
        reason = next((line for line in lines if line), f"code {code}")
        name = Path(self._program).name
        if _DAMAGE.search(reason):
            return DataError(f"{self.archive}: is damaged ({name}: {reason})", hint=AGAIN)
        return CannotRead(
            f"{self.archive}: {name} cannot read it ({reason})",
            hint=f"is it whole, and without a password? {ANOTHER}",
        )
