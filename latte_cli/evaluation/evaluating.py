"""One evaluation from sources to a result: what `latte eval`, its sweep and its curve share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from latte_cli.config import Config
from latte_cli.evaluation.features.extracting import FeatureExtraction
from latte_cli.evaluation.features.extractors import (
    NETWORK_OF,
    FeatureExtractor,
    open_feature_extractor,
)
from latte_cli.evaluation.measuring import ALONE, measure
from latte_cli.evaluation.plan import ClipSetName, DisjointSets, all_frames
from latte_cli.evaluation.results.files import ClipSetFacts, Result
from latte_cli.evaluation.results.numbers import Number, Refs, Sets
from latte_cli.evaluation.results.paper import dataset_of
from latte_cli.evaluation.sources.clip_sets import (
    ClipSet,
    require_clips,
    select_clips,
    warn_about_left_out,
)
from latte_cli.evaluation.sources.videos import Source
from latte_cli.metrics.protocol import Protocol
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import ConfigError

PAIRED = ("psnr", "ssim", "lpips")
_NOTES = {
    "fd-random": "not comparable with FVD: a random network",
    "direction": "of clips that move as their label says",
}


def refuse_paired(metrics: Sequence[str]) -> None:
    """Refuse metrics of paired videos, where clips are drawn that have no partners.

    Raises:
        ConfigError: if there is one.
    """
    found = [metric for metric in metrics if metric in PAIRED]
    if found:
        raise ConfigError(
            f"{found[0]} compares videos in pairs, and drawn clips have no partners",
            hint="choose other --metrics",
        )


@dataclass(frozen=True)
class EvalContext:
    """What every evaluation works with, whatever it measures.

    Attributes:
        features: folder of features, kept for the next run.
        weights: folder of the networks' weights; None: the cache, or the official place.
        trust_torchscript: whether weights that hold code may be loaded.
        batch: clips described at once; changes memory and speed, not numbers.
        download: whether missing weights may be fetched.
    """

    features: Path = Path("features")
    weights: Path | None = None
    trust_torchscript: bool = False
    batch: int = 8
    download: bool = True

    @property
    def seen(self) -> Path:
        """Folder in which is kept what was seen of folders' videos."""
        return self.features / "seen"


@dataclass(frozen=True)
class FeatureExtractors:
    """The networks of an evaluation, opened once.

    Attributes:
        by_name: the networks.
        protocol: with the checksums of their weights.
    """

    by_name: Mapping[str, FeatureExtractor]
    protocol: Protocol

    @classmethod
    def open(
        cls,
        metrics: tuple[str, ...],
        protocol: Protocol,
        context: EvalContext,
        say: Callable[[str], None] | None = None,
    ) -> "FeatureExtractors":
        """Open what these metrics need; `say` is told of downloads.

        Raises:
            CheckpointError: if weights are missing, or not the right ones.
            ConfigError: if clips of the protocol are too short for one.
        """
        names = dict.fromkeys(NETWORK_OF[m] for m in metrics if m in NETWORK_OF)
        extractors = {
            name: open_feature_extractor(
                name,
                protocol.frames,
                context.weights,
                trust_torchscript=context.trust_torchscript,
                say=say,
                download=context.download,
            )
            for name in names
        }
        sums = {name: extractor.weights for name, extractor in extractors.items()}
        return cls(extractors, protocol.with_networks(sums))


