"""What the options of `latte eval` say: where fakes come from, and under which configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latte_cli.errors import ConfigError
from latte_cli.front import choose_checkpoint, read_config

if TYPE_CHECKING:
    from latte_cli.commands.curve import CurveRun
    from latte_cli.commands.sweep import SweepPoint
    from latte_cli.config import Config
    from latte_cli.console import Console
    from latte_cli.locations import Locations

_ALL = "all"


@dataclass(frozen=True)
class Asked:
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
        from latte_cli.evaluation.sources import is_checkpoint

        if fake is not None and not is_checkpoint(fake):
            if checkpoint is not None or run is not None:
                raise ConfigError(
                    f"{fake} holds clips, and a checkpoint is named, too",
                    hint="give --fake, or --checkpoint or --run",
                )
            return read_config(self.preset, self.override, self.flags), fake
        if fake is None and self.preset is None and checkpoint is None:
            raise ConfigError(
                "nothing to evaluate",
                hint="give --fake FOLDER, or --preset P to draw clips from its newest checkpoint",
            )
        return self.drawn(checkpoint or (str(fake) if fake else None), run, ())

    def drawn(
        self, checkpoint: str | None, run: str | None, more: Sequence[str]
    ) -> tuple["Config", Path]:
        """A checkpoint, and how to draw from it."""
        override = [*self.override, *more]
        root = self.locations.runs_root
        config, path = choose_checkpoint(
            self.console, self.preset, checkpoint, override, self.flags, root, run
        )
        if self.preset is None:
            return config, path
        # The checkpoint tells how it was trained; how it is measured is the preset's to say.
        asked = read_config(self.preset, override, self.flags).eval
        return config.model_copy(update={"eval": asked}), path

    def run_of(self, name: str, real: Path | None) -> "CurveRun":
        """A run by its name, as it was trained."""
        from latte_cli.commands.curve import CurveRun

        folder = self.locations.runs_root / name
        if not (folder / "config.yaml").is_file():
            raise ConfigError(f"{folder}: no run", hint="--runs-root tells where runs lie")
        config = read_config(str(folder / "config.yaml"), self.override, self.flags)
        if self.preset is not None:
            asked = read_config(self.preset, self.override, self.flags)
            config = config.model_copy(update={"eval": asked.eval, "sample": asked.sample})
        return CurveRun(folder, config, real or self.locations.data(config))

    def sweep(
        self, axes: Sequence[str], fake: Path | None, checkpoint: str | None, run: str | None
    ) -> list["SweepPoint"]:
        """Every combination of `KEY=VALUE,VALUE`.

        A key is one of `sample`, a dotted one, or `checkpoint`, `cache` or `speed`.
        """
        from latte_cli.commands.sweep import SweepPoint
        from latte_cli.step_caching import CacheOptions

        points = []
        for values in product(*(self._axis(axis, run) for axis in axes)):
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
        return read_config(self.preset, self.override, self.flags)

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
