"""What `latte sample` generates: its options, the clips and their labels."""

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latte_cli.checkpoints.labels import label_number
from latte_cli.config import Config
from latte_cli.config.cache_options import (
    NO_CACHE,
    CacheOptions,
    check_cache_with_fifo,
    check_cacheable,
)
from latte_cli.config.locations import Locations
from latte_cli.data.manifest import read_dataset
from latte_cli.runtime.engines.engine import LOCAL, Engine
from latte_cli.runtime.errors import ConfigError, DataError
from latte_cli.sampling.clip_folder import ClipEntry
from latte_cli.sampling.long_plan import LongClipPlan, plan_long_clip
from latte_cli.sampling.output import is_file, is_stack

# torch is imported where it is needed: an error before that is shown at once.
if TYPE_CHECKING:
    from latte_cli.caching import Policy

ALL, DATA = "all", "data"
_NOT_IN_FILES = re.compile(r"[^\w.+]+")
_NAME_BYTES = 60


@dataclass(frozen=True)
class SampleOptions:
    """The options of `latte sample` beside the configuration.

    Attributes:
        checkpoint: a folder, or a file of weights.
        count: clips; None: 8, or one for a file.
        labels: by number or name, used in turn.
        labels_of: `all` or `data`, see `label_order`.
        frames: of a clip, or of a window of a long one; None: as trained.
        out: folder of the clips, or the file of one clip, or of all if it is an npz.
        fmt: format of the clips of a folder.
        long: frames of a clip that is longer than a window.
        long_method: see `LongClipPlan`.
        overlap: see `LongClipPlan`; None: half a window.
        image: picture that each clip begins with.
        cache: what is reused from step to step.
        overwrite: whether clips of another request may be replaced.
        engine: where the clips of a folder are sampled.
    """

    checkpoint: Path
    count: int | None = None
    labels: tuple[str, ...] = ()
    labels_of: str | None = None
    frames: int | None = None
    out: Path = Path("samples")
    fmt: str = "mp4"
    long: int | None = None
    long_method: str = "window"
    overlap: int | None = None
    image: Path | None = None
    cache: CacheOptions = NO_CACHE
    overwrite: bool = False
    engine: Engine = LOCAL

    @property
    def clips(self) -> int:
        """The number of clips."""
        return self.count or (1 if is_file(self.out) and not is_stack(self.out) else 8)


@dataclass(frozen=True)
class ClipRequest:
    """A clip to sample: it depends on (seed, index) and its label alone."""

    index: int
    seed: int
    label: int | None = None


def long_plan(config: Config, options: SampleOptions) -> LongClipPlan | None:
    """How long clips are composed; None without `--long`.

    Raises:
        ConfigError: if the options do not go together.
    """
    window = options.frames or config.data.frames
    return plan_long_clip(options.long, window, options.overlap, options.long_method)


def routed_blocks(config: Config) -> dict[str, list[int]]:
    """The blocks that clips depend on with `sample.guidance_routing`, for records of requests."""
    route = config.train.route
    if config.sample.guidance_routing is None or route is None:
        return {}
    return {"routed_blocks": [route.first, route.last]}


def cache_policy(config: Config, options: SampleOptions) -> "Policy | None":
    """What is reused from step to step; None: nothing.

    Raises:
        CheckpointError: if a calibrated cache is missing, or for another network or sampler.
        ConfigError: if the cache options have no meaning, or do not go with the others.
    """
    from latte_cli.caching import checkpoint_setup, choose_policy
    from latte_cli.models.trained import folder_of_weights

    check_cache_with_fifo(options.cache, options.long_method)
    if options.cache.is_on:
        check_cacheable(config.diffusion, config.sample)
    checkpoint = options.checkpoint
    return choose_policy(
        options.cache,
        folder_of_weights(checkpoint),
        lambda: checkpoint_setup(checkpoint, config, options.frames),
    )


def clip_requests(
    config: Config,
    locations: Locations,
    options: SampleOptions,
    num_classes: int | None,
    class_names: Sequence[str],
) -> list[ClipRequest]:
    """The clips to generate, with their labels.

    Args:
        config: the seed, and the data set for `--labels data`.
        locations: of that data set.
        options: how many clips, and of which labels.
        num_classes: labels that the network knows; None: it is unconditional.
        class_names: their names, if they have names.

    Raises:
        ConfigError: if the network does not know a label.
        DataError: if `--labels data` is given, and the data set cannot be read or has other labels.
    """
    labels = label_order(
        options.labels,
        options.labels_of,
        num_classes,
        class_names,
        locations.data(config),
        config.data.split,
    )
    numbered = enumerate(itertools.islice(labels, options.clips))
    return [ClipRequest(index, config.sample.seed, label) for index, label in numbered]


