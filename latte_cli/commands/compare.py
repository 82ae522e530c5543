"""`latte eval RESULT RESULT…`: numbers side by side, if they can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.evaluation.paired import protocols, refuse_other_frames
from latte_cli.evaluation.results.files import read_result, refuse_incomparable
from latte_cli.evaluation.results.tables import Table, comparison
from latte_cli.runtime.errors import ConfigError


@dataclass(frozen=True)
class Comparison:
    """Results of one protocol, side by side."""

    table: Table
    values: list[dict[str, Any]]
    protocol: str

    def tables(self) -> list[Table]:
        """A row a metric."""
        return [self.table]

    def facts(self) -> dict[str, Any]:
        """The protocol that all share."""
        return {"protocol": self.protocol}

    def as_values(self) -> dict[str, Any]:
        """The same for `--json`."""
        return {"protocol": self.protocol, "metrics": self.values}


def run(paths: Sequence[Path]) -> Comparison:
    """Result files side by side, if they are of one protocol.

    Raises:
        ConfigError: if there is but one.
        DataError: if one is no result, of another protocol, or against other videos.
    """
    if len(paths) < 2:
        raise ConfigError("one result, nothing to compare it with", hint="give two result files")
    names, results = [str(path) for path in paths], [read_result(path) for path in paths]
    metrics = refuse_incomparable(names, results)
    refuse_other_frames(names, results)
    table, values = comparison(names, results, metrics)
    return Comparison(table, values, protocols(results[0], metrics))
