"""The outcome of one check."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        part: of the machine or the project, a heading.
        what: was checked.
        status: error: something that commands need does not work; warning: something is missing
            that a part of them needs, or is slower than it could be.
        found: in words.
        mend: what to do about it; empty if there is nothing to do.
    """

    part: str
    what: str
    status: Status
    found: str
    mend: str = ""


Check = Callable[[], Iterable[Finding]]


def run_check(part: str, what: str, check: Check) -> Iterator[Finding]:
    """The findings of a check; one that fails itself is a finding, too."""
    try:
        for finding in check():
            yield Finding(
                finding.part, finding.what, finding.status, _short(finding.found), finding.mend
            )
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        mend = getattr(error, "hint", "") or "`latte --debug …` of a command shows where it fails"
        yield Finding(part, what, "error", _short(reason), mend)


def _short(text: str) -> str:
    """A text in which the user's home is `~`: it may be published in a report."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text
