"""From the options of `latte eval` to configurations, sources and points of a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.config import Config
    from latte_cli.config.cache_options import CacheOptions
    from latte_cli.config.locations import Locations
    from latte_cli.runtime.console import Console

_ALL = "all"


@dataclass(frozen=True)
class ParsedOptions:
    """Options that several modes share: preset, overrides and locations."""

    console: "Console"
    preset: str | None
    override: list[str]
    flags: dict[str, Any]
    locations: "Locations"

    def fake_source(
        self, fake: Path | None, checkpoint: str | None, run: str | None
    ) -> tuple["Config", Path]:
        """The configuration and the path of the fakes: clips, or a checkpoint to sample from."""
        from latte_cli.checkpoints.choice import is_run
        from latte_cli.checkpoints.folder import is_checkpoint

        _check_one_source(fake, checkpoint, run)
        if fake is not None and not (is_checkpoint(fake) or is_run(fake)):
            return self.config(), fake
        if fake is None and self.preset is None and checkpoint is None:
            raise ConfigError(
                "nothing to evaluate",
                hint="give --fake FOLDER, or --preset P to sample from its newest checkpoint",
            )
        return self._checkpoint(checkpoint or (str(fake) if fake else None), run, ())

    def real_source(self, real: Path | None, config: "Config") -> Path:
        """The path of the real videos: as given, or the data set of the configuration."""
        path = real or self.locations.data(config)
        if real is None and self.preset is None and not path.exists():
            raise ConfigError(
                f"{path}: no such folder",
                hint="give --real, or --preset P for its data set",
            )
        return path

    def _checkpoint(
        self, checkpoint: str | None, run: str | None, more: Sequence[str]
    ) -> tuple["Config", Path]:
        """A checkpoint and its configuration; how it is measured follows the preset."""
        from latte_cli.checkpoints.choice import choose_checkpoint
        from latte_cli.config import load_config

        override = [*self.override, *more]
        root = self.locations.runs_root
        config, path = choose_checkpoint(
            self.console, self.preset, checkpoint, override, self.flags, root, run
        )
        if self.preset is None:
            return config, path
        settings = load_config(self.preset, override, self.flags).eval
        return config.model_copy(update={"eval": settings}), path

    def curve_run(self, name: str, real: Path | None) -> tuple[Path, "Config", Path]:
        """The fields of a `CurveRun`: a run by its name, with the configuration of its training."""
        from latte_cli.checkpoints.names import last_stage
        from latte_cli.config import load_config

        folder = last_stage(self.locations.runs_root / name)
        if not (folder / "config.yaml").is_file():
            hint = "--runs-root is the folder of runs"
            if (last := Path(name).name) != name:
                hint = f"give a run's name, not its path: --curve {last}; {hint}"
            raise ConfigError(f"{folder}: no run", hint=hint)
        config = load_config(str(folder / "config.yaml"), self.override, self.flags)
        if self.preset is not None:
            preset = self.config()
            config = config.model_copy(update={"eval": preset.eval, "sample": preset.sample})
        return folder, config, real or self.locations.data(config)

    def sweep_points(
        self, axes: Sequence[str], fake: Path | None, checkpoint: str | None, run: str | None
    ) -> list[tuple[dict[str, str], "Config", Path, "CacheOptions", float | None]]:
        """The fields of a `SweepPoint` for every combination of the values of `KEY=VALUE,VALUE`.

        A key is one of `sample`, a dotted one, or `checkpoint`, `cache`, `speed` or `ema`.
        """
        from latte_cli.config.cache_options import CacheOptions

        points, found = [], [self._axis(axis, run) for axis in axes]
        names = [pairs[0][0].removeprefix("sample.") for pairs in found]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(
                    f"{name} is swept over twice",
                    hint=f"give all values at once: {name}=VALUE,VALUE",
                )
        is_swept = "checkpoint" in names
        _check_one_source(fake, "checkpoint=…" if is_swept else checkpoint, run)
        if is_swept and checkpoint is not None:
            raise ConfigError(
                f"checkpoint is swept over, and --checkpoint {checkpoint} is named as well",
                hint="give all of them at once: --sweep checkpoint=PATH,PATH",
            )
        for values in product(*found):
            settings = dict(values)
            named = settings.get("checkpoint", checkpoint or (str(fake) if fake else None))
            more = [
                f"{key if '.' in key else 'sample.' + key}={value}"
                for key, value in settings.items()
                if key not in ("checkpoint", "cache", "speed", "ema")
            ]
            cache = CacheOptions(settings.get("cache", "off"), settings.get("speed"))
            cache.check_file()
            width = _width(settings.get("ema"))
            points.append((settings, *self._checkpoint(named, run, more), cache, width))
        return points

    def config(self) -> "Config":
        """The preset's configuration."""
        from latte_cli.config import load_config

        return load_config(self.preset, self.override, self.flags)

    def _axis(self, text: str, run: str | None) -> list[tuple[str, str]]:
        """`steps=10,50` as pairs; `checkpoint=all` as the run's checkpoints."""
        key, _, values = (part.strip() for part in text.partition("="))
        found = [value.strip() for value in values.split(",") if value.strip()]
        if key == "checkpoint" and found == [_ALL]:
            from latte_cli.checkpoints.names import last_stage
            from latte_cli.evaluation.checkpoints import list_weights

            folder = last_stage(self.locations.run(self.config(), run))
            found = list(map(str, list_weights(folder)))
        if not key or not found:
            raise ConfigError(
                f"`{text}` is nothing to sweep", hint="write for example steps=10,50,250"
            )
        return [(key, value) for value in found]


