"""Errors that the user can fix: what is wrong, and what to do next."""

from itertools import count
from pathlib import Path


class LatteError(Exception):
    """Base class of errors that the command line shows as `error:` and `hint:`, no traceback.

    Args:
        message: what is wrong, with the offending value.
        hint: what the user can do about it.
        command: a whole command that does it, shown below the hint for pasting.
    """

    def __init__(self, message: str, hint: str = "", command: str = "") -> None:
        super().__init__(message)
        self.hint, self.command = hint, command
        if hint and hasattr(self, "add_note"):  # Python 3.11 on: shown below the traceback
            self.add_note(f"hint: {hint} {command}".rstrip())


class ConfigError(LatteError):
    """A preset, key or value that does not exist or is invalid."""


class DataError(LatteError):
    """A data set, manifest or set of latents that is missing, empty or does not match."""


class ExistsError(DataError):
    """What a command is to write exists already, and is the result of another request.

    Args:
        message: what is there, and how it differs.
        path: of it.
        replaceable: whether `--overwrite` may replace it.
        out: the value of `--out`, if that is not the path.

    Attributes:
        free: a name of the same kind that is not taken yet.
    """

    def __init__(
        self, message: str, path: Path, *, replaceable: bool = True, out: Path | None = None
    ) -> None:
        path = out or path
        ending = "" if path.is_dir() else path.suffix
        name = path.name.removesuffix(ending)
        numbered = (path.with_name(f"{name}-{n}{ending}") for n in count(2))
        self.path, self.replaceable = path, replaceable
        self.free = next(each for each in numbered if not each.exists())
        also = "or " if replaceable else ""
        hint = f"{self.replacing}{also}name another place, such as {self.free}"
        super().__init__(message, hint=hint)

    @property
    def replacing(self) -> str:
        """The beginning of a hint: how to replace what is there."""
        return "--overwrite replaces it; " if self.replaceable else ""


class VideoError(LatteError):
    """A file that cannot be read, or written, as a video."""


class CheckpointError(LatteError):
    """Weights that are missing, corrupt or of another shape."""


class HubError(LatteError):
    """A hub that cannot be reached, or that refuses what is sent to it."""


class RemoteError(LatteError):
    """A place elsewhere (`s3://…`) that cannot be reached, refuses, or lacks what it had."""


class EngineError(LatteError):
    """A cluster that cannot be reached, or on whose nodes the work cannot be done."""


class TrainingError(LatteError):
    """A training run that cannot continue as it is."""


class NumericalError(LatteError):
    """Numbers that are not finite, of which no pixels can be made."""


class ShapeError(LatteError):
    """A tensor whose size the network or the autoencoder does not accept."""


class LatteWarning(UserWarning):
    """Something that works but may not be intended; the command line shows it as `warning:`."""


class LatteNote(LatteWarning):
    """Something that the user should know and need not mend; the command line shows it as it is."""
