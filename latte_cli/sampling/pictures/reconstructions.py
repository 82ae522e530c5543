"""Videos beside their reconstructions from latents, to look at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from latte_cli.config import Config
from latte_cli.data.frames import prepared_frames
from latte_cli.data.latents.plan import Source
from latte_cli.data.latents.reading import LatentSet, LatentVideo
from latte_cli.data.manifest import Dataset
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import VideoError
from latte_cli.sampling.generation import tile
from latte_cli.vae import LatentCodec, psnr, to_pixels
from latte_cli.video_io import write_video

_FRAMES = 48
_NAME_BYTES = 120  # of the video's name; file systems allow 255 in all, or 143


def write_reconstructions(
    out: Path,
    videos: Sequence[LatentVideo],
    dataset: Dataset,
    codec: LatentCodec,
    config: Config,
    console: Console,
) -> float | None:
    """Write original and reconstruction of some videos side by side; their mean PSNR in dB."""
    if not videos:
        return None
    latents = LatentSet.open(out)
    records = {str(dataset.path_of(video)): video for video in dataset.videos}
    size, crop, values = config.data.size, config.data.crop, []
    for number, video in enumerate(videos):
        record, shown = records[video.path], range(min(video.frames, _FRAMES))
        try:
            Source(record, Path(video.path), None).check()
            frames = np.stack(list(prepared_frames(dataset, record, size, crop, shown)))
        except VideoError as error:
            console.warning(f"no preview: {error}")
            continue
        mean = latents.moments(video, 0, len(shown)).mean
        decoded = to_pixels(codec.decode(mean[None])[0]).cpu()
        values.append(psnr(torch.from_numpy(frames), decoded))
        name = Path(video.path).stem.encode()[:_NAME_BYTES].decode(errors="ignore")
        path = out / "previews" / f"{number:03d}-{name}.mp4"
        pair = tile([frames, decoded.numpy()], columns=2)
        write_video(path, pair, record.fps or config.sample.fps)
        console.info(f"{path}: {values[-1]:.1f} dB")
    return sum(values) / len(values) if values else None