def clip_entry(request: ClipRequest, class_names: Sequence[str] = ()) -> ClipEntry:
    """The entry of a clip in its folder, named after its label and the name of its class.

    Args:
        request: the clip.
        class_names: of the network's labels, if they have names.
    """
    label, named = request.label, ""
    plain = f"{request.index:05d}-seed{request.seed}" + ("" if label is None else f"-label{label}")
    caption = "" if label is None else f"label {label}"
    if label is not None and label < len(class_names):
        caption = class_names[label]
        named = name_for_file(caption)
    return ClipEntry(
        name=f"{plain}-{named}" if named else plain,
        metadata={"index": request.index, "seed": request.seed, "label": label},
        earlier_name=plain,
        caption=caption,
    )


def name_for_file(text: str) -> str:
    """A name as part of a file's name: letters, digits and few signs, not too long for any disk."""
    plain = _NOT_IN_FILES.sub("-", unicodedata.normalize("NFC", text)).strip("-.")
    return plain.encode("utf-8", "ignore")[:_NAME_BYTES].decode(errors="ignore")


def label_order(
    labels: Sequence[str],
    labels_of: str | None,
    num_classes: int | None,
    class_names: Sequence[str],
    dataset: Path,
    split: str,
) -> Iterator[int | None]:
    """An endless sequence of labels, the same however many are taken.

    Args:
        labels: by number or name, to be used in turn.
        labels_of: `all` uses all that the network knows in turn, and is the default; `data` uses
            each in proportion to its videos in a data set.
        num_classes: labels that the network knows; None: it is unconditional.
        class_names: their names, if they have names.
        dataset: a prepared data set, read for `data` only.
        split: of its videos.

    Raises:
        ConfigError: if the network knows no such label, or both options are given.
        DataError: if the data set is missing, has no labels, or other ones than the network.
    """
    check_label_options(labels, labels_of)
    if labels_of and num_classes is None:
        raise ConfigError(
            f"this network is unconditional, it takes no --labels {labels_of}",
            hint="leave --labels out",
        )
    if labels_of == DATA and num_classes is not None:
        return proportional_order(_label_counts(dataset, split, num_classes, class_names))
    numbers = [label_number(text, num_classes, class_names) for text in labels]
    cycle: Sequence[int | None] = numbers or range(num_classes or 0) or [None]
    return itertools.cycle(cycle)


def check_label_options(labels: Sequence[str], labels_of: str | None) -> None:
    """Raise ConfigError if `--label` and `--labels` exclude each other, or one is unknown."""
    if labels and labels_of:
        raise ConfigError("--label and --labels exclude each other", hint="give one of them")
    if labels_of not in (None, ALL, DATA):
        raise ConfigError(f"--labels {labels_of} is unknown", hint="--labels all or --labels data")


def proportional_order(counts: Sequence[int]) -> Iterator[int]:
    """An endless sequence of indices whose every prefix is close to the proportions of counts.

    Sainte-Laguë's method of allocating seats: the next index is the one with the largest
    count / (2 * times taken + 1), the first of them on a tie.
    """
    shares = np.asarray(counts, np.float64)
    taken = np.zeros(len(counts))
    while True:
        chosen = int((shares / (2 * taken + 1)).argmax())
        taken[chosen] += 1
        yield chosen


def _label_counts(
    dataset: Path, split: str, num_classes: int, class_names: Sequence[str]
) -> list[int]:
    """How many videos of a data set have each of the network's labels."""
    manifest = read_dataset(dataset)
    hint = "set data.root to the data set of its training, or give --label"
    if class_names and manifest.classes and tuple(class_names) != manifest.classes:
        raise DataError(f"{dataset} has other labels than the network was trained with", hint=hint)
    labels = [video.label for video in manifest.of_split(split) if video.label is not None]
    if not labels:
        raise DataError(f"{dataset}: no video has a label", hint="--labels all, or --label")
    if max(labels) >= num_classes:
        raise DataError(
            f"{dataset} has the label {max(labels)}, the network knows 0 to {num_classes - 1}",
            hint=hint,
        )
    return [int(count) for count in np.bincount(labels, minlength=num_classes)]
