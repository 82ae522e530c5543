"""What is to be encoded: every video of a manifest, named by what its latents depend on."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from latte_cli.data.manifest import Dataset, VideoRecord
from latte_cli.runtime.errors import VideoError
from latte_cli.runtime.files import sha256_of
from latte_cli.video_io.containers import check_file
from latte_cli.video_io.frame_folders import checksum_of_frames

SHARD_BYTES = 64 << 20
"""Of latents in a shard, about: the video that goes beyond it is its last."""


@dataclass(frozen=True)
class Content:
    """What the latents of a video are made of; its path is not part of it, so data sets may move.

    Attributes:
        sha256: checksum of the file, or of all frames of a folder.
        frames: that decode.
        mask: checksum of the mask that they are cropped by; None without a mask.
    """

    sha256: str
    frames: int
    mask: str | None = None

    @property
    def key(self) -> str:
        """What tells these latents from all others of a folder."""
        return "-".join([self.sha256, str(self.frames), *([self.mask] if self.mask else [])])


@dataclass(frozen=True)
class Source:
    """A video of the manifest, and where it lies.

    Attributes:
        video: its record.
        path: of the file, or of the folder of frames.
        mask: checksum of the mask's content; None without a mask.
    """

    video: VideoRecord
    path: Path
    mask: str | None

    @property
    def content(self) -> Content:
        """What its latents are made of."""
        return Content(self.video.sha256, self.video.frames, self.mask)

    @property
    def key(self) -> str:
        """What tells its latents from all others of a folder."""
        return self.content.key

    def check(self) -> None:
        """Make sure that the video is still the one that the manifest tells of.

        Raises:
            VideoError: if it is missing, cannot be read or has another content.
        """
        if _checksum_of(self.path) != self.video.sha256:
            raise VideoError(
                f"{self.path}: changed since it was prepared", hint="run `latte prepare` again"
            )


def sources_of(dataset: Dataset) -> list[Source]:
    """The videos of a data set, in the manifest's order; masks are read, for their checksums."""
    return [
        Source(video, dataset.path_of(video), _checksum_of_mask(dataset, video))
        for video in dataset.videos
    ]


def chunks_of(sources: Iterable[Source], bytes_per_frame: int) -> list[tuple[Source, ...]]:
    """Cut the list of all videos into pieces of about a shard each.

    Where the cuts lie follows from the whole manifest alone, not from what is encoded already: so
    every process and every later run finds the same pieces, and an interrupted run repeats no more
    than those under way.

    Args:
        sources: all videos; of those that are alike, the first is taken.
        bytes_per_frame: of latents.
    """
    chunks: dict[int, list[Source]] = {}
    known: set[str] = set()
    before = 0
    for source in sources:
        if source.key not in known:
            known.add(source.key)
            chunks.setdefault(before // SHARD_BYTES, []).append(source)
            before += source.video.frames * bytes_per_frame
    return [tuple(chunk) for chunk in chunks.values()]


def _checksum_of(path: Path) -> str:
    """Checksum of a video file, or of a folder of frames, as the manifest has it.

    Raises:
        VideoError: if it is missing or cannot be read.
    """
    try:
        if path.is_dir():
            return checksum_of_frames(path)
        check_file(path)  # a pipe would be waited for
        return sha256_of(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise VideoError(f"{path}: cannot be read ({reason})", hint="copy it again") from error


def _checksum_of_mask(dataset: Dataset, video: VideoRecord) -> str | None:
    if video.mask is None:
        return None
    try:
        return _checksum_of(dataset.folder / video.mask)
    except VideoError:  # told when the video is decoded
        return "unreadable"
