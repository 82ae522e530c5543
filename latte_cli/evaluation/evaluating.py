"""One evaluation from sources to a result: what `latte eval`, its sweep and its curve share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from latte_cli.config import Config
from latte_cli.config.locations import Locations
from latte_cli.evaluation.features.extracting import ClipExtraction, FeatureExtraction
from latte_cli.evaluation.features.extractors import FeatureExtractor, open_feature_extractor
from latte_cli.evaluation.measuring import count_resamples, measure
from latte_cli.evaluation.metric_table import METRICS, NETWORK_OF
from latte_cli.evaluation.numbers import ClipDraws, ClipRefs
from latte_cli.evaluation.plan import ClipSetName, all_frames, split_by_video
from latte_cli.evaluation.protocol import Protocol, protocol_from
from latte_cli.evaluation.results.paper import dataset_of
from latte_cli.evaluation.results.result import ClipSetFacts, Number, Result
from latte_cli.evaluation.sources.clip_sets import (
    ClipSet,
    require_clips,
    select_clips,
    warn_about_left_out,
)
from latte_cli.evaluation.sources.prompts import Captions
from latte_cli.evaluation.sources.videos import Source
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.engines.engine import LOCAL, Engine


@dataclass(frozen=True)
class EvalContext:
    """What every evaluation works with, whatever it measures.

    Attributes:
        features: folder of features, kept for the next run.
        weights: folder of the networks' weights; None: the cache.
        trust_torchscript: whether weights that contain code may be loaded.
        batch: clips per call of a network; changes memory and speed, not numbers.
        download: whether missing weights may be downloaded.
        locations: where encoded captions are.
        engine: where features are extracted.
    """

    features: Path = Path("features")
    weights: Path | None = None
    trust_torchscript: bool = False
    batch: int = 8
    download: bool = False
    locations: Locations = field(default_factory=Locations)
    engine: Engine = LOCAL

    def captions(self, real: Source, config: Config) -> Captions:
        """The prompts of a configuration's text-to-video network, compared with real videos."""
        return Captions(real.place, self.locations.texts(config))

    @property
    def survey_cache(self) -> Path:
        """Folder that caches the lengths and sizes of the videos in folders."""
        return self.features / "seen"


