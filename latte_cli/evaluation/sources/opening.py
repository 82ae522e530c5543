"""Open a path as a source of videos, whatever lies there."""

from pathlib import Path
from typing import TYPE_CHECKING

from latte_cli.checkpoints.folder import is_checkpoint
from latte_cli.config import Config
from latte_cli.data.frames import Crop
from latte_cli.data.manifest import MANIFEST
from latte_cli.evaluation.protocol import Protocol
from latte_cli.evaluation.sources.files import FolderSource, PreparedSource
from latte_cli.evaluation.sources.npz import ARRAY_SUFFIXES, NpzSource
from latte_cli.evaluation.sources.prompts import Captions
from latte_cli.evaluation.sources.videos import Source
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import ConfigError, DataError
from latte_cli.sampling.clip_list import SAMPLES, first_names

if TYPE_CHECKING:
    from latte_cli.caching import CacheOptions

_CLIPS = "clips.npz"


def open_source(
    path: Path,
    protocol: Protocol,
    config: Config,
    scan_cache: Path,
    console: Console,
    cache: "CacheOptions | None" = None,
    captions: Captions | None = None,
) -> Source:
    """A prepared data set, a folder of videos or frame folders, an npz file or a checkpoint.

    Args:
        path: of the source.
        protocol: sets size and crop, the split of a prepared data set, and the number of clips
            that a checkpoint generates.
        config: of a checkpoint's network and of sampling from it.
        scan_cache: folder in which length and size of videos are cached.
        console: shows progress.
        cache: how sampling from a checkpoint reuses results from step to step.
        captions: where the prompts of a text-to-video checkpoint come from.

    Raises:
        CheckpointError: if a checkpoint is broken or of another network.
        ConfigError: if a text-to-video checkpoint is to be sampled with a cache.
        DataError: if there are no clips, or none that can be read, or no prompts.
    """
    crop: Crop = "crop-resize" if protocol.crop == "crop-resize" else "resize-crop"
    if is_checkpoint(path) and config.model.condition == "text":
        return _prompted(path, protocol, config, captions, cache, console)
    if is_checkpoint(path):
        from latte_cli.caching import NO_CACHE
        from latte_cli.evaluation.sources.generated import GeneratedSource  # imports networks

        return GeneratedSource(path, config, protocol.clips, cache or NO_CACHE)
    if (path / MANIFEST).is_file():
        return PreparedSource(path, protocol.split, protocol.size, crop)
    return open_files(path, protocol.size, crop, scan_cache, console)


def _prompted(
    path: Path,
    protocol: Protocol,
    config: Config,
    captions: Captions | None,
    cache: "CacheOptions | None",
    console: Console,
) -> Source:
    """Clips of a text-to-video checkpoint."""
    if cache is not None and cache.is_on:
        raise ConfigError(
            f"{path}: clips of a text-to-video checkpoint are evaluated without a cache",
            hint="--cache off; or evaluate clips that `latte t2v` has sampled, by --fake",
        )
    from latte_cli.evaluation.sources.prompted import PromptedSource  # imports networks

    captions = captions or Captions("")
    prompts = captions.prompts(config)
    return PromptedSource(path, config, protocol.clips, prompts, captions.texts, console)


def open_files(
    path: Path, size: int | None, crop: Crop, scan_cache: Path, console: Console
) -> FolderSource | NpzSource:
    """An npz file, or a folder that holds videos, frame folders or `clips.npz`.

    Args:
        path: of the source.
        size: height and width of the clips' frames, pixels; None leaves frames as they are.
        crop: order of crop and resize.
        scan_cache: folder in which length and size of videos are cached.
        console: shows progress.

    Raises:
        DataError: if there are no clips, or none that can be read.
    """
    is_array = path.suffix.lower() in ARRAY_SUFFIXES and not path.is_dir()
    if is_array or (path / _CLIPS).is_file():
        file = path if is_array else path / _CLIPS
        if not file.is_file():
            raise DataError(f"{path}: no such file", hint="give an npz file with clips")
        return NpzSource(file, size, crop)
    if not path.is_dir():
        problem = "not a folder" if path.exists() else "no such folder"
        raise DataError(
            f"{path}: {problem}",
            hint="give a prepared data set, a folder of videos or of frame folders, an npz file "
            "or a checkpoint",
        )
    _check_is_one_set(path)
    return FolderSource(path, size, crop, scan_cache, console)


def _check_is_one_set(folder: Path) -> None:
    """Raise DataError if a folder holds but folders of samples, as those of a run's steps."""
    sets = sorted(path.parent for path in folder.glob(f"*/{SAMPLES}"))
    if sets and {path for path in folder.iterdir() if not path.name.startswith(".")} == {*sets}:
        raise DataError(
            f"{folder} holds folders of samples: {first_names([each.name for each in sets])}",
            hint=f"name one of them, such as {sets[-1]}",
        )
