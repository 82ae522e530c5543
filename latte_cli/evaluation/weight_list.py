"""The files of weights that the metrics' networks need, and which of them are on this machine."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from latte_cli.evaluation.metric_table import METRICS
from latte_cli.evaluation.results.tables import Table
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.files import sha256_of
from latte_cli.runtime.weight_files.metric_networks import I3D_TORCHSCRIPT, INSTEAD, NEEDED
from latte_cli.runtime.weight_files.published import WeightFile, WeightFolders, check_published

State = Literal["here", "missing", "wrong", "not needed"]


@dataclass(frozen=True)
class ListedFile:
    """A file of weights.

    Attributes:
        file: its name in the cache.
        metrics: that need it.
        instead: whether it takes the place of the files that the network needs otherwise.
        state: here: it is there, and the published one if that is known; wrong: it is another file;
            not needed: it is missing, and only takes the place of others.
        path: where it is; None if it is missing.
        size: bytes, of the file that is there or as published; None if unknown.
        source: the official URL.
        published: the published checksum with its kind; empty if there is none.
        sha256: of the file that is there; None if it is missing.
        names: that it may have in a folder.
        problem: what is wrong with it; empty if nothing is.
    """

    file: str
    metrics: tuple[str, ...]
    instead: bool
    state: State
    path: Path | None
    size: int | None
    source: str
    published: str
    sha256: str | None
    names: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True)
class WeightList:
    """All files, and the folders in which they are looked for, in this order."""

    files: tuple[ListedFile, ...]
    folders: tuple[Path, ...]

    def tables(self) -> list[Table]:
        """A line per file."""
        rows = [
            (", ".join(each.metrics), each.file, _size(each.size), each.state)
            for each in self.files
        ]
        return [Table(("metrics", "file", "size", "state"), rows)]

    def details(self) -> Iterator[str]:
        """Lines with all that is long: names, sources and checksums."""
        for each in self.files:
            yield each.file + (" (instead of the files above)" if each.instead else "")
            yield f"  from  {each.source}"
            yield f"  hash  {each.published or 'none is published; the first file used counts'}"
            if each.path is not None:
                yield f"  here  {each.path}, sha256 {each.sha256}"
            if each.names[1:]:
                yield f"  also  {', '.join(each.names[1:])}"
            if each.problem:
                yield f"  wrong {each.problem}"

    def facts(self) -> dict[str, Any]:
        """Where files are looked for."""
        return {"looked for in": "\n".join(map(str, self.folders))}

    def as_values(self) -> dict[str, Any]:
        """All of it."""
        files = [{**asdict(each), "path": each.path and str(each.path)} for each in self.files]
        return {"files": files, "looked_for_in": [str(folder) for folder in self.folders]}


def list_metric_weights(folders: WeightFolders, metrics: Sequence[str] = ()) -> WeightList:
    """Look for the files of some metrics' networks, and check those that are there.

    Args:
        folders: to look in.
        metrics: by name; none: of all.
    """
    users: dict[str, list[str]] = {}
    for name in metrics or METRICS:
        users.setdefault(METRICS[name].network or name, []).append(name)
    found = [
        _listed(file, tuple(users[network]), folders, instead=file not in needed)
        for network, needed in NEEDED.items()
        if network in users
        for file in (*needed, *INSTEAD.get(network, ()))
    ]
    places = [folder for folder in (folders.given, folders.cache) if folder is not None]
    return WeightList(tuple(_without_replaced(found)), tuple(places))


def _listed(
    file: WeightFile, metrics: tuple[str, ...], folders: WeightFolders, *, instead: bool
) -> ListedFile:
    path = folders.find(file)
    published = f"sha256 {file.sha256}" if file.sha256 else ""
    if file.git_blob:
        published = f"git blob SHA-1 {file.git_blob}"
    state: State = "here" if path else "not needed" if instead else "missing"
    problem = ""
    if path is not None:
        try:
            check_published(path, file)
        except CheckpointError as error:
            state, problem = "wrong", str(error)
    return ListedFile(
        file=file.name,
        metrics=metrics,
        instead=instead,
        state=state,
        path=path,
        size=path.stat().st_size if path else file.size or file.about,
        source=file.url,
        published=published,
        sha256=sha256_of(path) if path else None,
        names=file.names,
        problem=problem,
    )


def _without_replaced(files: Sequence[ListedFile]) -> Iterator[ListedFile]:
    """The files, where those are not needed that another one takes the place of."""
    trusted = [f for f in files if f.instead and f.file != I3D_TORCHSCRIPT.name]
    replaced = {metric for f in trusted if f.state == "here" for metric in f.metrics}
    for each in files:
        if each.state == "missing" and replaced.intersection(each.metrics):
            yield replace(each, state="not needed")
        else:
            yield each


def _size(count: int | None) -> str:
    """51_000_000 -> `51 MB`."""
    if count is None:
        return "unknown"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
