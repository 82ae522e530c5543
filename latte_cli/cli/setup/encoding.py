"""Encoding before training, where a data set is prepared and its latents are missing."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from latte_cli.cli.downloads import confirms
from latte_cli.cli.options import NETWORK, option
from latte_cli.cli.usage.next_steps import encode_words
from latte_cli.runtime.distributed import world_size
from latte_cli.runtime.errors import ConfigError, DataError

if TYPE_CHECKING:
    from latte_cli.config import Config
    from latte_cli.config.locations import Locations
    from latte_cli.runtime.console import Console

Yes = Annotated[
    bool,
    option(
        NETWORK,
        "Encode the data set first, without asking, if it is prepared but not encoded.",
        "--yes",
        "-y",
    ),
]


@dataclass(frozen=True)
class EncodeOffer:
    """The offer to encode a prepared data set whose latents are missing or incomplete.

    Several processes get none: `latte encode-latents` divides the work among them.

    Attributes:
        console: asks on a terminal, and shows the progress.
        config: of the run.
        locations: of data and latents.
        yes: whether `--yes` is given.
    """

    console: "Console"
    config: "Config"
    locations: "Locations"
    yes: bool

    @property
    def applies(self) -> bool:
        """Whether there is anything to encode."""
        from latte_cli.data.manifest import MANIFEST

        if self.config.data.source == "pixels" or world_size() > 1:
            return False
        if not (self.locations.data(self.config) / MANIFEST).is_file():
            return False
        return not (self._has_texts and _is_whole(self.locations.latents(self.config)))

    @property
    def _has_texts(self) -> bool:
        """Whether captions are encoded, or not needed."""
        texts = self.locations.texts(self.config)
        names = ("meta.json", "index.safetensors")
        of_text = self.config.model.condition == "text"
        return not of_text or all((texts / name).is_file() for name in names)

    def make(self) -> None:
        """Ask, unless `--yes` is given, and encode.

        Raises:
            DataError: if there are no latents, and the user does not agree.
            LatteError: as `latte encode-latents`.
        """
        data, latents = (f(self.config) for f in (self.locations.data, self.locations.latents))
        what = "not encoded" if not _is_whole(latents) else "its captions are not encoded"
        question = f"{data} is prepared, but {what}. Encode now?"
        if not (self.yes or confirms(self.console, question)):
            if (latents / "meta.json").is_file():
                return  # training says what is missing
            command = shlex.join(("latte", *encode_words()))
            hint = "--yes makes them first, or this does:"
            raise DataError(f"{latents}: no latents here", hint=hint, command=command)
        from latte_cli.commands import encode_latents

        options = encode_latents.EncodeOptions()
        result = encode_latents.run(self.config, self.locations, self.console, options)
        if isinstance(result, encode_latents.EncodeResult):
            self.console.info(f"encoded {result.videos} videos into {result.out}")


def configs_to_encode(
    preset: str | None,
    overrides: Sequence[str],
    flags: Mapping[str, Any],
    locations: "Locations",
    out: Path | None,
) -> "dict[Path, Config]":
    """What is to be encoded, by the folder of its latents: for all stages of a preset, once each.

    Args:
        preset: its name or path; None: the schema's defaults.
        overrides: `KEY=VALUE`.
        flags: values by dotted key.
        locations: of data and latents.
        out: the folder to use in place of the default one.

    Raises:
        ConfigError: if one folder is named, but the stages need several.
    """
    from latte_cli.config import load_config, load_stages

    stages = load_stages(preset, overrides, flags)
    configs = [stage.config for stage in stages] or [load_config(preset, overrides, flags)]
    found = {locations.latents(config): config for config in configs}
    if out is None:
        return found
    if len(found) > 1:
        raise ConfigError(
            f"--out {out} is one folder, but the stages of {preset} need {len(found)}",
            hint="leave --out out, or choose one size by --size",
        )
    return {out: configs[-1]}


def _is_whole(latents: Path) -> bool:
    """Whether a folder holds the latents of as many videos as it promises."""
    if not (latents / "meta.json").is_file():
        return False
    from latte_cli.data.latents.reading import INDEX, require_meta

    promised = require_meta(latents).videos
    index = latents / INDEX
    if not promised or not index.is_file():
        return index.is_file()
    with index.open("rb") as lines:
        return sum(1 for _ in lines) >= promised
