"""Which video of one place is the partner of which of another: those of one name."""

import os
from dataclasses import dataclass

from latte_cli.evaluation.sources.videos import Source, Video
from latte_cli.runtime.errors import DataError


@dataclass(frozen=True)
class Pair:
    """Two videos of one name, length and size."""

    name: str
    real: Video
    fake: Video


def pair_up(real: Source, fake: Source) -> list[Pair]:
    """Videos of the same name, whatever the ending of their files; sorted by name.

    Raises:
        DataError: if a video has no partner, or one of another length or size, or two of a side
            have one name.
    """
    ours, theirs = _by_name(real), _by_name(fake)
    alone = sorted(ours.keys() ^ theirs.keys())
    if alone:
        place = real.place if alone[0] in ours else fake.place
        raise DataError(
            f"{alone[0]} is in {place} alone, and {len(alone) - 1} more are without a partner",
            hint="paired metrics compare videos of the same name in both folders",
        )
    pairs = [Pair(name, video, theirs[name]) for name, video in sorted(ours.items())]
    for pair in pairs:
        a, b = ((v.frames, v.height, v.width) for v in (pair.real, pair.fake))
        if a != b:
            told = " and ".join(f"{f} frames of {w} x {h}" for f, h, w in (a, b))
            raise DataError(
                f"{pair.real.name}: the two videos of this name differ, {told}",
                hint="paired metrics compare frame by frame, pixel by pixel",
            )
    return pairs


def _by_name(source: Source) -> dict[str, Video]:
    """A source's videos by what they are paired by."""
    found: dict[str, Video] = {}
    for video in source.videos:
        if (other := found.setdefault(_name(video), video)) is not video:
            raise DataError(
                f"{source.place}: {other.name} and {video.name} have one name but for the ending",
                hint="paired metrics compare videos of the same name; leave one of them out",
            )
    return found


def _name(video: Video) -> str:
    """Without the ending of a video file; clips of npz files go by their numbers."""
    if ".npz[" in video.name:
        return video.name[video.name.rindex("[") :]
    # What follows a dot in the name of a folder of frames is part of the name.
    return os.path.splitext(video.name)[0] if video.written == "video" else video.name
