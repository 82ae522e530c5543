"""What each command says at its end: what it made, where, and the whole command to go on with."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latte_cli.cli.boundary import global_options
from latte_cli.cli.usage.typed_words import typed, typed_again, typed_overrides
from latte_cli.sources import DATASETS

if TYPE_CHECKING:
    from latte_cli.config import Config
    from latte_cli.config.locations import Locations
    from latte_cli.runtime.console import Console

OWN_VIDEOS = "folder"
"""The preset for videos of one's own, and for data sets without a preset."""

OWN_CAPTIONS = "t2v-256"
"""The preset for videos of one's own with captions."""


def say_next(console: "Console", said: str, *commands: Sequence[str]) -> None:
    """Say what was made and what comes next, unless another command runs this one as a step.

    Args:
        console: of the command.
        said: whole sentences; the last one introduces the commands.
        commands: their words, without `latte`.
    """
    if not (global_options.nested or global_options.raising):
        console.next_step(said, *commands)


def say_after_demo(console: "Console") -> None:
    """Say what to try after the demo."""
    clips = ["sample", "--preset", "shapes", "-n", "4", "--label", "270deg", "--out", "up"]
    said = "\nNext, sample clips that move up, or prepare videos of your own:"
    say_next(console, said, clips, ["prepare", OWN_VIDEOS, "--source", "VIDEOS"])


def prepare_words(dataset: str, out: Path) -> list[str]:
    """The command that prepares a data set; the source is left for the user to name."""
    source = {"shapes": (), "captions": ("--source", "TABLE")}.get(dataset, ("--source", "VIDEOS"))
    return ["prepare", dataset, *source, "--out", str(out)]


def after_prepare(dataset: str, out: Path, locations: "Locations", size: int | None) -> list[str]:
    """The command that encodes a data set that was prepared.

    Args:
        dataset: its kind, by which presets are named.
        out: its folder.
        locations: of the command.
        size: of its frames, if the user chose it.
    """
    from latte_cli.config import load_config, preset_names
    from latte_cli.config.locations import CAPTIONS

    preset = OWN_CAPTIONS if dataset == CAPTIONS else OWN_VIDEOS
    preset = dataset if dataset in preset_names() else preset
    words = ["encode-latents", "--preset", preset]
    if out != locations.data(load_config(preset)):
        words += ["--data", str(out)]
    words += [] if size is None else ["--size", str(size)]
    return [*words, *([] if "--data" in words else typed("--data-root"))]


def encode_words() -> list[str]:
    """The command that encodes what the user's command is to read as latents."""
    chosen = [*typed("--preset", "-p"), *typed_overrides()]
    return ["encode-latents", *chosen, *typed("--data-root", "--latents-root")]


def after_encode(
    preset: str | None, config: "Config", locations: "Locations", latents: Path
) -> list[str]:
    """The command that trains on latents that were encoded.

    Args:
        preset: that they were encoded for.
        config: how they were encoded: the preset, changed by options and overrides.
        locations: of the command.
        latents: their folder.
    """
    from latte_cli.config import preset_names

    name = locations.data(config).name
    preset = preset or (name if name in preset_names() else OWN_VIDEOS)
    words = ["train", "--preset", preset]
    words += changed_overrides(config, preset, locations, "data.", "vae.", "text.")
    if latents != locations.latents(config):
        words += ["-o", f"data.latents={latents}"]
    others = typed_overrides("model", "diffusion", "train", "sample", "eval")
    return [*words, *others, *typed("--data-root", "--latents-root")]


def say_after_plan(console: "Console", config: "Config", locations: "Locations") -> None:
    """Say which commands make what was planned, from the first that is still missing."""
    from latte_cli.data.manifest import MANIFEST

    steps = [typed_again("--plan", "--fresh")]
    data = locations.data(config)
    if not (locations.latents(config) / "meta.json").is_file():
        if config.data.source == "latents":
            steps.insert(0, encode_words())
        if not (data / MANIFEST).is_file():
            steps.insert(0, prepare_words(data.name if data.name in DATASETS else OWN_VIDEOS, data))
    named = "This command does" if len(steps) == 1 else "These commands do"
    say_next(console, f"Nothing is trained yet. {named} what was planned:", *steps)


def after_train(run: Path, condition: str) -> list[str]:
    """The command that samples from a run that was trained."""
    if condition == "text":
        return ["t2v", "A SENTENCE", "--model", str(run)]
    chosen = [*typed("--preset", "-p"), *typed("--run"), *typed_overrides("sample")]
    return ["sample", *chosen, *typed("--runs-root")]


def changed_overrides(
    config: "Config", preset: str | None, locations: "Locations", *keys: str
) -> list[str]:
    """The `-o` arguments by which a preset becomes what a configuration is.

    Args:
        config: to reach.
        preset: to begin from; None: the schema's defaults.
        locations: of the data set.
        keys: that matter, or beginnings of keys such as `data.`.
    """
    import json

    from latte_cli.config import flatten, load_config

    base = load_config(preset)
    ours, theirs = flatten(config.model_dump()), flatten(base.model_dump())
    changed = {k: v for k, v in ours.items() if k.startswith(keys) and v != theirs[k]}
    changed.pop("data.root", None)
    if (root := locations.data(config)) != locations.data(base):
        changed = {"data.root": str(root), **changed}
    values = {k: v if isinstance(v, str) else json.dumps(v) for k, v in changed.items()}
    return [word for key, value in values.items() for word in ("-o", f"{key}={value}")]
