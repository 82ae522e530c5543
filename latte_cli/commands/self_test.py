"""`latte eval --self-test`: whether numbers of this machine and these weights can be trusted."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from latte_cli.config import Config
from latte_cli.evaluation.evaluating import EvalContext
from latte_cli.evaluation.features.extractors import FeatureExtractor, open_feature_extractor
from latte_cli.evaluation.protocol import protocol_from
from latte_cli.evaluation.results.tables import Table
from latte_cli.evaluation.self_test import (
    Check,
    CompressionLoss,
    against_itself,
    arithmetic,
    compression_losses,
    networks,
    published,
)
from latte_cli.evaluation.sources.clip_sets import plan_source
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import CheckpointError, ConfigError, LatteError

_CLIPS = 32
_VERDICTS = {True: "passed", False: "FAILED", None: "not run"}


@dataclass(frozen=True)
class SelfTest:
    """Result of a self-test.

    Attributes:
        checks: with their outcomes.
        losses: effect of compression on the user's own videos, if some were given.
        network: whose features the distances are of.
    """

    checks: tuple[Check, ...]
    losses: tuple[CompressionLoss, ...] = ()
    network: str = ""

    def tables(self) -> list[Table]:
        """The checks, and the effect of compression."""
        rows = [(c.name, _VERDICTS[c.passed], c.found, c.expected) for c in self.checks]
        tables = [Table(("check", "", "found", "expected"), rows)]
        if self.losses:
            each = [(x.name, f"{x.psnr_db:.2f}", f"{x.distance:.4g}") for x in self.losses]
            tables.append(Table(("compression of real clips", "PSNR, dB", "distance"), each))
        return tables

    def facts(self) -> dict[str, Any]:
        """What the distances are."""
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
        names = [check.name for check in self.checks if check.passed is False]
        if names:
            raise LatteError(
                f"{len(names)} of {len(self.checks)} checks failed: {'; '.join(names)}",
                hint="numbers measured here cannot be trusted; check weights, PyTorch and NumPy",
            )


def run(config: Config, console: Console, context: EvalContext, real: Path | None) -> SelfTest:
    """Run every check that can run on this machine.

    Args:
        config: of the clips to compress.
        console: shows the progress.
        context: folders of features and weights, and the like.
        real: the user's own videos; None: compression is not measured.

    Raises:
        DataError: if no video is long enough.
    """
    checks = []
    for check in _checks(context):
        console.info(f"checked: {check.name}")
        checks.append(check)
    if real is None:
        return SelfTest(tuple(checks))
    protocol = protocol_from(config)
    protocol = replace(protocol, clips=min(_CLIPS, protocol.clips))
    source = open_source(real, protocol, config, context.survey_cache, console)
    plan = plan_source("real", source, protocol, draws=1)
    extractor = _feature_extractor(protocol.frames, context)
    losses = compression_losses(source, plan.draws[0], extractor, console)
    return SelfTest(tuple(checks), tuple(losses), extractor.name)


def _checks(context: EvalContext) -> Iterator[Check]:
    yield from arithmetic()
    yield from networks()
    yield from against_itself()
    yield from published(context.weights, trust_torchscript=context.trust_torchscript)


def _feature_extractor(frames: int, context: EvalContext) -> FeatureExtractor:
    """FVD's network if its weights are here and clips are long enough, else the random network."""
    trust = context.trust_torchscript
    try:
        return open_feature_extractor(
            "i3d", frames, context.weights, trust_torchscript=trust, download=False
        )
    except (CheckpointError, ConfigError):
        return open_feature_extractor("random3d", frames, None, trust_torchscript=False)
