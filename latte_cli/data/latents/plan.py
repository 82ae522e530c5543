"""What is to be encoded: every video of a manifest, in chunks that become one shard each."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from latte_cli.data.manifest import Dataset, VideoRecord
from latte_cli.runtime.errors import VideoError
from latte_cli.runtime.remote.folders import fetch_if_missing
from latte_cli.video_io import checksum_of_video

SHARD_BYTES = 64 << 20
"""Approximate size of a shard: the video that crosses it is the shard's last."""


@dataclass(frozen=True)
class Content:
    """What the latents of a video depend on; not its path, so that data sets can be moved.

    Attributes:
        sha256: checksum of the video file, or of all frames of a folder.
        frames: number of frames that decode.
        mask: checksum of the mask the frames are cropped by; None without a mask.
        pixel_aspect: by which frames are stretched, so that their pixels are square.
    """

    sha256: str
    frames: int
    mask: str | None = None
    pixel_aspect: float = 1.0

    @property
    def key(self) -> str:
        """Identifies these latents within a folder."""
        parts = [self.sha256, str(self.frames), *([self.mask] if self.mask else [])]
        return "-".join([*parts, *([f"{self.pixel_aspect}"] if self.pixel_aspect != 1 else [])])

    def as_row(self) -> dict[str, str | int | float | None]:
        """For a shard's header; square pixels are not mentioned."""
        row = asdict(self)
        if self.pixel_aspect == 1:
            del row["pixel_aspect"]
        return row


@dataclass(frozen=True)
class Source:
    """A video of the manifest to be encoded.

    Attributes:
        video: its record.
        path: the video file, or the folder of frames.
        mask: checksum of the mask's content; None without a mask.
    """

    video: VideoRecord
    path: Path
    mask: str | None

    @property
    def content(self) -> Content:
        """What its latents depend on."""
        return Content(self.video.sha256, self.video.frames, self.mask, self.video.pixel_aspect)

    @property
    def key(self) -> str:
        """Identifies its latents within a folder."""
        return self.content.key

    def check(self) -> None:
        """Check that the video still has the content recorded in the manifest.

        Raises:
            VideoError: if it is missing, unreadable or has changed.
        """
        fetch_if_missing(self.path)
        if _checksum(self.path) != self.video.sha256:
            raise VideoError(
                f"{self.path}: changed since it was prepared", hint="run `latte prepare` again"
            )


def sources_of(dataset: Dataset) -> list[Source]:
    """The videos of a data set in the manifest's order; masks are read for their checksums."""
    sources = []
    for video in dataset.videos:
        mask = None
        if video.mask is not None:
            try:
                mask = _checksum(dataset.place(video.mask))
            except VideoError:  # reported when the video is decoded
                mask = "unreadable"
        sources.append(Source(video, dataset.path_of(video), mask))
    return sources


def chunks_of(sources: Iterable[Source], bytes_per_frame: int) -> list[tuple[Source, ...]]:
    """Split the list of all videos into chunks of about one shard each.

    The boundaries depend on the whole manifest only, not on what is encoded already. So every
    process and every later run uses the same chunks, and after an interruption only unfinished
    chunks are encoded again.

    Args:
        sources: all videos; of videos with the same content only the first is used.
        bytes_per_frame: size of one frame's latents.
    """
    chunks: dict[int, list[Source]] = {}
    keys: set[str] = set()
    offset = 0
    for source in sources:
        if source.key not in keys:
            keys.add(source.key)
            chunks.setdefault(offset // SHARD_BYTES, []).append(source)
            offset += source.video.frames * bytes_per_frame
    return [tuple(chunk) for chunk in chunks.values()]


def _checksum(path: Path) -> str:
    try:
        return checksum_of_video(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise VideoError(
            f"{path}: cannot be read ({reason})", hint="copy or download it again"
        ) from error
