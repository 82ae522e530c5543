"""Which columns of a table hold videos and captions, by their usual names or by the user's choice.

Captions go by other names in other programs and data sets: `text` in training scripts, `cap` and
`prompt`, `name` in WebVid, `title` in sets of Pexels; videos by `path`, `file_name`, `videoid`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from latte_cli.runtime.errors import DataError
from latte_cli.sources.editions import warn

NEEDED = ("video", "caption")
HINT = (
    "columns: video, caption, optionally split and label; paths are relative to the table. "
    "--video-column and --caption-column take columns of other names"
)

_TIERS = {
    "video": (
        "video",
        "videopath videofile videofilename videoname filename filepath file path clippath clipname "
        "clipfile clip fname",
        "clipid videoid",
        "contenturl contentloc videourl url",
    ),
    "caption": (
        "caption captions cap",
        "text prompt description desc sentence sentences encap",
        "title",
    ),
    "label": ("label labels class classname category categoryname target labelid classid",),
    "split": ("split subset partition set",),
}
"""The names of each column without signs; one of an earlier tier is meant if there are several.

Within a tier, which one is meant is not clear: the first is read, with a warning.
"""
_DETAILED = ("shortcaption", "densecaption", "longcaption", "detailedcaption")
"""Captions of one clip at several lengths, as in MiraData: all are read."""
_NAME = "name"  # the caption in WebVid; beside a caption it may name the video

_COLUMN_OF = {
    name: (column, tier, rank)
    for column, tiers in _TIERS.items()
    for tier, names in enumerate(tiers)
    for rank, name in enumerate(names.split())
}

Row = Mapping[str, object]
"""The values of a row by column: video, caption, label, split."""
Line = tuple[str, Row, str]
"""Where a row is, its values, and what is wrong with it; empty if nothing is."""


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns.

    Attributes:
        names: of each column that was found; captions may have several.
        unclear: groups of names of which the first is read.
        unknown: names that the user chose, and the table does not have.
    """

    names: Mapping[str, tuple[str, ...]]
    unclear: tuple[tuple[str, ...], ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """The name of a column that is needed and not there; empty if all are."""
        lacking = (*self.unknown, *(column for column in NEEDED if column not in self.names))
        return next(iter(lacking), "")

    def row(self, values: Mapping[str, object]) -> dict[str, object]:
        """The values of the columns, of those of a row by name."""
        return {
            column: _together([values.get(name) for name in names])
            for column, names in self.names.items()
        }

    def warn(self, table: Path) -> None:
        """Warn of each group of names of which the first is read."""
        for names in self.unclear:
            warn(f"{table}: of the columns {', '.join(names)} the first is read")


@dataclass(frozen=True)
class ColumnChoice:
    """The columns that the user names.

    Attributes:
        video: column of the videos; None: by its usual names.
        captions: columns of their captions, all of which are read; none: by their usual names.
    """

    video: str | None = None
    captions: tuple[str, ...] = ()

    def find(self, names: Iterable[object]) -> Columns:
        """The columns among some names; those that are chosen are taken as they are written."""
        return _find(self, tuple(str(name) for name in names))

    def require(self, where: str, names: Iterable[object]) -> Columns:
        """The same; there must be a video and a caption.

        Args:
            where: the table, for the message.
            names: of its columns.

        Raises:
            DataError: if there are not; lists the columns.
        """
        there = [str(name) for name in names]
        columns = self.find(there)
        if columns.missing:
            raise DataError(f"{where}: {no_column(columns.missing, there)}", hint=HINT)
        return columns


def no_column(name: str, there: Iterable[str]) -> str:
    """What is wrong with a table, or a row, without a column."""
    return f"no column `{name}`; found: {', '.join(there) or 'none'}"


@lru_cache(maxsize=64)  # most rows of JSON have the same names
def _find(choice: ColumnChoice, names: tuple[str, ...]) -> Columns:
    found = _by_usual_names(names)
    chosen = {"video": () if choice.video is None else (choice.video,), "caption": choice.captions}
    unclear = [group for column, group in _unclear(names) if not chosen.get(column)]
    unknown: list[str] = []
    for column, wanted in chosen.items():
        if wanted:
            found[column] = tuple(name for name in wanted if name in names)
            unknown += [name for name in wanted if name not in names]
    found = {column: group for column, group in found.items() if group}
    return Columns(found, tuple(unclear), tuple(unknown))


def _ranked(names: Iterable[str]) -> dict[str, list[tuple[int, int, str]]]:
    """Tier, rank and name of all names that are known, by column, the best first."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    for name in names:
        if known := _COLUMN_OF.get(_plain(name)):
            column, tier, rank = known
            found.setdefault(column, []).append((tier, rank, name))
    return {column: sorted(ranked) for column, ranked in found.items()}


def _by_usual_names(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    ranked = _ranked(names)
    found: dict[str, tuple[str, ...]] = {column: (each[0][2],) for column, each in ranked.items()}
    detailed = [name for plain in _DETAILED for name in names if _plain(name) == plain]
    if detailed and ("caption" not in ranked or ranked["caption"][0][0] > 0):
        found["caption"] = tuple(detailed)
    if plain := [name for name in names if _plain(name) == _NAME]:
        if "caption" not in found and "video" in found:
            found["caption"] = (plain[0],)
        elif "video" not in found:
            found["video"] = (plain[0],)
    return found


def _unclear(names: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Columns of which several names of the best tier are there, none of them the column's own."""
    detailed = any(_plain(name) in _DETAILED for name in names)
    found = []
    for column, ranked in _ranked(names).items():
        best, rank, _ = ranked[0]
        group = tuple(name for tier, _, name in ranked if tier == best)
        is_own = best == 0 and rank == 0
        if len(group) > 1 and not is_own and not (column == "caption" and detailed and best):
            found.append((column, group))
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _together(values: list[object]) -> object:
    """One value as it is; of several, a list of what is in them."""
    if len(values) == 1:
        return values[0]
    every: list[object] = []
    for value in values:
        every += value if isinstance(value, list) else [value]
    return [value for value in every if value is not None and str(value).strip()]
