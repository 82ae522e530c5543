"""The command line's tools: commands that look at, plan or carry over what the road makes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latte_cli.cli.front import (
    Checkpoint,
    Overrides,
    Preset,
    RunOfCheckpoint,
    RunsRoot,
    boundary,
    choose_checkpoint,
    finish,
    read_config,
)
from latte_cli.cli.sampling_options import parse_prompts, parse_size
from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.commands.calibrate import CalibrateResult
    from latte_cli.runtime.console import Console

app = typer.Typer()

# Those that are not called as what they set.
_OPTIONS = {"override": "-o", "text_device": "--text-encoder", "text_bits": "--text-encoder-bits"}


@app.command()
def similarity(
    clips: Annotated[
        list[Path], typer.Argument(metavar="CLIPS...", help="Videos, and folders of videos.")
    ],
    preset: Preset = None,
    checkpoint: Checkpoint = None,
    timestep: Annotated[
        list[int] | None, typer.Option(help="How noisy clips are; default: half of all steps.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Class of the clips, by number or name; default: none.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("-n", min=1, help="Clips to take at most; default: all.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the noise.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Clips at a time.")] = None,
    run: RunOfCheckpoint = None,
    out: Annotated[Path | None, typer.Option(help="Default: similarity/NAME.")] = None,
    override: Overrides = None,
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Show how alike a clip's frames are at each block of a network: numbers and a picture."""
    with boundary() as console:
        from latte_cli.commands import similarity as command

        given = {"sample.seed": seed, "sample.batch": batch}
        config, path = choose_checkpoint(
            console, preset, checkpoint, override, given, runs_root, run
        )
        options = command.SimilarityOptions(
            checkpoint=path,
            clips=tuple(clips),
            timesteps=tuple(timestep or ()),
            label=label,
            limit=count,
            out=out or Path("similarity") / config.name,
        )
        return finish(console, command.run(config, console, options))


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(help="Checkpoint folder, .pt, .safetensors or diffusers' folder.")
    ],
    target: Annotated[Path, typer.Argument(help="What to write: a folder, .pt or .safetensors.")],
    to: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="latte, pt, safetensors, diffusers; default: by name."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Load it again and show the largest difference.")
    ] = False,
    heads: Annotated[
        int | None, typer.Option(min=1, help="Of a published file of an unpublished width.")
    ] = None,
    preset: Preset = None,
    override: Overrides = None,
) -> object:
    """Turn weights into another format: Latte's, DiT's, PixArt-alpha's, diffusers', ours."""
    with boundary() as console:
        from latte_cli.commands import convert as command

        config = read_config(preset, override, {})
        options = command.ConvertOptions(
            source=source,
            target=target,
            format=command.format_named(to),
            heads=heads,
            check=check,
            preset=preset is not None,
        )
        return finish(console, command.run(config, console, options))


@app.command()
def calibrate(
    prompt: Annotated[
        list[str] | None, typer.Argument(help="What clips of --model show; default: four of ours.")
    ] = None,
    preset: Preset = None,
    checkpoint: Checkpoint = None,
    model: Annotated[
        str | None, typer.Option(help="Text-to-video pipeline, as for `latte t2v`.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Text, CSV or JSONL file of prompts.")
    ] = None,
    speed: Annotated[
        list[str] | None, typer.Option(metavar="2x", help="Several make several; default: 2x, 3x.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps.")] = None,
    sampler: Annotated[str | None, typer.Option(help="ddpm, ddim, dpm++, unipc or euler.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="1 is off.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames of a clip.")] = None,
    count: Annotated[
        int | None, typer.Option("-n", min=1, help="Clips to look at; default: 8, of text 4.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of those clips.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bf16 or auto.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Clips at a time.")] = None,
    negative: Annotated[str | None, typer.Option(help="Text to lead away from.")] = None,
    eta: Annotated[
        float | None, typer.Option(min=0, max=1, help="Noise that ddim adds, for --model.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="N|HxW", help="Pixels, for --model; default: as trained.")
    ] = None,
    text_encoder: Annotated[str | None, typer.Option(help="auto, or cpu: off the GPU.")] = None,
    text_encoder_bits: Annotated[
        int | None, typer.Option(help="8 or 4: a smaller text encoder.")
    ] = None,
    run: RunOfCheckpoint = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default: beside the weights.")] = None,
    override: Overrides = None,
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Find what drawing can skip: schedules for `latte sample --speed 2x`, and `latte t2v`."""
    with boundary() as console:
        from latte_cli.commands import calibrate as command

        options = command.CalibrateOptions(tuple(speed or ("2x", "3x")), count, out)
        common: dict[str, Any] = {
            **{"steps": steps, "sampler": sampler, "guidance": guidance},
            **{"seed": seed, "precision": precision},
        }
        for_text: dict[str, Any] = {
            **{"negative": negative, "eta": eta, "size": parse_size(size)},
            **{"text_device": text_encoder, "text_bits": text_encoder_bits},
        }
        for_checkpoint: dict[str, Any] = {
            **{"preset": preset, "checkpoint": checkpoint, "run": run},
            **{"batch": batch, "override": override},
        }
        if model is not None or prompt or prompts is not None:
            ways = {"--model": model, "PROMPT": prompt, "--prompts": prompts}
            leave = " and ".join(way for way, value in ways.items() if value)
            _refuse_given(for_checkpoint, "a text-to-video pipeline", f"leave {leave} out")
            asked = parse_prompts(prompt, prompts, None) if prompt or prompts else ()
            given = {**common, **for_text, "frames": frames, "model": model}
            drawing = command.T2VOptions(
                asked, **{key: value for key, value in given.items() if value is not None}
            )
            return _told(console, command.run_for_text(drawing, console, options))
        _refuse_given(for_text, "a checkpoint", "name a pipeline by --model")
        flags = {f"sample.{key}": value for key, value in {**common, "batch": batch}.items()}
        config, path = choose_checkpoint(
            console, preset, checkpoint, override, flags, runs_root, run
        )
        return _told(console, command.run(config, console, path, options, frames))


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="Show this one, resolved.")] = None,
    override: Overrides = None,
    models: Annotated[
        bool, typer.Option("--models", help="What each variant and size costs, counted.")
    ] = False,
) -> None:
    """List the presets, or show one with where each value comes from."""
    with boundary() as console:
        from latte_cli.commands import presets as command

        shown = command.run(name, override or [], models=models)
        for number, table in enumerate(shown.tables[: 1 if console.as_json else None]):
            if number:
                typer.echo()
            console.table(table.header, table.rows, shown.values)
        if shown.note and not console.as_json:
            console.say(shown.note)


def _told(console: "Console", result: "CalibrateResult") -> object:
    """Print what calibration found, each of its files on a line, which is not wrapped."""
    if console.as_json:
        return finish(console, result)
    console.result({key: value for key, value in vars(result).items() if key != "speeds"})
    for each in result.speeds:
        typer.echo(
            f"{each.fewer_blocks:.4g} times fewer blocks, {each.psnr_db:.1f} dB: {each.path}"
        )
    return result


def _refuse_given(values: Mapping[str, Any], what: str, hint: str) -> None:
    """Raise ConfigError on options that have no meaning for what is asked for."""
    for name, value in values.items():
        if value not in (None, []):
            option = _OPTIONS.get(name, f"--{name}")
            raise ConfigError(f"{option} is not for {what}", hint=hint)
