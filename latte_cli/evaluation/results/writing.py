"""Writing of result files; results of another evaluation are never replaced."""

import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from latte_cli.evaluation.results.result import Result, read_result
from latte_cli.metrics.protocol import Protocol, differences
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import write_text

RESULTS = Path("results")
_OUT_HINT = "--out names a file in a folder that you may write to"
_KEEP_HINT = "give another --out, or delete that file"


def default_path(real: Path, fake: Path, result: Result) -> Path:
    """The result file if the user names none: different evaluations never share one.

    Args:
        real: path of the real videos.
        fake: path of the fakes; clips of a checkpoint are also told apart by all they depend on.
        result: of the evaluation.
    """
    first_clip = result.notes.get("first_clip", "")
    parts = [str(real.resolve()), str(fake.resolve()), first_clip, sorted(result.numbers)]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
    names = f"{fake.stem or 'fake'}-against-{real.stem or 'real'}"
    return RESULTS / f"{names}-{result.protocol.hash}-{digest}.json"


def write_result(path: Path, result: Result) -> None:
    """Write a result file.

    Raises:
        DataError: if `path` holds a result of another protocol, or against other real videos.
    """
    check_same_protocol(path, result.protocol)
    check_same_videos(path, result.real.content, result.real.place)
    text = json.dumps(result.as_values(), indent=2, ensure_ascii=False)
    write_text(path, text + "\n")


def check_same_protocol(
    path: Path, protocol: Protocol, metrics: Sequence[str] = (), ignore: Collection[str] = ()
) -> None:
    """Check that a result would not replace one of another protocol or of more metrics.

    Args:
        path: of the result to be written.
        protocol: of that result; without networks, weights are not compared.
        metrics: of that result; empty: not compared.
        ignore: fields of the protocol that are not known yet, and not compared.

    Raises:
        DataError: if it would, or if `path` holds something else.
    """
    if not path.is_file():
        return
    existing = read_result(path)
    shared = existing.protocol.networks.keys() & protocol.networks.keys()
    theirs, ours = (
        each.with_networks({name: each.networks[name] for name in shared})
        for each in (existing.protocol, protocol)
    )
    if found := differences(theirs, ours, ignore):
        raise DataError(
            f"{path} holds a result of another protocol ({'; '.join(found)})", hint=_KEEP_HINT
        )
    if metrics and (lost := [name for name in existing.numbers if name not in metrics]):
        raise DataError(
            f"{path} also holds {', '.join(lost)}, which --metrics does not name now",
            hint=f"name all of them, --metrics {','.join([*metrics, *lost])}, or give another "
            "--out",
        )


def check_same_videos(path: Path, content: str, place: str) -> None:
    """Check that a result file, if there is one, is of the same real videos.

    Args:
        path: of the result file.
        content: checksum of the real videos; see `ClipSetPlan.content`.
        place: path of those.

    Raises:
        DataError: if it is of others, or if `path` holds something else.
    """
    if path.is_file() and (existing := read_result(path).real).content != content:
        raise DataError(
            f"{path} holds a result against other real videos: {existing.place}, not {place}",
            hint=_KEEP_HINT,
        )


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
