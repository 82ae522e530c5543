"""Options that several commands share, and the parsing of prompts, sizes and output paths."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latte_cli.cli.setup import completion
from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.runtime.console import Console
    from latte_cli.text.prompts import Prompt

NETWORK = "Preset and network"
CLIPS = "Clips"
SAMPLING = "Sampling"
LONG = "Long videos and first frames"
SPEED = "Speed and memory"
OUTPUT = "Output and folders"
"""Panels of the help."""


def option(panel: str, help_text: str, *names: str, **settings: Any) -> Any:
    """An option in a panel of the help.

    Args:
        panel: the heading that it stands below.
        help_text: whole sentences; each can be read alone.
        *names: such as `--preset` and `-p`; none: the parameter's.
        **settings: of Typer's option.
    """
    if "--preset" in names:
        settings.setdefault("autocompletion", completion.presets)
    return typer.Option(*names, help=help_text, rich_help_panel=panel, **settings)


_PRESET = "Name of a preset, or your own YAML file; `latte presets` lists all."
NEEDED_WITHOUT_CHECKPOINT = (
    "Required, unless --checkpoint is given. Name of a preset, or your own YAML file: the newest "
    "checkpoint of its run is used."
)
RequiredPreset = Annotated[
    str | None, option(NETWORK, f"Required. {_PRESET}", "--preset", "-p", metavar="NAME")
]
Overrides = Annotated[
    list[str] | None,
    option(
        NETWORK,
        "Set a value of the preset, such as train.lr=2e-4. May be given several times.",
        "-o",
        metavar="KEY=VALUE",
        autocompletion=completion.overrides,
    ),
]
Checkpoint = Annotated[
    str | None,
    option(
        NETWORK,
        "Use these weights: a checkpoint, a run (its newest checkpoint), a file of weights, or "
        "`embedded` for the network that ships with the preset.",
        metavar="PATH",
        autocompletion=completion.checkpoints,
    ),
]
Run = Annotated[
    str | None,
    option(
        NETWORK,
        "Use the newest checkpoint of this run, named in --runs-root.",
        metavar="NAME",
        autocompletion=completion.runs,
    ),
]
Steps = Annotated[
    int | None,
    option(SAMPLING, "Take this many denoising steps; fewer are faster.", min=1, metavar="N"),
]
Sampler = Annotated[
    str | None,
    option(
        SAMPLING,
        "Denoise with ddpm, ddim, dpm++, unipc or euler.",
        metavar="NAME",
        autocompletion=completion.choices("ddpm", "ddim", "dpm++", "unipc", "euler", "flow-map"),
    ),
]
Guidance = Annotated[
    float | None,
    option(
        SAMPLING,
        "Scale of classifier-free guidance: a larger one follows the label more closely; 1 turns "
        "guidance off, which is twice as fast.",
        min=0,
        metavar="X",
    ),
]
Batch = Annotated[
    int | None, option(SPEED, "Compute this many clips at a time.", min=1, metavar="N")
]
Precision = Annotated[
    str | None,
    option(
        SPEED,
        "Compute in float32 or bf16; auto chooses by the device.",
        metavar="NAME",
        autocompletion=completion.choices("auto", "bf16", "float32"),
    ),
]
SequenceParallel = Annotated[
    int | None,
    option(
        SPEED,
        "Let N processes, started by torchrun, share each clip, if it is too large for one.",
        min=1,
        metavar="N",
    ),
]
Overwrite = Annotated[
    bool,
    option(OUTPUT, "Replace what another command made in the same place.", "--overwrite"),
]
PromptFile = Annotated[
    Path | None,
    option(
        CLIPS,
        "Read prompts from a text file (one a line), or from CSV or JSON lines with columns "
        "prompt, seed, negative and guidance.",
        metavar="FILE",
    ),
]


def path_or_url(text: str | Path) -> Path:
    """A path; of a URL such as s3://BUCKET/FOLDER its mirror.

    An empty text, such as a variable that is not set, would become `.`.
    """
    if not str(text):
        raise typer.BadParameter("is empty; use `.` for the current folder")
    from latte_cli.runtime.errors import RemoteError
    from latte_cli.runtime.remote.urls import local_path

    try:
        return local_path(str(text))
    except RemoteError as error:
        raise typer.BadParameter(f"{error}; {error.hint}") from error


def _root(what: str, variable: str) -> Any:
    """The option of a folder that all commands look for something in."""
    help_text = f"Look for {what} in this folder, or below this URL such as s3://BUCKET/FOLDER."
    return option(OUTPUT, help_text, envvar=variable, metavar="DIR", parser=path_or_url)


DataRoot = Annotated[Path, _root("prepared data sets", "LATTE_DATA")]
LatentsRoot = Annotated[Path, _root("latents", "LATTE_LATENTS")]
RunsRoot = Annotated[Path, _root("training runs", "LATTE_RUNS")]
FeaturesRoot = Annotated[
    Path,
    option(
        OUTPUT,
        "Keep features in this folder: what the metrics' networks see in clips, computed once.",
        envvar="LATTE_FEATURES",
        metavar="DIR",
    ),
]


def split_overrides(
    given: list[str] | None, out: Path | None, console: "Console"
) -> tuple[list[str], Path | None]:
    """The overrides of `-o`, and the output path, which `-o` also named in earlier versions.

    Args:
        given: the values of `-o`.
        out: the value of `--out`.
        console: says that a path belongs to `--out`.

    Returns:
        The overrides, and the output path if there is one.

    Raises:
        ConfigError: if there are several output paths, or one is a configuration key.
    """
    from latte_cli.config import known_keys

    overrides = [text for text in given or () if "=" in text]
    others = [text for text in given or () if "=" not in text]
    for key in known_keys():
        if key in others:
            raise ConfigError(
                f"`-o {key}` has no value",
                hint=f"-o {key}=VALUE; or -o ./{key} for a folder of that name",
            )
    for text in others:
        console.warning(f"-o sets values, KEY=VALUE; write --out {text} for the place of the clips")
    paths = [Path(text) for text in others] + ([out] if out else [])
    if len(paths) > 1:
        raise ConfigError(
            f"several output paths: {', '.join(map(str, paths))}",
            hint="give --out once, and no path to -o",
        )
    return overrides, paths[0] if paths else None


def parse_prompts(
    given: list[str] | None, path: Path | None, vbench: Path | None
) -> "tuple[Prompt, ...]":
    """Prompts of the command line or of a file; none if VBench's list is used.

    Raises:
        ConfigError: if there is no source of prompts or several, or the file cannot be read.
    """
    from latte_cli.text.prompts import Prompt, one_line, read_prompts

    sources = bool(given) + (path is not None) + (vbench is not None)
    if sources != 1:
        raise ConfigError(
            "prompts given in several ways" if sources else "no prompt",
            hint='give a prompt such as "a raccoon playing guitar", or --prompts FILE',
        )
    if path is not None:
        return tuple(read_prompts(path))
    return tuple(Prompt(one_line(text)) for text in given or ())


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Parse `512` or `384x640` (height first) into height and width.

    Raises:
        ConfigError: if it is neither.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigError(
            f"--size {text} is not a size", hint="--size 512, or --size 384x640 (height x width)"
        )
    return int(parts[0]), int(parts[-1])


def parse_adapters(words: Sequence[str]) -> tuple[tuple[Path, float], ...]:
    """Parse `PATH` or `PATH:SCALE`, the scale 1 by default.

    Raises:
        ConfigError: if a scale is not finite, or there is no such file or folder.
    """
    parsed = []
    for word in words:
        path, _, scale = word.rpartition(":")
        try:
            found = (Path(path), float(scale)) if path else (Path(word), 1.0)
        except ValueError:  # a colon of the path itself
            found = (Path(word), 1.0)
        if not math.isfinite(found[1]):
            raise ConfigError(f"--lora {word}: the scale is not finite", hint="--lora PATH:0.5")
        if not found[0].exists():
            raise ConfigError(
                f"--lora {found[0]}: no such file or folder",
                hint="a folder of peft's, or a .safetensors of diffusers' or kohya's layout",
            )
        parsed.append(found)
    return tuple(parsed)
