"""Protocols: everything that a metric depends on besides the videos, with a name and a hash.

The same checkpoint scores 50 or 234 depending on these settings, so every number is stored with its
protocol, and numbers of different protocols are never compared.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from latte_cli.config import Config
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.records import record_from

PUBLISHED_CLIPS = 2048
_PUBLISHED = {"frames": 16, "size": 256, "clips": PUBLISHED_CLIPS, "fid_frames": "all"}
# The training interval, except for Taichi-HD; stylegan-v takes every frame.
_INTERVALS = {"faceforensics": 3, "skytimelapse": 3, "ucf101": 3, "taichi-hd": 6}
# Section 4.1: the training split; of UCF101 both splits.
_MP4 = "mp4-crf5-bicubic jpeg-75"
# Of the published protocols: of exact pixels, and of files that were written that way before.
_COMPRESSIONS = {
    "latte": (_MP4, "as given, x264 crf 5, then JPEG 75"),
    "stylegan-v": ("none",),
}
_SPLITS = {"faceforensics": "train", "skytimelapse": "train", "ucf101": "all", "taichi-hd": "train"}
_NETWORKS = "sha256 of each network's weights"


def _labeled(label: str) -> Any:
    """A field with a label for tables and messages."""
    return field(metadata={"label": label})


@dataclass(frozen=True)
class Protocol:
    """How clips are selected, preprocessed and measured.

    `latte` is StyleGAN-V's protocol with the changes of the published script: real clips at the
    training interval, fake clips compressed as mp4, both compressed as JPEG. In a result, both
    compressions are what happened to the frames, as far as the files tell.
    """

    name: str = _labeled("protocol")
    frames: int = _labeled("frames of a clip")
    size: int = _labeled("height and width of a frame, pixels")
    clips: int = _labeled("clips of each set, at most")
    clips_per_video: int = _labeled("clips of a video")
    draw: str = _labeled("which videos, if there are more")
    split: str = _labeled("split of the real videos")
    real_interval: int = _labeled("frame interval of real clips")
    fake_interval: int = _labeled("frame interval of fake clips")
    real_offset: str = _labeled("first frame of a real clip")
    fake_offset: str = _labeled("first frame of a fake clip")
    shortest: str = _labeled("videos left out as too short")
    crop: str = _labeled("order of crop and Lanczos resize")
    real_compression: str = _labeled("compression of real frames")
    fake_compression: str = _labeled("compression of fake frames")
    fid_frames: str = _labeled("real frames of FID and KID")
    ddof: int = _labeled("ddof of covariances")
    mmd: str = _labeled("KVD and KID")
    inception_score: str = _labeled("Inception Score")
    seed: int = _labeled("seed of the selection")
    networks: Mapping[str, str] = field(default_factory=dict, metadata={"label": _NETWORKS})

    @property
    def hash(self) -> str:
        """Identifies the protocol, 12 hex digits."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def with_networks(self, networks: Mapping[str, str]) -> "Protocol":
        """The same protocol with the checksums of the networks' weights, by name."""
        return replace(self, networks=dict(sorted(networks.items())))

    def as_values(self) -> dict[str, Any]:
        """Every field, and the hash, for a result file."""
        return {**asdict(self), "hash": self.hash}

    def rows(self) -> list[tuple[str, str]]:
        """Label and value of every field, and the hash, for a table."""
        shown = [(f.metadata["label"], getattr(self, f.name)) for f in fields(self)]
        rows = [(label, str(value)) for label, value in shown if label != _NETWORKS]
        rows += [(f"weights of {name}", sha256) for name, sha256 in self.networks.items()]
        return [*rows, ("hash", self.hash)]

    def deviations(self, dataset: str = "") -> list[str]:
        """The settings that differ from the published ones of this protocol, as messages.

        Args:
            dataset: of the real videos, by the name of its preset. If it is not one of the paper's,
                the published settings of any data set are accepted.
        """
        own = asdict(self)
        labels = {f.name: f.metadata["label"] for f in fields(self)}
        published: dict[str, Iterable[object]] = {k: (v,) for k, v in _PUBLISHED.items()}
        published["real_interval"] = _of(_INTERVALS, dataset) if self.name == "latte" else (1,)
        published["split"] = _of(_SPLITS, dataset)
        published["fake_compression"] = _COMPRESSIONS.get(self.name, (self.fake_compression,))
        return [
            f"{labels[key]}: {own[key]}, published: {' or '.join(map(str, values))}"
            for key, values in published.items()
            if own[key] not in values
        ]


def _of(published: Mapping[str, object], dataset: str) -> Iterable[object]:
    """The published setting of a data set, or of all data sets if it is not one of them."""
    return dict.fromkeys([published[dataset]] if dataset in published else published.values())


def protocol_from(config: Config) -> Protocol:
    """The configured protocol, without the networks' checksums."""
    settings, data = config.eval, config.data
    latte = settings.protocol == "latte"
    return Protocol(
        name=settings.protocol,
        frames=data.frames,
        size=data.size,
        clips=settings.clips,
        clips_per_video=1,
        draw="random" if latte else "first by name",
        split=data.split,
        real_interval=settings.interval or (data.interval if latte else 1),
        fake_interval=1,
        real_offset="random",
        fake_offset="first",
        shortest="fewer frames than frames x interval",
        crop="crop-resize" if latte else "resize-crop",
        real_compression="jpeg-75" if latte else "none",
        fake_compression=_MP4 if latte else "none",
        fid_frames=settings.fid_frames,
        ddof=0,
        mmd="cubic, unbiased, 100 subsets of 1000",
        inception_score="10 splits, shuffled by RandomState(42)",
        seed=settings.seed,
    )


def protocol_from_values(values: Mapping[str, Any], origin: str) -> Protocol:
    """Read a protocol from a result file.

    Raises:
        DataError: if there is none, or it is of another version.
    """
    known = {f.name for f in fields(Protocol)}
    given = {key: value for key, value in values.items() if key != "hash"}
    if given.keys() != known:
        odd = ", ".join(sorted(given.keys() ^ known)) or "nothing"
        raise DataError(
            f"{origin}: its protocol is of another version ({odd})",
            hint="measure again with the same command and --overwrite",
        )
    try:
        return record_from(Protocol, given)
    except ValueError as error:
        raise DataError(
            f"{origin}: its protocol is damaged",
            hint="measure again with the same command and --overwrite",
        ) from error


def differences(ours: Protocol, theirs: Protocol, ignore: Collection[str] = ()) -> list[str]:
    """What differs between two protocols, as messages; empty if their numbers are comparable.

    Args:
        ours: a protocol.
        theirs: another.
        ignore: fields that are not compared.
    """
    found = []
    for f in fields(Protocol):
        a, b = getattr(ours, f.name), getattr(theirs, f.name)
        if a == b or f.name in ignore:
            continue
        if f.name == "networks":
            found += [
                f"weights of {name}: {a.get(name, 'none')[:12]} and {b.get(name, 'none')[:12]}"
                for name in sorted({*a, *b})
                if a.get(name) != b.get(name)
            ]
        else:
            found.append(f"{f.metadata['label']}: {a} and {b}")
    return found
