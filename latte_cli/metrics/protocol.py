"""Protocols: all that a number depends on beside the videos, under a name and a hash.

The same weights score 50 or 234 depending on what is written here, so a number without its protocol
says little, and numbers of two protocols are never compared.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from latte_cli.config import Config
from latte_cli.runtime.errors import DataError

PUBLISHED_CLIPS = 2048
_PUBLISHED = {"frames": 16, "size": 256, "clips": PUBLISHED_CLIPS, "fid_frames": "all"}
# At the interval of training, but for Taichi-HD; stylegan-v takes every frame.
_INTERVALS = {"faceforensics": 3, "skytimelapse": 3, "ucf101": 3, "taichi-hd": 6}
# Section 4.1: the training split, and both of UCF101.
_SPLITS = {"faceforensics": "train", "skytimelapse": "train", "ucf101": "all", "taichi-hd": "train"}


def _said(words: str) -> Any:
    """A field with what it is, in words."""
    return field(metadata={"words": words})


@dataclass(frozen=True)
class Protocol:
    """How clips are chosen, made into pixels and measured.

    `latte` is StyleGAN-V's with what the published script changes: real clips at the training
    interval, fakes through mp4, both through JPEG.
    """

    name: str = _said("protocol")
    frames: int = _said("frames of a clip")
    size: int = _said("side of a frame, pixels")
    clips: int = _said("clips of each side, at most")
    clips_per_video: int = _said("clips of a video")
    draw: str = _said("which videos, where there are more")
    split: str = _said("real videos of the split")
    real_interval: int = _said("source frames between a real clip's")
    fake_interval: int = _said("source frames between a fake clip's")
    real_offset: str = _said("first frame of a real clip")
    fake_offset: str = _said("first frame of a fake clip")
    shortest: str = _said("videos left out as too short")
    crop: str = _said("order of crop and Lanczos resize")
    real_compression: str = _said("compression of real frames")
    fake_compression: str = _said("compression of fake frames")
    fid_frames: str = _said("real frames of FID and KID")
    ddof: int = _said("ddof of covariances")
    mmd: str = _said("KVD and KID")
    inception_score: str = _said("Inception Score")
    seed: int = _said("seed of the draws")
    networks: Mapping[str, str] = field(
        default_factory=dict, metadata={"words": "sha256 of each network's weights"}
    )

    @property
    def hash(self) -> str:
        """What tells this protocol from every other, 12 hex digits."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def with_networks(self, networks: Mapping[str, str]) -> "Protocol":
        """The same protocol with these weights: names of networks to checksums."""
        return replace(self, networks=dict(sorted(networks.items())))

    def as_values(self) -> dict[str, Any]:
        """For a result file: every field, and the hash."""
        return {**asdict(self), "hash": self.hash}

    def rows(self) -> list[tuple[str, str]]:
        """For people: every field in words, and the hash."""
        shown = [(f.metadata["words"], getattr(self, f.name)) for f in fields(self)]
        rows = [(words, str(value)) for words, value in shown if words != _NETWORKS]
        rows += [(f"weights of {name}", sha256) for name, sha256 in self.networks.items()]
        return [*rows, ("hash", self.hash)]

    def deviations(self, dataset: str = "") -> list[str]:
        """What keeps its numbers from the published ones of this name, in words.

        Args:
            dataset: of the real videos, by the name of its preset; where it is none of the paper's,
                what was published of any of those counts.
        """
        own = asdict(self)
        words = {f.name: f.metadata["words"] for f in fields(self)}
        published: dict[str, Iterable[object]] = {k: (v,) for k, v in _PUBLISHED.items()}
        published["real_interval"] = _of(_INTERVALS, dataset) if self.name == "latte" else (1,)
        published["split"] = _of(_SPLITS, dataset)
        return [
            f"{words[key]}: {own[key]}, published: {' or '.join(map(str, values))}"
            for key, values in published.items()
            if own[key] not in values
        ]


def _of(published: Mapping[str, object], dataset: str) -> Iterable[object]:
    """What was published of a data set; of all where it is none of them, each once."""
    return dict.fromkeys([published[dataset]] if dataset in published else published.values())


_NETWORKS = "sha256 of each network's weights"


def protocol_from(config: Config) -> Protocol:
    """The configured protocol, networks not yet filled in."""
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
        fake_compression="mp4-crf5 jpeg-75" if latte else "none",
        fid_frames=settings.fid_frames,
        ddof=0,
        mmd="cubic, unbiased, 100 subsets of 1000",
        inception_score="10 splits, shuffled by RandomState(42)",
        seed=settings.seed,
    )


def protocol_from_values(values: Mapping[str, Any], origin: str) -> Protocol:
    """A protocol out of a result file.

    Raises:
        DataError: if it holds none, or one of another version.
    """
    known = {f.name for f in fields(Protocol)}
    given = {key: value for key, value in values.items() if key != "hash"}
    if given.keys() != known:
        odd = ", ".join(sorted(given.keys() ^ known)) or "nothing"
        raise DataError(
            f"{origin}: its protocol is of another version ({odd})", hint="evaluate again"
        )
    return Protocol(**given)


def differences(ours: Protocol, theirs: Protocol) -> list[str]:
    """What differs between two protocols, in words; nothing if their numbers can be compared."""
    found = []
    for f in fields(Protocol):
        a, b = getattr(ours, f.name), getattr(theirs, f.name)
        if a == b:
            continue
        if f.name == "networks":
            found += [
                f"weights of {name}: {a.get(name, 'none')[:12]} and {b.get(name, 'none')[:12]}"
                for name in sorted({*a, *b})
                if a.get(name) != b.get(name)
            ]
        else:
            found.append(f"{f.metadata['words']}: {a} and {b}")
    return found
