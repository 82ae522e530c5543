"""Reading and writing videos; the only place that knows decoders.

Every library gives wrong frames after a seek on some files, and headers miscount frames, so videos
are read from the first frame on, in decoded order: by decord, and by PyAV what decord does not read
or reads otherwise than ffmpeg, and everywhere that decord has no wheels.
"""

from latte_cli.video_io.clips import FORMATS, format_of, write_clip
from latte_cli.video_io.colours import Frame
from latte_cli.video_io.containers import VideoFacts
from latte_cli.video_io.inspecting import inspect_video
from latte_cli.video_io.reading import ALL_FRAMES, iter_frames, numbered, read_video
from latte_cli.video_io.writing import write_video

__all__ = [
    "ALL_FRAMES",
    "FORMATS",
    "VIDEO_SUFFIXES",
    "Frame",
    "VideoFacts",
    "format_of",
    "inspect_video",
    "iter_frames",
    "numbered",
    "read_video",
    "write_clip",
    "write_video",
]

VIDEO_SUFFIXES = frozenset(
    [
        ".3gp",
        ".avi",
        ".flv",
        ".gif",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".ogv",
        ".ts",
        ".webm",
        ".wmv",
    ]
)
