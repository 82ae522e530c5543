"""Paths of data sets, latents, runs, caches and the weights inside the package."""

import os
from dataclasses import dataclass
from pathlib import Path

from latte_cli.config.schema import Config
from latte_cli.runtime.errors import ConfigError

EMBEDDED = "embedded"
"""Used instead of a path: the weights that ship inside the package."""


@dataclass(frozen=True)
class Locations:
    """The root folders, as set by `--data-root` and others or by environment variables."""

    data_root: Path = Path("data")
    latents_root: Path = Path("latents")
    runs_root: Path = Path("runs")

    def data(self, config: Config) -> Path:
        """Folder of the prepared data set: of `data.names` the first that is here, or its latents.

        Without any, it is that of the last name: the preset's base, whose data set it shares.
        """
        if config.data.root:
            return Path(config.data.root)
        names = config.data.names or (config.name,)
        for name in names:
            folder = self.data_root / name
            if folder.is_dir() or self._latents(config, name).is_dir():
                return folder
        return self.data_root / names[-1]

    def latents(self, config: Config) -> Path:
        """Folder of the latents for this data set, size and autoencoder."""
        return self._latents(config, self.data(config).name)

    def _latents(self, config: Config, name: str) -> Path:
        if config.data.latents:
            return Path(config.data.latents)
        vae = Path(config.vae.path).name or "vae"
        return self.latents_root / f"{name}-{config.data.size}-{vae}"

    def texts(self, config: Config) -> Path:
        """Folder of the encoded captions for this data set and encoder."""
        if config.data.texts:
            return Path(config.data.texts)
        encoder = Path(config.text.path).name or "encoder"
        return self.latents_root / f"{self.data(config).name}-text-{encoder}"

    def run(self, config: Config, name: str | None = None) -> Path:
        """Folder of a run; its name is the preset's unless another is given.

        Raises:
            ConfigError: if that is a path.
        """
        if name is not None and (name != (last := Path(name).name) or last == ".."):
            example = f", --run {last}" if last.strip(".") else ""
            raise ConfigError(
                f"--run {name} is a path",
                hint=f"give a run's name{example}; --runs-root is the folder of runs",
            )
        return self.runs_root / (name or config.name)


def asset(name: str) -> Path:
    """A folder of weights inside the package; it may not exist."""
    return Path(__file__).resolve().parents[1] / "assets" / name


def cache_folder() -> Path:
    """The user's cache folder for files that can be recreated: `XDG_CACHE_HOME/latte`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latte"
