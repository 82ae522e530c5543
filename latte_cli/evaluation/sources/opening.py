"""From a path to a source of videos."""

from pathlib import Path
from typing import TYPE_CHECKING

from latte_cli.config import Config
from latte_cli.data.frames import Crop
from latte_cli.data.manifest import MANIFEST
from latte_cli.evaluation.sources.files import FolderSource, PreparedSource
from latte_cli.evaluation.sources.npz import NpzSource
from latte_cli.evaluation.sources.videos import Source
from latte_cli.metrics.protocol import Protocol
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import DataError

if TYPE_CHECKING:
    from latte_cli.caching import CacheOptions

_WEIGHTS = (".pt", ".pth", ".safetensors")
_CLIPS = "clips.npz"


def is_checkpoint(path: Path) -> bool:
    """Whether clips are to be drawn from what lies there."""
    return path.suffix in _WEIGHTS or (path / "ema.safetensors").is_file()


def open_source(
    path: Path,
    protocol: Protocol,
    config: Config,
    memory: Path,
    console: Console,
    cache: "CacheOptions | None" = None,
) -> Source:
    """A prepared data set, a folder of videos or frame folders, an npz file or a checkpoint.

    Args:
        path: where it lies.
        protocol: of the size and order of crop; of the split of a prepared data set; of the number
            of clips that a checkpoint draws.
        config: of a checkpoint's network.
        memory: folder in which is kept what was seen of videos.
        console: tells how it goes.
        cache: what a checkpoint uses again from step to step.

    Raises:
        CheckpointError: if a checkpoint is broken or of another network.
        DataError: if there is nothing, or nothing that can be read.
    """
    crop: Crop = "crop-resize" if protocol.crop == "crop-resize" else "resize-crop"
    if is_checkpoint(path):
        from latte_cli.caching import NO_CACHE
        from latte_cli.evaluation.sources.generated import (
            GeneratedSource,  # networks, and their libraries
        )

        return GeneratedSource(path, config, protocol.clips, cache or NO_CACHE)
    if (path / MANIFEST).is_file():
        return PreparedSource(path, protocol.split, protocol.size, crop)
    return open_files(path, protocol.size, crop, memory, console)


def open_files(
    path: Path, size: int | None, crop: Crop, memory: Path, console: Console
) -> FolderSource | NpzSource:
    """An npz file, or a folder that holds videos, frame folders or `clips.npz`.

    Args:
        path: where it lies.
        size: side of the clips' frames, pixels; None leaves frames as they are.
        crop: order of crop and resize.
        memory: folder in which is kept what was seen of videos.
        console: tells how it goes.

    Raises:
        DataError: if there is nothing, or nothing that can be read.
    """
    if path.suffix == ".npz" or (path / _CLIPS).is_file():
        file = path if path.suffix == ".npz" else path / _CLIPS
        if not file.is_file():
            raise DataError(f"{path}: no such file", hint="give an npz file with clips")
        return NpzSource(file, size, crop)
    if not path.is_dir():
        what = "a file, no folder" if path.exists() else "no such folder"
        raise DataError(
            f"{path}: {what}",
            hint="give a prepared data set, a folder of videos or of frame folders, an npz file "
            "or a checkpoint",
        )
    return FolderSource(path, size, crop, memory, console)
