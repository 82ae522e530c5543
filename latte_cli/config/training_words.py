"""The command that trains on latents which do not lie where a preset alone would look."""

import json
from pathlib import Path

from latte_cli.config import Config, flatten, load_config
from latte_cli.config.locations import Locations


def training_words(
    preset: str | None, config: Config, locations: Locations, latents: Path
) -> list[str]:
    """The words after `latte` that train on these latents.

    Args:
        preset: that latents were encoded for; None: none was given, and one is to be chosen.
        config: how they were encoded: the preset, changed by options and overrides.
        locations: of the same command.
        latents: the folder where they lie.

    Returns:
        The preset, and every value of the data and the autoencoder that it has otherwise; nothing
        if there is none.
    """
    own = load_config(preset)
    ours, theirs = flatten(config.model_dump()), flatten(own.model_dump())
    other = {
        key: value
        for key, value in ours.items()
        if key.startswith(("data.", "vae.")) and value != theirs[key]
    }
    if locations.data(config) == locations.data(own):
        other.pop("data.root", None)
    if latents != locations.latents(config):
        other["data.latents"] = str(latents)
    values = (f"{key}={_as_yaml(value)}" for key, value in other.items())
    words = [word for value in values for word in ("-o", value)]
    return ["train", "--preset", preset or "PRESET", *words] if words else []


def _as_yaml(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
