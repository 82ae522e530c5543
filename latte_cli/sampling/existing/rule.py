"""The one rule about results that exist already.

The same request finds its result, or goes on where it stopped. The result of another request, or
of another program, is kept: the command ends with what differs, unless `--overwrite` is given.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from latte_cli.runtime.errors import ExistsError

_NAMES = ("checkpoint", "model")
"""Settings that say where weights are from; their checksums identify them."""
_WEIGHTS = "weights_sha256"
_CHECKSUMS = {
    "vae_fingerprint": "another autoencoder",
    "vae_sha256": "another autoencoder",
    "scheduler_sha256": "other settings of the scheduler",
    "text_encoder_fingerprint": "another text encoder",
    "image_sha256": "another --image",
    "clips_sha256": "other clips",
}
_LONGEST = 60  # characters of a value


def is_there(
    path: Path,
    stored: Mapping[str, Any] | None,
    current: Mapping[str, Any],
    *,
    overwrite: bool,
    files: Sequence[Path] = (),
    out: Path | None = None,
) -> bool:
    """Whether a path holds the result of a request already.

    Args:
        path: of the result.
        stored: the request that the file says it was made by; None: it does not say.
        current: the request, JSON-compatible.
        overwrite: whether the result of another request may be replaced.
        files: of the result, if the path is their folder.
        out: the value of `--out`, if that is not the path.

    Returns:
        True if it does; False if nothing is there, or what is there may be replaced.

    Raises:
        ExistsError: if it holds anything else, which may not be replaced.
    """
    if not any(map(_has_content, files or (path,))):
        return False
    if stored is None:
        problem = "exists, and does not say how it was made"
    elif different := differences(stored, current):
        problem = f"was made by another request: {'; '.join(different)}"
    else:
        return True
    require_replaceable(path, problem, overwrite=overwrite, out=out)
    return False


def require_replaceable(
    path: Path, problem: str, *, overwrite: bool, out: Path | None = None
) -> None:
    """Raise ExistsError if something of another request may not be overwritten.

    Args:
        path: of it.
        problem: what it is, a sentence that begins with the path.
        overwrite: whether it may be.
        out: the value of `--out`, if that is not the path.
    """
    if not overwrite:
        raise ExistsError(f"{path} {problem}", path, out=out)


def _has_content(path: Path) -> bool:
    return path.exists() and (path.is_dir() or path.stat().st_size > 0)


def differences(stored: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """What differs between two requests, in words: `guidance 4 against 7`.

    A value that is missing equals None. Names of weights are not compared, their checksums are.
    """
    return list(_differences(stored, current))


def _differences(stored: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys((_WEIGHTS, *current, *stored)):  # each once, in order
        then, now = stored.get(key), current.get(key)
        if key in _NAMES or then == now:
            continue
        if key == _WEIGHTS:
            yield _other_weights(stored, current)
        elif key in _CHECKSUMS:
            yield _CHECKSUMS[key] if then and now else f"{_without(key)} {_have(then, now)}"
        elif isinstance(then, Mapping) and isinstance(now, Mapping):
            yield from (f"{key}.{each}" for each in _differences(then, now))
        else:
            yield f"{key.replace('_', ' ')} {_shown(then)} against {_shown(now)}"


def _other_weights(stored: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """`step 400 of runs/x against step 800`, or as much of it as is known."""
    then, now = (
        next((str(each[key]) for key in _NAMES if each.get(key)), "") for each in (stored, current)
    )
    if then and now and then != now:
        of_then, of_now = then.partition(" of ")[1:], now.partition(" of ")[1:]
        return f"{then} against {now if of_then != of_now else now.partition(' of ')[0]}"
    return f"other weights against those of {now} as they are now" if now else "other weights"


def _without(key: str) -> str:
    return _CHECKSUMS[key].removeprefix("another ").removeprefix("other ")


def _have(then: object, now: object) -> str:
    return "against none" if then and not now else "now, none then"


def _shown(value: object) -> str:
    """A value as users write it."""
    if value is None or value == "":
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(_shown(each) for each in value) or "none"
    text = str(value)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return f"`{text}`" if " " in text else text
