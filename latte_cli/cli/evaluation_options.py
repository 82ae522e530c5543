"""What the options of `latte eval` say: where fakes come from, and under which configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.commands.curve import CurveRun
    from latte_cli.config import Config
    from latte_cli.config.locations import Locations
    from latte_cli.evaluation.results.points import SweepPoint
    from latte_cli.runtime.console import Console

_ALL = "all"


@dataclass(frozen=True)
class ParsedOptions:
    """What the options say of presets, checkpoints and places."""

    console: "Console"
    preset: str | None
    override: list[str]
    flags: dict[str, Any]
    locations: "Locations"

    def fakes(
        self, fake: Path | None, checkpoint: str | None, run: str | None
    ) -> tuple["Config", Path]:
        """Where fakes come from: files as they are, or a checkpoint and how to draw from it."""
        from latte_cli.evaluation.sources.opening import is_checkpoint

        if fake is not None and not is_checkpoint(fake):
            if checkpoint is not None or run is not None:
                raise ConfigError(
                    f"{fake} holds clips, and a checkpoint is named, too",
                    hint="give --fake, or --checkpoint or --run",
                )
            return self.config(), fake
        if fake is None and self.preset is None and checkpoint is None:
            raise ConfigError(
                "nothing to evaluate",
                hint="give --fake FOLDER, or --preset P to draw clips from its newest checkpoint",
            )
        return self.drawn(checkpoint or (str(fake) if fake else None), run, ())

    def reals(self, real: Path | None, config: "Config") -> Path:
        """Where real videos lie: as given, or the data set of the configuration."""
        place = real or self.locations.data(config)
        if real is None and self.preset is None and not place.exists():
            raise ConfigError(
                f"{place}: no such folder",
                hint="give --real, or --preset P for its data set",
            )
        return place

    def drawn(
        self, checkpoint: str | None, run: str | None, more: Sequence[str]
    ) -> tuple["Config", Path]:
        """A checkpoint, and how to draw from it."""
        from latte_cli.checkpoints.choice import choose_checkpoint
        from latte_cli.config import load_config

        override = [*self.override, *more]
        root = self.locations.runs_root
        config, path = choose_checkpoint(
            self.console, self.preset, checkpoint, override, self.flags, root, run
        )
        if self.preset is None:
            return config, path
        # The checkpoint tells how it was trained; how it is measured is the preset's to say.
        asked = load_config(self.preset, override, self.flags).eval
        return config.model_copy(update={"eval": asked}), path

    def run_of(self, name: str, real: Path | None) -> "CurveRun":
        """A run by its name, as it was trained."""
        from latte_cli.commands.curve import CurveRun
        from latte_cli.config import load_config

        folder = self.locations.runs_root / name
        if not (folder / "config.yaml").is_file():
            hint = "--runs-root tells where runs lie"
            if (last := Path(name).name) != name:
                hint = f"give a run's name, not its path: --curve {last}; {hint}"
            raise ConfigError(f"{folder}: no run", hint=hint)
        config = load_config(str(folder / "config.yaml"), self.override, self.flags)
        if self.preset is not None:
            asked = self.config()
            config = config.model_copy(update={"eval": asked.eval, "sample": asked.sample})
        return CurveRun(folder, config, real or self.locations.data(config))

    def sweep(
        self, axes: Sequence[str], fake: Path | None, checkpoint: str | None, run: str | None
    ) -> list["SweepPoint"]:
        """Every combination of `KEY=VALUE,VALUE`.

        A key is one of `sample`, a dotted one, or `checkpoint`, `cache` or `speed`.
        """
        from latte_cli.caching import CacheOptions
        from latte_cli.evaluation.results.points import SweepPoint

        points, found = [], [self._axis(axis, run) for axis in axes]
        _refuse_repeated([pairs[0][0] for pairs in found])
        for values in product(*found):
            settings = dict(values)
            named = settings.get("checkpoint", checkpoint or (str(fake) if fake else None))
            more = [
                f"{key if '.' in key else 'sample.' + key}={value}"
                for key, value in settings.items()
                if key not in ("checkpoint", "cache", "speed")
            ]
            cache = CacheOptions(settings.get("cache", "off"), settings.get("speed"))
            points.append(SweepPoint(settings, *self.drawn(named, run, more), cache))
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
            from latte_cli.evaluation.checkpoints import to_draw_from

            found = list(map(str, to_draw_from(self.locations.run(self.config(), run))))
        if not key or not found:
            raise ConfigError(
                f"`{text}` is nothing to sweep", hint="write for example steps=10,50,250"
            )
        return [(key, value) for value in found]


def refuse_two_modes(modes: Mapping[str, object]) -> None:
    """Refuse more than one way to evaluate, of which all but one would be ignored.

    Args:
        modes: what was given of each, by the name that users know it by.

    Raises:
        ConfigError: if it is more than one.
    """
    given = [name for name, value in modes.items() if value]
    if len(given) > 1:
        raise ConfigError(
            f"{given[0]} and {given[1]} at once", hint="each is a way to evaluate: give one"
        )


def refuse_folders(results: Sequence[Path]) -> None:
    """Refuse folders in the place of result files.

    Raises:
        ConfigError: if one is a folder.
    """
    for path in results:
        if path.is_dir():
            raise ConfigError(
                f"{path}: a folder, and no result file",
                hint=f"give files of results, or --fake {path} to evaluate the clips in it",
            )


def _refuse_repeated(keys: Sequence[str]) -> None:
    """Of a repeated axis all but one would be ignored."""
    names = [key.removeprefix("sample.") for key in keys]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"{name} is swept over twice", hint=f"give all values at once: {name}=VALUE,VALUE"
            )
