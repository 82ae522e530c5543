"""Clips into files that people and evaluations open: mp4, GIF, PNG pictures, npz."""

# Axes: f frames, h height, w width.

import json
import shutil
from collections.abc import Iterable, Mapping
from errno import ENOSPC
from fractions import Fraction
from itertools import chain, islice
from os import strerror
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, PngImagePlugin

from latte_cli.runtime.errors import ConfigError, VideoError
from latte_cli.runtime.files import atomic_file, atomic_folder, write_text
from latte_cli.video_io.pyav import Frame, decoded, open_container, video_stream

FORMATS = {"mp4": ".mp4", "gif": ".gif", "png": "", "npz": ".npz"}
"""File name endings by format; `png` is a folder of pictures."""

CRF = 17
"""Constant rate factor of data sets and previews: hardly distinguishable from the original."""

CLIP_CRF = 5
"""Constant rate factor of sampled clips: imageio's `quality=9` of the published script."""

_SETTINGS = "settings.json"  # in a folder of pictures


def encoding_of(fmt: str) -> dict[str, Any]:
    """Codec and quality of clips of a format, where it is lossy in ways that matter to metrics."""
    return {"codec": "libx264 yuv420p", "crf": CLIP_CRF} if fmt == "mp4" else {}


def format_of(path: Path) -> str:
    """The format that a path's ending stands for; a path without an ending is a folder of PNG.

    Raises:
        ConfigError: if no format has this ending.
    """
    if path.suffix.lower() == ".png":
        return "png"
    for name, suffix in FORMATS.items():
        if path.suffix.lower() == suffix:
            return name
    raise ConfigError(
        f"{path}: clips cannot be written as `{path.suffix}`",
        hint=f"known endings: {', '.join(s for s in FORMATS.values() if s)}, .png for one picture",
    )


def write_clip(path: Path, frames: Iterable[Frame], fps: float, about: Mapping[str, Any]) -> None:
    """Write a clip, whole or not at all, in the format of its path's ending.

    Frames are written as they are generated, so a long clip need not be in memory, except for npz.

    Args:
        path: `.mp4` (H.264, yuv420p), `.gif`, `.npz` (key `clips`, (1, f, h, w, 3) uint8), `.png`
            for a clip of one frame, or none of these: a folder of pictures.
        frames: (h, w, 3) uint8 RGB each, of one size.
        fps: frames per second; pictures and npz have none.
        about: the settings the clip was made with, JSON-compatible; written into the file, of an
            mp4 with codec and quality.

    Raises:
        ConfigError: on another ending, or several frames for one picture.
        OSError: if it cannot be written.
    """
    name = format_of(path)
    settings = json.dumps({**about, **encoding_of(name)}, ensure_ascii=False)
    if name == "mp4":
        _write_as_published(path, frames, fps, settings)
    elif name == "gif":
        pictures = map(Image.fromarray, frames)
        with atomic_file(path) as part:
            next(pictures).save(  # each frame has a palette of its own
                part,
                save_all=True,
                append_images=pictures,
                duration=max(2, round(100 / fps)) * 10,  # ms; GIF counts hundredths of a second
                loop=0,
                comment=settings.encode(),
            )
    elif name == "npz":
        with atomic_file(path) as part:
            np.savez(part, clips=np.stack(list(frames))[None], settings=np.array(settings))
    elif path.suffix:
        first, *others = islice(frames, 2)
        if others:
            raise ConfigError(
                f"{path}: one picture cannot hold several frames",
                hint="give a name without an ending for a folder of pictures, or --frames 1",
            )
        with atomic_file(path) as part:
            _save_png(part, first, settings)
    else:
        with atomic_folder(path) as folder:
            for number, frame in enumerate(frames):
                _save_png(folder / f"{number:05d}.png", frame, settings)
            write_text(folder / _SETTINGS, settings + "\n")


def _write_as_published(path: Path, frames: Iterable[Frame], fps: float, comment: str) -> None:
    """Write an mp4 as the published script does, with imageio's program, for metrics to read.

    Its compression changes a Fréchet distance by some thousandths against that of `write_video`.
    """
    import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types

    remaining, count = iter(frames), 0
    first = next(remaining)
    height, width = first.shape[:2]
    options = ["-crf", str(CLIP_CRF), "-threads", "1"]  # one, so that every run writes the same
    with atomic_file(path) as part:
        writer = imageio_ffmpeg.write_frames(
            str(part.absolute()),
            (width, height),
            fps=fps,
            codec="libx264",
            quality=None,
            pix_fmt_out="yuv420p",
            macro_block_size=2,
            ffmpeg_log_level="fatal",
            output_params=[*options, "-metadata", f"comment={comment}"],
        )
        try:
            writer.send(None)
            for frame in chain([first], remaining):
                writer.send(np.ascontiguousarray(frame))
                count += 1
        except OSError as error:
            raise _cannot_write(path) from error
        finally:
            writer.close()
        if not _is_complete(part, count):
            raise _cannot_write(path)


def _is_complete(path: Path, frames: int) -> bool:
    """Whether a written file holds all frames: the program's writer does not say how it ended."""
    try:
        with open_container(path) as container:
            return sum(1 for _ in decoded(container, video_stream(container))) == frames
    except (VideoError, av.FFmpegError):
        return False


def _cannot_write(path: Path) -> OSError:
    if shutil.disk_usage(path.parent).free < 1 << 20:
        return OSError(ENOSPC, strerror(ENOSPC), str(path))
    return OSError(0, "ffmpeg could not write the video", str(path))


def write_video(path: str | Path, frames: Iterable[Frame], fps: float, crf: int = CRF) -> None:
    """Write an H.264 mp4 (yuv420p), whole or not at all, frame by frame as they are generated.

    Args:
        path: the file to make; its folder is made, too.
        frames: (h, w, 3) uint8 RGB each, of one size, h and w even.
        fps: frames per second.
        crf: constant rate factor.

    Raises:
        OSError: if it cannot be written, for example because the disk is full.
    """
    path, remaining = Path(path), iter(frames)
    first = next(remaining)
    with atomic_file(path) as part:
        try:
            with av.open(str(part.absolute()), "w") as container:
                stream = _add_stream(container, first, fps, crf)
                for frame in chain([first], remaining):
                    container.mux(stream.encode(_yuv420p(frame)))
                container.mux(stream.encode(None))  # frames that the encoder still holds
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error


def _add_stream(container: Any, frame: Frame, fps: float, crf: int) -> Any:
    """An H.264 stream whose bytes are the same on every run, and on other processors.

    That takes one thread. And x264's faster functions read beyond the edges of pictures of some
    sizes, where other data was before.
    """
    stream = container.add_stream("libx264", Fraction(fps).limit_denominator(1001))
    stream.height, stream.width = frame.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": str(crf), "x264-params": "cpu-independent=1"}
    stream.codec_context.thread_count = 1
    return stream


def _yuv420p(frame: Frame) -> av.VideoFrame:
    """A frame with halved colors, as ffmpeg's program converts it: the default here is blurrier."""
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    return rgb.reformat(format="yuv420p", interpolation="BICUBIC")


def _save_png(path: Path, frame: Frame, settings: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("settings", settings)
    Image.fromarray(frame).save(path, pnginfo=info)
