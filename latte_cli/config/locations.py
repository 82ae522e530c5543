"""Where things lie: data sets, latents, runs, and what ships inside the package."""

import os
from dataclasses import dataclass
from pathlib import Path

from latte_cli.config.schema import Config

EMBEDDED = "embedded"
"""The path that stands for what ships inside the package: no network needed."""


@dataclass(frozen=True)
class Locations:
    """Where data sets, latents and runs lie: `--data-root`, `--runs-root` and the environment."""

    data_root: Path = Path("data")
    latents_root: Path = Path("latents")
    runs_root: Path = Path("runs")

    def data(self, config: Config) -> Path:
        """The prepared data set's folder."""
        return Path(config.data.root) if config.data.root else self.data_root / config.name

    def latents(self, config: Config) -> Path:
        """The folder of latents for this data set, size and autoencoder."""
        if config.data.latents:
            return Path(config.data.latents)
        vae = Path(config.vae.path).name or "vae"
        return self.latents_root / f"{self.data(config).name}-{config.data.size}-{vae}"

    def run(self, config: Config, name: str | None = None) -> Path:
        """A run's folder; the preset's name unless another is given."""
        return self.runs_root / (name or config.name)


def asset(name: str) -> Path:
    """A folder of weights that ships inside the package; it need not exist."""
    return Path(__file__).resolve().parents[1] / "assets" / name


def cache_folder() -> Path:
    """Where what can be made again is kept for this user: `XDG_CACHE_HOME/latte`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latte"
