"""The mirror: the folder in the user's cache that stands for a URL, and the way back to the URL."""

import re
from pathlib import Path

from latte_cli.runtime.errors import RemoteError
from latte_cli.runtime.files import cache_folder

_URL = re.compile(r"([a-z][a-z0-9+]+)://(.*)", re.DOTALL)


def is_url(text: str) -> bool:
    """Whether a text is a URL rather than a path."""
    return _URL.fullmatch(text) is not None


def mirror_root() -> Path:
    """The folder of all mirrors: `SCHEME/BUCKET/KEY` below it stands for `SCHEME://BUCKET/KEY`."""
    return cache_folder() / "remote"


def local_path(text: str) -> Path:
    """The path of a text: of a URL its mirror, which need not exist, else the text itself.

    Raises:
        RemoteError: if the URL names no place, or has parts such as `..`.
    """
    match = _URL.fullmatch(text)
    if match is None:
        return Path(text)
    scheme, place = match[1], match[2].rstrip("/")
    if scheme == "file":
        return Path(place)
    parts = place.lstrip("/").split("/")
    if not all(parts) or {".", ".."} & set(parts):
        raise RemoteError(
            f"{text}: not the URL of a folder", hint="a URL such as s3://BUCKET/FOLDER"
        )
    return mirror_root().joinpath(scheme, *parts)


def url_of(path: Path) -> str | None:
    """The URL that a path in a mirror stands for; None for all other paths."""
    try:
        scheme, *parts = path.relative_to(mirror_root()).parts
    except ValueError:  # elsewhere, or the root itself
        return None
    return f"{scheme}://{'/'.join(parts)}" if parts else None


def with_urls(text: str) -> str:
    """A message in which paths in a mirror are replaced by the URLs that they stand for.

    `file://` paths stay.
    """
    root = f"{mirror_root().as_posix()}/"
    if root not in text:
        return text
    return re.sub(f"(?<!file://){re.escape(root)}([a-z][a-z0-9+]+)/", r"\1://", text)
