"""Options that several commands share, and the parsing of prompts, sizes and output paths."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.text.prompts import Prompt

Preset = Annotated[
    str | None,
    typer.Option("--preset", "-p", metavar="P", help="Preset name or YAML file (`latte presets`)."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-o", metavar="KEY=VALUE", help="Override a preset value, e.g. train.lr=2e-4."),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(help="Checkpoint folder, run folder (its newest), weights file or `embedded`."),
]
Run = Annotated[str | None, typer.Option(help="Use the newest checkpoint of this run.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Denoising steps.")]
Sampler = Annotated[str | None, typer.Option(help="ddpm, ddim, dpm++, unipc or euler.")]
Guidance = Annotated[
    float | None, typer.Option(min=0, help="Classifier-free guidance scale; 1: off.")
]
Batch = Annotated[int | None, typer.Option(min=1, help="Clips per batch.")]
Precision = Annotated[str | None, typer.Option(help="float32, bf16 or auto.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what another command made.")]
PromptFile = Annotated[Path | None, typer.Option(help="Text, CSV or JSONL file of prompts.")]
DataRoot = Annotated[Path, typer.Option(envvar="LATTE_DATA", help="Folder of prepared data sets.")]
LatentsRoot = Annotated[Path, typer.Option(envvar="LATTE_LATENTS", help="Folder of latents.")]
RunsRoot = Annotated[Path, typer.Option(envvar="LATTE_RUNS", help="Folder of training runs.")]


def nonempty_path(text: str) -> Path:
    """A path; an empty text, such as a variable that is not set, would become `.`."""
    if not text:
        raise typer.BadParameter("is empty; use `.` for the current folder")
    return Path(text)


def split_overrides(given: list[str] | None, out: Path | None) -> tuple[list[str], Path | None]:
    """Separate the two uses of `-o`: `KEY=VALUE` is an override, all else is an output path.

    Args:
        given: the values of `-o`.
        out: the value of `--out`.

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
    paths = [Path(text) for text in others] + ([out] if out else [])
    if len(paths) > 1:
        raise ConfigError(
            f"several output paths: {', '.join(map(str, paths))}", hint="give only one"
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
