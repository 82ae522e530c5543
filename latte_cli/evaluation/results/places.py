"""Where results lie: a file of its own for each, and a place that can be written to."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

from latte_cli.evaluation.results.files import Result, read_result
from latte_cli.runtime.errors import DataError

RESULTS = Path("results")
_OUT = "--out names a file in a folder that you may write to"


def default_place(real: Path, fake: Path, result: Result) -> Path:
    """Where a result lies if nothing else is said: evaluations that differ never share a file.

    Args:
        real: where the real videos lie.
        fake: where the fakes lie; a checkpoint's clips also go by all that they depend on.
        result: of both.
    """
    clips = result.notes.get("first_clip", "")
    told = [str(real.resolve()), str(fake.resolve()), clips, sorted(result.numbers)]
    own = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:8]
    names = f"{fake.stem or 'fake'}-against-{real.stem or 'real'}"
    return RESULTS / f"{names}-{result.protocol.hash}-{own}.json"


def refuse_lost_numbers(path: Path, metrics: Sequence[str]) -> None:
    """Never replace a result by one of fewer metrics.

    Args:
        path: where a result is to be written.
        metrics: of it.

    Raises:
        DataError: if a result with others, or something else, lies there.
    """
    if not path.is_file():
        return
    lost = [metric for metric in read_result(path).numbers if metric not in metrics]
    if lost:
        raise DataError(
            f"{path} holds {', '.join(lost)}, too, which is not asked for now",
            hint=f"ask for all, --metrics {','.join([*metrics, *lost])}, or give another --out",
        )


def refuse_unwritable(path: Path) -> None:
    """Tell before hours are spent that a result could not be written; nothing is left behind.

    Raises:
        DataError: if a folder lies there, or no file can be made there.
    """
    if path.is_dir():
        raise DataError(f"{path}: a folder, and no result file", hint=_OUT)
    try:
        with TemporaryFile(dir=next(folder for folder in path.parents if folder.exists())):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path}: cannot be written ({reason})", hint=_OUT) from error
