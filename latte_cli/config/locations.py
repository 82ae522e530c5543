"""Paths of data sets, latents, runs and the weights inside the package."""

from dataclasses import dataclass
from pathlib import Path

from latte_cli.config.schema import Config
from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.runtime.remote.urls import local_path

EMBEDDED = "embedded"
"""Used instead of a path: the weights that ship inside the package."""

EMBEDDED_PIPELINE = "t2v-shapes"
"""The pipeline that ships, among the package's assets."""

CAPTIONS = "captions"
"""The data set of videos with captions, as `latte prepare` names it."""

OF_DATA = ("manifest.jsonl", "meta.json", "rejected.jsonl")
"""The tables of a data set."""

_OF_LATENTS = ("meta.json", "index.jsonl")
_OF_TEXTS = ("meta.json", "index.safetensors")


@dataclass(frozen=True)
class Locations:
    """The root folders, as set by `--data-root` and others or by environment variables.

    Those that lie elsewhere, at a URL, are its mirrors.
    """

    data_root: Path = Path("data")
    latents_root: Path = Path("latents")
    runs_root: Path = Path("runs")

    def data(self, config: Config) -> Path:
        """Folder of the prepared data set: of `data.names` the first that is here, or its latents.

        Without any, it is that of the last name: the preset's base, whose data set it shares, or
        with text that of `latte prepare captions`.
        """
        if config.data.root:
            return local_path(config.data.root)
        names = _names(config)
        for name in names:
            folder = self.data_root / name
            if folder.is_dir() or self._latents(config, name).is_dir():
                return folder
        return self.data_root / names[-1]

    def fetch(self, config: Config) -> None:
        """Fetch manifest and indexes of what lies elsewhere, once where a command begins.

        Raises:
            RemoteError: if a place cannot be reached, or refuses.
        """
        from latte_cli.runtime.remote.folders import fetch_files

        for name in () if config.data.root else _names(config):
            fetch_files(self.data_root / name, OF_DATA)
            fetch_files(self._latents(config, name), _OF_LATENTS)
        fetch_files(self.data(config), OF_DATA)
        fetch_files(self.latents(config), _OF_LATENTS)
        if config.model.condition == "text":
            fetch_files(self.texts(config), _OF_TEXTS)

    def latents(self, config: Config) -> Path:
        """Folder of the latents for this data set, size and autoencoder."""
        return self._latents(config, self.data(config).name)

    def _latents(self, config: Config, name: str) -> Path:
        if config.data.latents:
            return local_path(config.data.latents)
        vae = Path(config.vae.path).name or "vae"
        return self.latents_root / f"{name}-{config.data.size}-{vae}"

    def texts(self, config: Config) -> Path:
        """Folder of the encoded captions for this data set and encoder."""
        if config.data.texts:
            return local_path(config.data.texts)
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


def _names(config: Config) -> tuple[str, ...]:
    """The data sets that a preset looks for, the first that is there being its own.

    With text that of `latte prepare captions` is the last, unless the preset is of another one.
    """
    names = config.data.names or (config.name,)
    takes_captions = config.model.condition == "text" and config.name in names
    return (*names, CAPTIONS) if takes_captions else names


def asset(name: str) -> Path:
    """A folder of weights inside the package; it may not exist."""
    return Path(__file__).resolve().parents[1] / "assets" / name


_SHIPPED_WITH = {"shapes": "shapes-fast"}
"""Presets with which another preset's network ships, which is better."""


def shipped_network(preset: str) -> Path:
    """The folder of the network that ships with a preset; it may not exist."""
    return asset(_SHIPPED_WITH.get(preset, preset))


def shipped_networks() -> list[Path]:
    """The folders of all networks that ship with presets."""
    return sorted(path.parent for path in asset("").glob("*/config.yaml"))


_SAYS_WHAT_IT_IS = ("config.yaml", "model_index.json")  # of a network, of a pipeline


def pipeline_path(text: str) -> Path:
    """The folder of a pipeline; `embedded` is the one that ships inside the package."""
    return asset(EMBEDDED_PIPELINE) if text == EMBEDDED else Path(text)


def weights_path(text: str) -> Path:
    """The path of weights to begin from; `embedded/NAME` are those that ship inside the package.

    Raises:
        CheckpointError: if none of that name ship.
    """
    kind, _, name = text.partition("/")
    if kind != EMBEDDED or not name:
        return Path(text)
    known = {path.parent.name for each in _SAYS_WHAT_IT_IS for path in asset("").glob(f"*/{each}")}
    if name in known:
        return asset(name)
    raise CheckpointError(
        f"{text}: no such network ships with the package",
        hint=" or ".join(f"{EMBEDDED}/{each}" for each in sorted(known)),
    )
