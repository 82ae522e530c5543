"""Writing of result files; results of another evaluation are never replaced."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from latte_cli.evaluation.protocol import Protocol, differences
from latte_cli.evaluation.results.result import Result, read_result
from latte_cli.runtime.errors import DataError, ExistsError
from latte_cli.runtime.files import write_text

RESULTS = Path("results")
_OUT_HINT = "--out names a file in a folder that you may write to"


def default_path(real: Path, fake: Path, result: Result) -> Path:
    """The result file if the user names none: different evaluations never share one.

    Args:
        real: path of the real videos, which may have changed since another evaluation.
        fake: path of the fakes; clips of a checkpoint are also told apart by all they depend on.
        result: of the evaluation.
    """
    first_clip = result.notes.get("first_clip", "")
    paths = [str(real.resolve()), str(fake.resolve())]
    numbers = sorted((name, len(n.draws), n.resamples) for name, n in result.numbers.items())
    parts = [*paths, result.real.content, first_clip, numbers]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
    names = f"{fake.stem or 'fake'}-against-{real.stem or 'real'}"
    return RESULTS / f"{names}-{result.protocol.hash}-{digest}.json"


def write_result(path: Path, result: Result, *, overwrite: bool = False) -> None:
    """Write a result file.

    Args:
        path: of the file.
        result: of the evaluation.
        overwrite: whether the result of another evaluation may be replaced.

    Raises:
        ExistsError: if `path` holds a result of another protocol, or against other real videos.
    """
    if not overwrite:
        check_same_protocol(path, result.protocol)
        check_same_videos(path, result.real.content, result.real.place)
    text = json.dumps(result.as_values(), indent=2, ensure_ascii=False)
    write_text(path, text + "\n")


def check_same_protocol(
    path: Path,
    protocol: Protocol,
    metrics: Sequence[str] = (),
    ignore: Collection[str] = (),
    out: Path | None = None,
) -> None:
    """Check that a result would not replace one of another protocol or of more metrics.

    Args:
        path: of the result to be written.
        protocol: of that result; without networks, weights are not compared.
        metrics: of that result; empty: not compared.
        ignore: fields of the protocol that are not known yet, and not compared.
        out: the value of `--out`, if that is not the path.

    Raises:
        ExistsError: if it would, or if `path` holds something else.
    """
    if not path.is_file():
        return
    existing = _read(path)
    shared = existing.protocol.networks.keys() & protocol.networks.keys()
    theirs, ours = (
        each.with_networks({name: each.networks[name] for name in shared})
        for each in (existing.protocol, protocol)
    )
    if found := differences(theirs, ours, ignore):
        raise ExistsError(
            f"{path} holds a result of another protocol ({'; '.join(found)})", path, out=out
        )
    if metrics and (lost := [name for name in existing.numbers if name not in metrics]):
        raise ExistsError(
            f"{path} also holds {', '.join(lost)}, which --metrics does not name now: "
            f"--metrics {','.join([*metrics, *lost])} measures all of them",
            path,
        )


def check_same_videos(path: Path, content: str, place: str, out: Path | None = None) -> None:
    """Check that a result file, if there is one, is of the same real videos.

    Args:
        path: of the result file.
        content: checksum of the real videos; see `ClipSetPlan.content`.
        place: path of those.
        out: the value of `--out`, if that is not the path.

    Raises:
        ExistsError: if it is of others, or if `path` holds something else.
    """
    if path.is_file() and (existing := _read(path).real).content != content:
        others = f"other real videos: {existing.place}, not {place}"
        if existing.place == place:
            others = f"the videos that {place} held before they changed"
        raise ExistsError(
            f"{path} holds a result against {others}",
            path,
            out=out,
        )


def check_same_fakes(path: Path, content: str, place: str, notes: Mapping[str, Any]) -> None:
    """Check that a result file, if there is one, is of the same fake videos.

    Args:
        path: of the result file.
        content: checksum of the fake videos; see `ClipSetPlan.content`.
        place: path of those.
        notes: of the result; they tell clips of a checkpoint apart.

    Raises:
        ExistsError: if it is of others, or if `path` holds something else.
    """
    if not path.is_file():
        return
    existing, clips = _read(path), "first_clip"
    if (existing.fake.content, existing.notes.get(clips)) != (content, notes.get(clips)):
        now = "as it was" if existing.fake.place == place else f"against {place}"
        raise ExistsError(
            f"{path} holds a result of other fakes: {existing.fake.place} {now}", path
        )


def check_same_points(
    out: Path, table: str, settings: Sequence[Mapping[str, str]], metrics: Sequence[str]
) -> None:
    """Check that the table of a sweep would lose no point and no metric.

    Args:
        out: folder of the sweep.
        table: name of the table in it, which need not exist.
        settings: of the points of the sweep.
        metrics: of the sweep.

    Raises:
        ExistsError: if it would, or if there is something else.
    """
    path = out / table
    if not path.is_file():
        return
    try:
        points = json.loads(path.read_text(encoding="utf-8"))["points"]
        stored = [(dict(point["settings"]), list(point["metrics"])) for point in points]
    except (ValueError, TypeError, KeyError):
        raise ExistsError(f"{path} is no table of a sweep", path, out=out) from None
    now = [dict(each) for each in settings]
    gone = [then for then, _ in stored if then not in now]
    lost = [", ".join(f"{key} {value}" for key, value in each.items()) for each in gone]
    lost += [name for _, names in stored[:1] for name in names if name not in metrics]
    if lost:
        raise ExistsError(f"{out} holds a sweep with {'; '.join(lost)}, which this one lacks", out)


def _read(path: Path) -> Result:
    """The result in a file; ExistsError if there is something else in it."""
    try:
        return read_result(path)
    except DataError as error:
        raise ExistsError(f"{error}; it is kept", path) from error


def check_writable(path: Path) -> None:
    """Check, before hours are spent, that a result could be written; nothing is left behind.

    Raises:
        DataError: if `path` is a folder, or no file can be created there.
    """
    if path.is_dir():
        raise DataError(f"{path}: a folder, not a result file", hint=_OUT_HINT)
    try:
        with TemporaryFile(dir=next(folder for folder in path.parents if folder.exists())):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path}: cannot be written ({reason})", hint=_OUT_HINT) from error
