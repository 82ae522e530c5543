"""TensorBoard's event files, where the package is installed."""

from collections.abc import Mapping
from pathlib import Path

from latte_cli.runtime.errors import ConfigError

_GROUPS = {"loss": "loss", "mse": "loss", "vlb": "loss", "val_loss": "held-out loss"}
MEASURED = "eval_"
"""What the numbers of evaluations begin with, before the metric's name."""

_BY_QUARTER = {"loss": "loss by noise", "val_loss": "held-out loss by noise"}


class TensorBoard:
    """Writes logged steps as curves.

    Args:
        folder: of the event files.

    Raises:
        ConfigError: if the package is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                f"train.tensorboard is true, but TensorBoard cannot be imported ({error})",
                hint="pip install 'latte-cli[tensorboard]', or -o train.tensorboard=false: "
                "metrics.jsonl holds the same numbers",
            ) from error
        self._folder, self._writer_of = folder, SummaryWriter
        self._writer: SummaryWriter | None = None

    def begin(self, step: int) -> None:
        """Go on after a step; what was written of later ones is hidden."""
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer = self._writer_of(str(self._folder), purge_step=step + 1 if step else None)

    def write(self, row: Mapping[str, float | None]) -> None:
        """Add a line of metrics.jsonl; what is not known is left out."""
        assert self._writer is not None, "begin comes first"
        step = row["step"]
        for key, value in row.items():
            if key != "step" and value is not None:
                self._writer.add_scalar(_curve(key), value, step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def _curve(key: str) -> str:
    """A curve's name: its group, then itself."""
    plain, _, quarter = key.rpartition("_q")
    if plain in _BY_QUARTER:
        return f"{_BY_QUARTER[plain]}/quarter {quarter}"
    if key.startswith(MEASURED):
        return f"evaluation/{key.removeprefix(MEASURED)}"
    return f"{_GROUPS.get(key, 'run')}/{key}"
