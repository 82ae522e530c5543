"""What a case of the fuzz is: its damaged input, and what came of it."""

import random
import re
import shutil
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from typer.testing import CliRunner


class Find(Exception):  # it is no error of the fuzz
    """Something that must not happen; the message says what, and where."""


@dataclass
class Case:
    """One case, which depends on nothing else. What tries it returns one of `OUTCOMES`.

    Attributes:
        base: folder of whole inputs, which must not be changed.
        folder: an empty folder of its own, which is deleted afterwards.
        chance: for all that is random.
        alone: whether videos are checked in processes of their own, as users have it; otherwise
            here, which is quicker, and a decoder that dies takes this process with it.
        what: was damaged, and how.
    """

    base: Path
    folder: Path
    chance: random.Random
    alone: bool = False
    what: str = ""

    def copy(self, name: str) -> Path:
        """A copy of a file or folder of whole inputs, to damage."""
        target = self.folder / Path(name).name
        if (self.base / name).is_dir():
            shutil.copytree(self.base / name, target)
        else:
            shutil.copyfile(self.base / name, target)
        return target


OUTCOMES = {
    "refused": "an error with a hint, or a reason in rejected.jsonl",
    "mended": "the damage was found, and what it concerns was made anew or left out with a warning",
    "harmless": "accepted: what is read of it is bit for bit what the whole file holds",
    "end unknown": "accepted: fewer frames, without a message of ffmpeg's; manifest: end unknown",
    "unseen": "accepted with other contents: the format has no checksum, and ffmpeg is silent, too",
    "unverified": "accepted: latents with other numbers, which only --verify compares, and refuses",
    "another": "accepted: still a valid file, of other contents",
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str = field(repr=False)

    @property
    def text(self) -> str:
        """All that was printed, on one line."""
        return " ".join((self.stdout + self.stderr).split())


def run(*words: object) -> Ended:
    """Run the command line in this process.

    Raises:
        Find: if it ends in any other way than the guide `inside` says.
    """
    from latte_cli.cli import app

    result = CliRunner().invoke(app, [str(word) for word in words])
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        raise Find(f"traceback: {_where(error)}")
    if "Traceback" in result.stderr:
        raise Find("traceback in stderr: " + result.stderr.strip().splitlines()[-1])
    if result.exit_code not in (0, 1, 2):
        raise Find(f"exit code {result.exit_code}")
    if result.exit_code == 1 and not re.search(r"error: \S.*hint: \S", result.stderr, re.DOTALL):
        raise Find(f"exit code 1 without error and hint: {result.stderr[-300:]!r}")
    return Ended(result.exit_code, result.stdout, result.stderr)


def _where(error: BaseException) -> str:
    """An error, and the last line of this project that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "latte_cli" in f.filename] or list(frames)
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
    return f"{type(error).__name__} at {place}: {str(error)[:200]}"


def check_nothing_half_written(folder: Path) -> None:
    """Raise Find if a command left unfinished files."""
    if left := [path.name for path in folder.rglob(".part-*")]:
        raise Find(f"half-written files are left: {left[:3]}")