_UNUSED_BY: Mapping[str, tuple[str, ...] | None] = {  # None: all options
    "result files": None,
    "--vbench": None,
    "--vbench-results": None,
    "--show-protocol": ("--real", "--checkpoint", "--run", "--out", "--download"),
    "--self-test": ("--checkpoint", "--run", "--out", "--download"),
    "--list-weights": ("--real", "--checkpoint", "--run", "--out", "--download"),
    "--curve": ("--checkpoint", "--run"),
}


def check_effect(modes: Mapping[str, object], options: Mapping[str, object]) -> None:
    """Check that each option has an effect in the mode that is chosen.

    Args:
        modes: as in `check_one_mode`.
        options: values by the name that users know; None, False or empty: not given.

    Raises:
        ConfigError: if one has none.
    """
    mode = next((name for name, value in modes.items() if value), "")
    if mode not in _UNUSED_BY:
        return
    unused = _UNUSED_BY[mode]
    for name, value in options.items():
        given = value is not None and value is not False and value != []
        if given and (unused is None or name in unused):
            raise ConfigError(f"{name} has no effect on {mode}", hint=f"leave {name} out")


def _width(text: str | None) -> float | None:
    """The value of the axis `ema` as a number."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(
            f"ema={text}: not the relative width of an average", hint="such as ema=0.05,0.1,0.15"
        ) from error


def check_one_mode(modes: Mapping[str, object]) -> None:
    """Check that at most one mode is given.

    Args:
        modes: the option of each mode, by the name that users know.

    Raises:
        ConfigError: if more than one is set.
    """
    given = [name for name, value in modes.items() if value]
    if len(given) > 1:
        raise ConfigError(
            f"{given[0]} and {given[1]} at once", hint="each is a mode of its own: give one"
        )


def _check_one_source(fake: Path | None, checkpoint: str | None, run: str | None) -> None:
    """Raise ConfigError if `--fake` is given, and a checkpoint to sample from as well."""
    if fake is not None and (checkpoint is not None or run is not None):
        raise ConfigError(
            f"--fake {fake} is given, and a checkpoint is named as well",
            hint="give --fake, or --checkpoint or --run",
        )
