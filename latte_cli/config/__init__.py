"""The configuration: its schema, the presets, and the locations of data, latents and runs."""

from latte_cli.config.keys import describe, flatten, known_keys
from latte_cli.config.loading import (
    config_from_tree,
    drop_other_sampling,
    load_config,
    load_stages,
    objective_of,
    overlay,
)
from latte_cli.config.preset_files import preset_folder, preset_names
from latte_cli.config.schema import Config
from latte_cli.config.stages import StageConfig
from latte_cli.config.views.sources import config_sources, to_yaml
from latte_cli.config.yaml_files import read_tree

__all__ = [
    "Config",
    "StageConfig",
    "config_from_tree",
    "config_sources",
    "describe",
    "drop_other_sampling",
    "flatten",
    "known_keys",
    "load_config",
    "load_stages",
    "objective_of",
    "overlay",
    "preset_folder",
    "preset_names",
    "read_tree",
    "to_yaml",
]
