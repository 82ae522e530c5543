"""Where sampled clips go: what `--out` and its suffix stand for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latte_cli.runtime.errors import ConfigError
from latte_cli.sampling.clip_folder import ClipEntry, ClipFolder
from latte_cli.video_io import VIDEO_SUFFIXES, format_of

_OTHER_FILES = (".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".apng", ".npy", ".pt", ".zip")


def is_file(out: Path) -> bool:
    """Whether a path is a file rather than a folder, by its suffix.

    Raises:
        ConfigError: if it is a file of a format that is not written.
    """
    if out.is_dir() or out.suffix.lower() not in {*VIDEO_SUFFIXES, ".png", ".npz", *_OTHER_FILES}:
        return False
    return bool(format_of(out))


def is_stack(out: Path) -> bool:
    """Whether a path is an npz file of all clips."""
    return out.suffix.lower() == ".npz" and not out.is_dir()


def is_one_clip(out: Path, clips: int, frames: int) -> bool:
    """Whether a path is the file of one clip.

    Raises:
        ConfigError: if it is such a file, but there are several clips, or several frames for a
            picture.
    """
    if not is_file(out) or is_stack(out):
        return False
    if clips > 1:
        raise ConfigError(
            f"{out} is one file, but there are {clips} clips",
            hint="give a folder, or NAME.npz, or sample one clip",
        )
    if out.suffix.lower() == ".png" and frames > 1:
        raise ConfigError(
            f"{out} is one picture, but a clip has {frames} frames",
            hint="--frames 1, or a name without a suffix for a folder of pictures",
        )
    return True


def open_clip_folder(
    out: Path,
    fmt: str,
    entries: Sequence[ClipEntry],
    settings: Mapping[str, Any],
    fps: float,
    *,
    overwrite: bool = False,
) -> ClipFolder:
    """The folder of several clips; for an npz file a hidden one beside it, until it is written.

    Raises:
        ConfigError: if there is no such format.
        ExistsError: if it holds clips of another request, which may not be replaced.
    """
    if is_stack(out):
        parts = out.with_name(f".{out.name}-parts")
        return ClipFolder(parts, entries, settings, "npz", fps, out, overwrite=overwrite)
    return ClipFolder(out, entries, settings, fmt, fps, overwrite=overwrite)
