"""`latte eval --self-test`: whether numbers of this machine and these weights can be trusted."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from latte_cli.config import Config
from latte_cli.evaluation.evaluating import EvalContext
from latte_cli.evaluation.features.extractors import FeatureExtractor, open_feature_extractor
from latte_cli.evaluation.losses import Loss, compression_losses
from latte_cli.evaluation.results.tables import Table
from latte_cli.evaluation.self_test import (
    Check,
    against_itself,
    arithmetic,
    failed,
    networks,
    published,
)
from latte_cli.evaluation.sources.clip_sets import plan_source
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.metrics.protocol import protocol_from
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import CheckpointError, ConfigError

_CLIPS = 32
_WORDS = {True: "passed", False: "FAILED", None: "not tried"}


@dataclass(frozen=True)
class SelfTest:
    """What came of it.

    Attributes:
        checks: one by one.
        losses: what compression does to the user's own videos, where some were given.
        network: on whose features it was measured.
    """

    checks: tuple[Check, ...]
    losses: tuple[Loss, ...] = ()
    network: str = ""

    def tables(self) -> list[Table]:
        """The checks, and what compression does."""
        rows = [(c.name, _WORDS[c.passed], c.found, c.expected) for c in self.checks]
        shown = [Table(("check", "", "found", "expected"), rows)]
        if self.losses:
            each = [(x.name, f"{x.psnr_db:.2f}", f"{x.distance:.4g}") for x in self.losses]
            shown.append(Table(("compression of real clips", "PSNR, dB", "distance"), each))
        return shown

    def facts(self) -> dict[str, Any]:
        """What the distances are of."""
        return {"distances": f"Fréchet, on the network {self.network}"} if self.losses else {}

    def as_values(self) -> Any:
        """All of it."""
        return {
            "checks": [asdict(check) for check in self.checks],
            "compression": [asdict(loss) for loss in self.losses],
            "network": self.network,
        }

    def raise_if_failed(self) -> None:
        """Raise LatteError if a check failed."""
        if error := failed(self.checks):
            raise error


def run(config: Config, console: Console, context: EvalContext, real: Path | None) -> SelfTest:
    """Try everything that can be tried here.

    Args:
        config: of the clips that compression is tried on.
        console: tells how it goes.
        context: where weights lie, and the like.
        real: the user's own videos; None: compression is not tried.

    Raises:
        DataError: if there are no videos that are long enough.
    """
    checks = tuple(_checks(context))
    if real is None:
        return SelfTest(checks)
    clips = min(_CLIPS, config.eval.clips)
    protocol = replace(protocol_from(config), clips=clips)
    source = open_source(real, protocol, config, context.seen, console)
    plan = plan_source("real", source, protocol, 1)
    extractor = _feature_extractor(protocol.frames, context)
    losses = compression_losses(source, plan.draws[0], extractor, console)
    return SelfTest(checks, tuple(losses), extractor.name)


def _checks(context: EvalContext) -> Iterator[Check]:
    yield from arithmetic()
    yield from networks()
    yield from against_itself()
    yield from published(context.weights, trust_torchscript=context.trust_torchscript)


def _feature_extractor(frames: int, context: EvalContext) -> FeatureExtractor:
    """FVD's network where its weights are and clips are long enough for it, else the judge."""
    trust = context.trust_torchscript
    try:
        return open_feature_extractor(
            "i3d", frames, context.weights, trust_torchscript=trust, download=False
        )
    except (CheckpointError, ConfigError):
        return open_feature_extractor("random3d", frames, None, trust_torchscript=False)