@dataclass(frozen=True)
class Evaluation:
    """Real and fake videos under one protocol.

    Attributes:
        config: `eval` is read.
        extractors: the networks.
        context: where features lie, and the like.
        console: tells how it goes.
        between: called whenever some clips were described; what it raises ends the evaluation, and
            what was described is kept.
    """

    config: Config
    extractors: FeatureExtractors
    context: EvalContext
    console: Console
    between: Callable[[], None] = lambda: None

    def clip_set(self, name: ClipSetName, source: Source, least: int = 2) -> ClipSet:
        """Choose the clips of a source, and say what is left out.

        Args:
            name: real or fake.
            source: its videos.
            least: clips that there must be.

        Raises:
            DataError: if there are fewer, or fakes are of several sizes.
        """
        extractors, settings = self.extractors, self.config.eval
        clip_set = select_clips(
            name,
            source,
            extractors.protocol,
            settings.draws,
            extractors.by_name,
            self.context.features,
        )
        require_clips(clip_set, least)
        warn_about_left_out(clip_set, extractors.protocol)
        return clip_set

    def run(
        self, real: ClipSet, fake: ClipSet, notes: Mapping[str, Any] | None = None
    ) -> Result | None:
        """Describe what is missing and measure; None in every process but the main one.

        Raises:
            DataError: if a network's answer is not finite, or a metric has too few clips.
            VideoError: if a video cannot be read any more.
        """
        for clip_set in (real, fake):
            clips = {name: self._clips(name, clip_set) for name in self.extractors.by_name}
            FeatureExtraction(
                clip_set.source,
                clip_set.compression.apply,
                self.extractors.by_name,
                clip_set.stores,
                self.context.features / "claims",
                self.context.batch,
                clip_set.name,
                self.between,
            ).run({name: refs for name, refs in clips.items() if refs}, self.console)
        if not is_main():
            return None
        numbers = [
            self._measure(m, real, fake) for m in self.config.eval.metrics if m in NETWORK_OF
        ]
        return Result(
            protocol=self.extractors.protocol,
            real=ClipSetFacts.of(real.source, real.plan, str(real.compression)),
            fake=ClipSetFacts.of(fake.source, fake.plan, str(fake.compression)),
            numbers={number.metric: number for number in numbers},
            deviations=tuple(
                self.extractors.protocol.deviations(dataset_of(self.config.name, real.source.place))
            ),
            seconds_per_clip=_seconds_per_clip(fake),
            notes=notes or {},
        )

    def _clips(self, network: str, clip_set: ClipSet) -> Refs:
        """All clips of a side that a network's metrics need."""
        metrics = [m for m in self.config.eval.metrics if NETWORK_OF.get(m) == network]
        if clip_set.name == "real" and all(metric in ALONE for metric in metrics):
            return ()
        if clip_set.name == "real" and self._takes_all(network):
            return all_frames(clip_set.source.videos, self.extractors.protocol.frames)
        refs = [ref for draw in clip_set.plan.draws for ref in draw]
        return refs + list(clip_set.plan.real_vs_real.second if clip_set.plan.real_vs_real else ())

    def _takes_all(self, network: str) -> bool:
        """Whether real frames are taken of whole videos."""
        per_frame = self.extractors.by_name[network].per_frame
        return per_frame and self.extractors.protocol.fid_frames == "all"

    def _measure(self, metric: str, real: ClipSet, fake: ClipSet) -> Number:
        network = NETWORK_OF[metric]
        stores = {"real": real.stores[network], "fake": fake.stores[network]}
        sets = Sets(real.plan.draws, fake.plan.draws, real.plan.real_vs_real)
        if self._takes_all(network):
            whole = self._clips(network, real)
            sets = Sets([whole] * len(fake.plan.draws), fake.plan.draws, _halves(whole), True)
        settings = self.config.eval
        number = measure(metric, sets, stores, self.extractors.protocol, settings.resamples)
        weights = {network: self.extractors.by_name[network].weights}
        return replace(
            number,
            network=network,
            protocol_hash=self.extractors.protocol.with_networks(weights).hash,
            note=_NOTES.get(metric, ""),
        )


def _halves(whole: Refs) -> DisjointSets | None:
    """The frames of every second video against those of the others."""
    order = list(dict.fromkeys(ref.video.name for ref in whole))
    if len(order) < 4:
        return None
    first = set(order[::2][: len(order) // 2])
    second = set(order[1::2])
    return DisjointSets(
        tuple(ref for ref in whole if ref.video.name in first),
        tuple(ref for ref in whole if ref.video.name in second),
        False,
    )


def _seconds_per_clip(fake: ClipSet) -> float | None:
    keys = list(dict.fromkeys(ref.key for draw in fake.plan.draws for ref in draw))
    for store in fake.stores.values():
        # The median: the first clips wait for memory and kernels, others for a busy machine.
        seconds = median(store.seconds(keys))
        return float(f"{seconds:.4g}") if seconds else None
    return None
