"""What the hub's library raises, in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from typing import Any

from latte_cli.runtime.errors import HubError
from latte_cli.runtime.weight_files.hub import http_error

_AGAIN = "run the same command again to go on; files that have arrived are not sent again"
_BY_STATUS = {  # what a refusal means, and what to do about it
    401: (
        "the hub does not accept this machine's token",
        "make another with write access on your page of settings, then `hf auth login`, or set "
        "HF_TOKEN",
    ),
    403: (
        "this machine's token may not write there",
        "give it write access, or name an owner that it may write for",
    ),
    404: ("the hub has no such repository or branch, or the token may not see it", _AGAIN),
    409: ("it was changed meanwhile by someone else", _AGAIN),
    412: ("it was changed meanwhile by someone else", _AGAIN),
    429: ("the hub has had too many requests from here", f"wait a while, then {_AGAIN}"),
}


@contextmanager
def hub_errors(model: str, unreachable: str) -> Iterator[None]:
    """Turn what the hub's library raises into HubError; local errors of the disk stay as they are.

    Args:
        model: that is asked for, as messages begin.
        unreachable: what it means if there is no answer.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, http_error()) as error:
        found = _cause(error)
        if isinstance(found, OSError) and found.filename is not None:
            raise
        message, hint = _in_words(found, unreachable)
        raise HubError(f"{model}: {message}", hint) from error


def _cause(error: BaseException) -> BaseException:
    """What an upload in threads failed of, which the library wraps."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _in_words(error: BaseException, unreachable: str) -> tuple[str, str]:
    """A message and a hint."""
    response: Any = getattr(error, "response", None)
    if response is not None:
        return _of_status(int(response.status_code), error)
    text = " ".join(str(error).split())
    if "Invalid metadata" in text:
        hint = "`--license` takes identifiers as apache-2.0 or cc-by-4.0; see README.md of TARGET"
        return f"the hub refuses the card: {text.partition('README.md. ')[2]}", hint
    if isinstance(error, JSONDecodeError | KeyError):
        return "the answer is not that of a hub", "is HF_ENDPOINT right?"
    if isinstance(error, ValueError):
        return f"the hub refuses this: {text}", _AGAIN
    return f"{unreachable} ({text or type(error).__name__})", _AGAIN


def _of_status(status: int, error: BaseException) -> tuple[str, str]:
    """What an answer of the hub means that refuses."""
    said = " ".join(str(getattr(error, "server_message", None) or "").split())
    reason = f": {said}" if said else ""
    if status in _BY_STATUS:
        message, hint = _BY_STATUS[status]
        return f"{message} ({status}{reason})", hint
    if status >= 500:
        return f"the hub failed ({status}{reason})", _AGAIN
    return f"the hub refuses this ({status}{reason})", "mend what it says, then run this again"
