"""Where sampled clips go: what `--out` and its suffix stand for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latte_cli.runtime.errors import ConfigError
from latte_cli.sampling.clip_folder import ClipEntry, ClipFolder, named_as_there
from latte_cli.sampling.existing import require_replaceable
from latte_cli.sampling.existing.files import refuse_other_clip
from latte_cli.sampling.existing.folders import ExistingClips, with_format
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
    folder, fmt, stack = _place(out, fmt)
    return ClipFolder(folder, entries, settings, fmt, fps, stack, overwrite=overwrite)


def refuse_other_request(
    out: Path,
    fmt: str,
    entries: Sequence[ClipEntry],
    known: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """Look for clips of another request, as far as what is known of this one tells.

    Args:
        out: the folder, the npz file, or the file of one clip.
        fmt: format of the clips of a folder.
        entries: the clips; none if they are not known yet.
        known: those settings of the clips that are.
        overwrite: whether clips of another request may be replaced: then none are looked for.

    Raises:
        ExistsError: if there are any.
    """
    if overwrite:
        return
    if is_file(out) and not is_stack(out):
        refuse_other_clip(out, {**known, **(entries[0].metadata if entries else {})})
        return
    folder, fmt, stack = _place(out, fmt)
    clips = ExistingClips.of(folder, fmt, stack)
    own = {entry.name: entry.metadata for entry in named_as_there(entries, clips)}
    problem = clips.find_other_request(own, with_format(known, fmt), only_known=True)
    if problem is not None:
        require_replaceable(clips.place, problem, overwrite=False)


def _place(out: Path, fmt: str) -> tuple[Path, str, Path | None]:
    """The folder of several clips, their format, and the npz file of all if it is not in it."""
    if is_stack(out):
        return out.with_name(f".{out.name}-parts"), "npz", out
    return out, fmt, None
