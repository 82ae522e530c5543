"""Small videos by ffmpeg: a moving test picture, in any container and codec, and copies of it."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np

SIZE = (96, 80)


def ffmpeg(*words: object) -> bytes:
    """Run ffmpeg, which must end well; its output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def moving(path: Path, *words: object, frames: int = 25, size: tuple[int, int] = SIZE) -> Path:
    """A video of the moving test picture, at 25 frames a second."""
    source = ["-f", "lavfi", "-i", f"testsrc2=size={size[0]}x{size[1]}:rate=25"]
    ffmpeg(*source, "-frames:v", frames, "-pix_fmt", "yuv420p", *words, path)
    return path


def copied(source: Path, path: Path, *words: object, before: tuple[object, ...] = ()) -> Path:
    """The same packets in another file."""
    ffmpeg(*before, "-i", source, "-c", "copy", *words, path)
    return path


def cut(source: Path, share: float) -> Path:
    """A file that ends after a share of another one's bytes."""
    path = source.with_name(f"{share}-of-{source.name}")
    content = source.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def by_ffmpeg(path: Path, shape: tuple[int, ...], *words: object, stream: int = 0) -> np.ndarray:
    """ffmpeg's own sequential decode of a video stream: (f, h, w, 3)."""
    output = ["-map", f"0:v:{stream}", "-fps_mode", "passthrough", *words]
    content = ffmpeg("-i", path, *output, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(content, np.uint8).reshape(-1, *shape)