@dataclass(frozen=True)
class Evaluation:
    """Compares real and fake videos by one protocol.

    Attributes:
        config: `eval` is read; metrics of paired videos are ignored.
        protocol: with the checksums of the networks' weights.
        extractors: the networks, by name.
        context: folders of features and weights, and the like.
        console: shows the progress.
        on_progress: called now and then; an exception from it ends the evaluation, and the
            features so far are kept.
    """

    config: Config
    protocol: Protocol
    extractors: Mapping[str, FeatureExtractor]
    context: EvalContext
    console: Console
    on_progress: Callable[[], None] = lambda: None

    @classmethod
    def open(cls, config: Config, context: EvalContext, console: Console) -> "Evaluation":
        """Open the networks that the configured metrics need, which may download weights.

        Raises:
            CheckpointError: if weights are missing, or not the right ones.
            ConfigError: if clips of the protocol are too short for one.
        """
        names = dict.fromkeys(NETWORK_OF[m] for m in config.eval.metrics if m in NETWORK_OF)
        protocol = protocol_from(config)
        extractors = {
            name: open_feature_extractor(
                name,
                protocol.frames,
                context.weights,
                trust_torchscript=context.trust_torchscript,
                say=console.info,
                download=context.download,
            )
            for name in names
        }
        checksums = {name: extractor.weights for name, extractor in extractors.items()}
        return cls(config, protocol.with_networks(checksums), extractors, context, console)

    def clip_set(self, name: ClipSetName, source: Source, least: int = 2) -> ClipSet:
        """Select the clips of a source, and warn of what is excluded.

        Args:
            name: real or fake.
            source: its videos.
            least: clips that there must be.

        Raises:
            DataError: if there are fewer, or fakes have several sizes.
        """
        draws, features = self.config.eval.draws, self.context.features
        clip_set = select_clips(name, source, self.protocol, draws, self.extractors, features)
        require_clips(clip_set, least)
        warn_about_left_out(clip_set, self.protocol)
        return clip_set

    def run(
        self, real: ClipSet, fake: ClipSet, notes: Mapping[str, Any] | None = None
    ) -> Result | None:
        """Extract the features that are missing and measure; None in all but the main process.

        Raises:
            DataError: if a feature is not finite, or there are too few clips for a metric.
            VideoError: if a video cannot be read any more.
        """
        for clip_set in (real, fake):
            clips = {network: self._clips(network, clip_set) for network in self.extractors}
            work = ClipExtraction(
                clip_set.source, clip_set.compression.apply, self.extractors, self.context.batch
            )
            FeatureExtraction(
                work,
                clip_set.stores,
                self.context.features / "claims",
                clip_set.name,
                self.context.engine,
                self.on_progress,
            ).run({network: refs for network, refs in clips.items() if refs}, self.console)
        if not is_main():
            return None
        numbers = {
            metric: self._measure(metric, real, fake)
            for metric in self.config.eval.metrics
            if metric in NETWORK_OF
        }
        dataset = dataset_of(self.config.name, real.source.place)
        protocol = self.protocol_of(real, fake)
        return Result(
            protocol=protocol,
            real=ClipSetFacts.of(real.source, real.plan, real.applied),
            fake=ClipSetFacts.of(fake.source, fake.plan, fake.applied),
            numbers=numbers,
            deviations=tuple(protocol.deviations(dataset)),
            seconds_per_clip=_seconds_per_clip(fake),
            notes=notes or {},
        )

    def protocol_of(self, real: ClipSet, fake: ClipSet) -> Protocol:
        """The protocol with the compression that the frames of these clips have been through."""
        return replace(
            self.protocol,
            real_compression=_compression(real, self.protocol.real_compression),
            fake_compression=_compression(fake, self.protocol.fake_compression),
        )

    def _clips(self, network: str, clip_set: ClipSet) -> ClipRefs:
        """All clips of a set that a network's metrics need."""
        metrics = [m for m in self.config.eval.metrics if NETWORK_OF.get(m) == network]
        if clip_set.name == "real":
            if all(METRICS[metric].fakes_only for metric in metrics):
                return ()
            if self._takes_all_frames(network):
                return all_frames(clip_set.source.videos, self.protocol.frames)
        plan = clip_set.plan
        refs = [ref for draw in plan.draws for ref in draw]
        return refs + list(plan.real_vs_real.second if plan.real_vs_real else ())

    def _takes_all_frames(self, network: str) -> bool:
        """Whether real frames are those of whole videos."""
        return self.extractors[network].per_frame and self.protocol.fid_frames == "all"

    def _measure(self, metric: str, real: ClipSet, fake: ClipSet) -> Number:
        network = NETWORK_OF[metric]
        draws = ClipDraws(real.plan.draws, fake.plan.draws, real.plan.real_vs_real)
        if self._takes_all_frames(network):
            refs = self._clips(network, real)
            repeated = [refs] * len(fake.plan.draws)
            draws = ClipDraws(repeated, fake.plan.draws, split_by_video(refs), real_is_all=True)
        stores = {"real": real.stores[network], "fake": fake.stores[network]}
        resamples = self.config.eval.resamples
        total = count_resamples(metric, resamples)
        with self.console.progress(f"interval of {metric}", total, "resamples") as bar:

            def on_resample() -> None:
                bar.advance()
                self.on_progress()

            number = measure(metric, draws, stores, self.protocol, resamples, on_resample)
        weights = {network: self.extractors[network].weights}
        return replace(
            number,
            network=network,
            protocol_hash=self.protocol_of(real, fake).with_networks(weights).hash,
            note=METRICS[metric].note,
        )


def _compression(clip_set: ClipSet, intended: str) -> str:
    """A protocol's field: as intended, if that is what happened."""
    return intended if clip_set.applied == str(clip_set.compression) else clip_set.applied


def _seconds_per_clip(fake: ClipSet) -> float | None:
    keys = list(dict.fromkeys(ref.key for draw in fake.plan.draws for ref in draw))
    for store in fake.stores.values():
        # The median: the first clips wait for memory and kernels, others for a busy machine.
        seconds = median(store.seconds(keys))
        return float(f"{seconds:.4g}") if seconds else None
    return None
