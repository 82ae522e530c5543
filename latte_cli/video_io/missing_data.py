"""What the parts of a file's format tell of it: that it is whole, cut off or damaged."""

from typing import Literal

End = Literal["known", "unknown", "unchecked"]
"""`known`: all of it is there. `unknown`: its format cannot tell. `unchecked`: a format not known
here, or one without its sizes; the times of its header may tell."""


class CutOffError(Exception):
    """Data are missing from a file; the message says which."""


class DamagedError(Exception):
    """Data of a file are not what they were; the message says where."""


def require(position: int, size: int, what: str, tolerance: int = 0) -> None:
    """Raise CutOffError if something ends at a position behind the end of the file."""
    if position > size + tolerance:
        raise CutOffError(f"the last {position - size} bytes of its {what} are missing")
