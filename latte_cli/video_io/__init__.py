"""Reading and writing videos; the only place that knows decoders.

Every library gives wrong frames after a seek on some files, and headers miscount frames, so videos
are read from the first frame on, in decoded order. decord reads first; PyAV what decord cannot, and
everywhere that decord has no wheels.
"""

from latte_cli.video_io.inspecting import VideoFacts, inspect_video
from latte_cli.video_io.reading import Frame, iter_frames, read_video
from latte_cli.video_io.writing import write_video

__all__ = [
    "VIDEO_SUFFIXES",
    "Frame",
    "VideoFacts",
    "inspect_video",
    "iter_frames",
    "read_video",
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
