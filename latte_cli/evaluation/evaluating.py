"""One evaluation from sources to a result: what `latte eval`, its sweep and its curve share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from latte_cli.config import Config
from latte_cli.evaluation.features.extracting import Pass
from latte_cli.evaluation.features.extractors import NETWORK_OF, Describer, open_describer
from latte_cli.evaluation.measuring import ALONE, measure
from latte_cli.evaluation.plan import Halves, all_frames
from latte_cli.evaluation.plan import Side as SideName
from latte_cli.evaluation.results.files import Result, SideFacts
from latte_cli.evaluation.results.numbers import Number, Refs, Sets
from latte_cli.evaluation.results.paper import dataset_of
from latte_cli.evaluation.sources.clip_sets import Side, choose, refuse_fewer, tell_left_out
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
class Means:
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
class Judges:
    """The networks of an evaluation, opened once.

    Attributes:
        describers: by name.
        protocol: with the checksums of their weights.
    """

    describers: Mapping[str, Describer]
    protocol: Protocol

    @classmethod
    def open(
        cls,
        metrics: tuple[str, ...],
        protocol: Protocol,
        means: Means,
        say: Callable[[str], None] | None = None,
    ) -> "Judges":
        """Open what these metrics need; `say` is told of downloads.

        Raises:
            CheckpointError: if weights are missing, or not the right ones.
            ConfigError: if clips of the protocol are too short for one.
        """
        names = dict.fromkeys(NETWORK_OF[m] for m in metrics if m in NETWORK_OF)
        describers = {
            name: open_describer(
                name,
                protocol.frames,
                means.weights,
                trust_torchscript=means.trust_torchscript,
                say=say,
                download=means.download,
            )
            for name in names
        }
        sums = {name: describer.weights for name, describer in describers.items()}
        return cls(describers, protocol.with_networks(sums))


@dataclass(frozen=True)
class Evaluation:
    """Real and fake videos under one protocol.

    Attributes:
        config: `eval` is read.
        judges: the networks.
        means: where features lie, and the like.
        console: tells how it goes.
        between: called whenever some clips were described; what it raises ends the evaluation, and
            what was described is kept.
    """

    config: Config
    judges: Judges
    means: Means
    console: Console
    between: Callable[[], None] = lambda: None

    def side(self, name: SideName, source: Source, least: int = 2) -> Side:
        """Choose the clips of a source, and say what is left out.

        Args:
            name: real or fake.
            source: its videos.
            least: clips that there must be.

        Raises:
            DataError: if there are fewer, or fakes are of several sizes.
        """
        judges, settings = self.judges, self.config.eval
        side = choose(
            name, source, judges.protocol, settings.draws, judges.describers, self.means.features
        )
        refuse_fewer(side, least)
        tell_left_out(side, judges.protocol)
        return side

    def run(self, real: Side, fake: Side, notes: Mapping[str, Any] | None = None) -> Result | None:
        """Describe what is missing and measure; None in every process but the main one.

        Raises:
            DataError: if a network's answer is not finite, or a metric has too few clips.
            VideoError: if a video cannot be read any more.
        """
        for side in (real, fake):
            clips = {name: self._clips(name, side) for name in self.judges.describers}
            Pass(
                side.source,
                side.compression.apply,
                self.judges.describers,
                side.stores,
                self.means.features / "claims",
                self.means.batch,
                side.name,
                self.between,
            ).run({name: refs for name, refs in clips.items() if refs}, self.console)
        if not is_main():
            return None
        numbers = [
            self._measure(m, real, fake) for m in self.config.eval.metrics if m in NETWORK_OF
        ]
        return Result(
            protocol=self.judges.protocol,
            real=SideFacts.of(real.source, real.plan, real.compression.in_words()),
            fake=SideFacts.of(fake.source, fake.plan, fake.compression.in_words()),
            numbers={number.metric: number for number in numbers},
            deviations=tuple(
                self.judges.protocol.deviations(dataset_of(self.config.name, real.source.place))
            ),
            seconds_per_clip=_seconds_per_clip(fake),
            notes=notes or {},
        )

    def _clips(self, network: str, side: Side) -> Refs:
        """All clips of a side that a network's metrics need."""
        metrics = [m for m in self.config.eval.metrics if NETWORK_OF.get(m) == network]
        if side.name == "real" and all(metric in ALONE for metric in metrics):
            return ()
        if side.name == "real" and self._takes_all(network):
            return all_frames(side.source.videos, self.judges.protocol.frames)
        refs = [ref for draw in side.plan.draws for ref in draw]
        return refs + list(side.plan.floor.second if side.plan.floor else ())

    def _takes_all(self, network: str) -> bool:
        """Whether real frames are taken of whole videos."""
        per_frame = self.judges.describers[network].per_frame
        return per_frame and self.judges.protocol.fid_frames == "all"

    def _measure(self, metric: str, real: Side, fake: Side) -> Number:
        network = NETWORK_OF[metric]
        stores = {"real": real.stores[network], "fake": fake.stores[network]}
        sets = Sets(real.plan.draws, fake.plan.draws, real.plan.floor)
        if self._takes_all(network):
            whole = self._clips(network, real)
            sets = Sets([whole] * len(fake.plan.draws), fake.plan.draws, _halves(whole), True)
        settings = self.config.eval
        number = measure(metric, sets, stores, self.judges.protocol, settings.resamples)
        weights = {network: self.judges.describers[network].weights}
        return replace(
            number,
            network=network,
            protocol_hash=self.judges.protocol.with_networks(weights).hash,
            note=_NOTES.get(metric, ""),
        )


def _halves(whole: Refs) -> Halves | None:
    """The frames of every second video against those of the others."""
    order = list(dict.fromkeys(ref.video.name for ref in whole))
    if len(order) < 4:
        return None
    first = set(order[::2][: len(order) // 2])
    second = set(order[1::2])
    return Halves(
        tuple(ref for ref in whole if ref.video.name in first),
        tuple(ref for ref in whole if ref.video.name in second),
        False,
    )


def _seconds_per_clip(fake: Side) -> float | None:
    keys = list(dict.fromkeys(ref.key for draw in fake.plan.draws for ref in draw))
    for store in fake.stores.values():
        # The median: the first clips wait for memory and kernels, others for a busy machine.
        seconds = median(store.seconds(keys))
        return float(f"{seconds:.4g}") if seconds else None
    return None
