"""ffmpeg's program and the two decoders, each tried on a small clip, and tools for archives."""

import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from latte_cli.diagnosis.finding import Finding
from latte_cli.sources.shapes import render_clip
from latte_cli.video_io import write_video
from latte_cli.video_io.compressing import through_mp4
from latte_cli.video_io.reading import av_frames
from latte_cli.video_io.writing import CLIP_CRF

PART = "videos"

_FRAMES, _SIZE = 8, 64
_LARGEST_ERROR = 12.0  # mean, gray levels: what H.264 and rounding change, and not another frame
_CODECS = {"h264": "H.264", "hevc": "HEVC", "vp9": "VP9", "av1": "AV1"}
_UNRAR = ("unrar", "unar", "7z", "bsdtar")


def check_videos() -> Iterator[Finding]:
    """Compress a clip by ffmpeg's program, write it, and read it by each decoder.

    The frames must be the same.
    """
    import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types

    program = imageio_ffmpeg.get_ffmpeg_exe()
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=True)
    version = said.stdout.split("Copyright")[0].removeprefix("ffmpeg version").strip()
    frames = render_clip(0, num_frames=_FRAMES, size=_SIZE)
    compressed = len(through_mp4(frames, CLIP_CRF))
    yield Finding(PART, "ffmpeg", "ok", f"{version}, compressed a clip of {compressed} frames")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, frames, fps=8.0)
        wrote = f"wrote a clip of {_FRAMES} frames ({path.stat().st_size} bytes)"
        about = f"{av.__version__}, {wrote}, decodes {', '.join(_known_codecs())}"
        yield _decoded("PyAV", about, frames, lambda: np.stack(list(av_frames(path, range(99)))))
        yield _decord(path, frames)


def check_archives() -> Iterator[Finding]:
    """Whether rar archives can be unpacked."""
    tool = next(filter(shutil.which, _UNRAR), None)
    if tool:
        yield Finding(PART, "archives", "ok", f"zip, tar, and rar by {tool}")
    else:
        text = "zip and tar, but rar archives such as UCF101's cannot be unpacked"
        yield Finding(PART, "archives", "warning", text, f"install one of {', '.join(_UNRAR)}")


def _decord(path: Path, frames: NDArray[np.uint8]) -> Finding:
    try:
        import decord
    except ImportError:
        if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
            mend = "pip install decord; until then PyAV decodes all videos, more slowly"
            return Finding(PART, "decord", "warning", "is not installed", mend)
        return Finding(PART, "decord", "ok", "has no wheel for this system: PyAV decodes all")
    return _decoded(
        "decord",
        decord.__version__,
        frames,
        lambda: np.stack([frame.asnumpy() for frame in decord.VideoReader(str(path))]),
    )


def _decoded(
    name: str, about: str, frames: NDArray[np.uint8], decode: Callable[[], NDArray[np.uint8]]
) -> Finding:
    """Whether a decoder returns the frames that were written."""
    mend = f"pip install --force-reinstall {'av' if name == 'PyAV' else name}"
    try:
        found = decode()
    except Exception as error:
        return Finding(PART, name, "error", f"{about}: cannot read the clip ({error})", mend)
    same = found.shape == frames.shape
    if not same or np.abs(found.astype(int) - frames).mean() > _LARGEST_ERROR:
        return Finding(PART, name, "error", f"{about}: reads other frames than were written", mend)
    return Finding(PART, name, "ok", f"{about}, reads the clip")


def _known_codecs() -> list[str]:
    """Names of common codecs that PyAV decodes."""
    return [title for name, title in _CODECS.items() if name in av.codecs_available]
