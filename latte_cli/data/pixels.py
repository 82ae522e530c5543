"""Training clips straight from videos: decoded and encoded on demand."""

# Axes: f frames, c latent channels, h w latent size, 3 color channels.

from pathlib import Path

import numpy as np
import torch

from latte_cli.config import Config
from latte_cli.data.frames import prepared_frames
from latte_cli.data.manifest import MANIFEST, Dataset, read_classes, video_from
from latte_cli.data.table import VideoTable
from latte_cli.data.texts.store import TextSet
from latte_cli.runtime.errors import DataError, VideoError
from latte_cli.vae import LatentCodec, Moments, to_signal


class PixelStore:
    """The videos of a prepared data set, as a store of clips.

    A video is decoded from its first frame to the end of the clip's window, since seeking yields
    wrong frames.

    Args:
        folder: the data set.
        codec: encodes the frames.
        config: data.size and data.crop are read.

    Raises:
        DataError: if the folder holds no data set, or its manifest is damaged.
    """

    flips = True
    texts: TextSet | None = None

    def __init__(self, folder: Path, codec: LatentCodec, config: Config) -> None:
        if not (folder / MANIFEST).is_file():
            raise DataError(
                f"{folder}: no prepared data set here", hint="`latte prepare` makes one"
            )
        self.folder = folder
        self.dataset = Dataset(folder, (), read_classes(folder))
        self.table = VideoTable.read(folder / MANIFEST, words=("split",), contents=True)
        self._codec = codec
        self._size, self._crop = config.data.size, config.data.crop

    def clip(self, number: int, frames: range, *, flip: bool = False) -> Moments:
        """The posterior of some frames of the n-th video, each part (f, c, h, w) float32.

        Raises:
            VideoError: if the video cannot be decoded that far.
        """
        video = video_from(self.table.row(number))
        decoded = list(prepared_frames(self.dataset, video, self._size, self._crop, frames))
        if len(decoded) < len(frames):
            raise VideoError(
                f"{self.dataset.path_of(video)}: ends before frame {frames[-1]}, the manifest says "
                f"{video.frames} frames",
                hint="run `latte prepare` again",
            )
        stacked = np.stack(decoded)
        pixels = torch.from_numpy(stacked[:, :, ::-1].copy() if flip else stacked)
        moments = self._codec.encode(to_signal(pixels)[None])
        return Moments(moments.mean[0].cpu(), moments.std[0].cpu())
