"""Reading and writing videos; the only place that knows decoders.

Every library returns wrong frames after a seek on some files, and headers miscount frames. So
videos are read from the first frame on, in decoded order: by decord, and by PyAV where decord is
not available, fails, or reads a file differently from ffmpeg.
"""

from latte_cli.video_io.inspecting import VideoFacts, checksum_of_video, inspect_video
from latte_cli.video_io.pyav import Frame
from latte_cli.video_io.reading import ALL_FRAMES, iter_frames, numbered, read_video
from latte_cli.video_io.suffixes import VIDEO_SUFFIXES
from latte_cli.video_io.writing import FORMATS, format_of, write_clip, write_video

__all__ = [
    "ALL_FRAMES",
    "FORMATS",
    "VIDEO_SUFFIXES",
    "Frame",
    "VideoFacts",
    "checksum_of_video",
    "format_of",
    "inspect_video",
    "iter_frames",
    "numbered",
    "read_video",
    "write_clip",
    "write_video",
]
