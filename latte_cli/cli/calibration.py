"""The command that calibrates caches."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.options import (
    Batch,
    Checkpoint,
    Guidance,
    Overrides,
    Overwrite,
    Precision,
    Preset,
    PromptFile,
    Run,
    RunsRoot,
    Sampler,
    Steps,
    parse_prompts,
    parse_size,
)
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.weight_files.hub import LATTE_1

if TYPE_CHECKING:
    from latte_cli.commands.calibrate import CalibrateResult
    from latte_cli.runtime.console import Console

app = typer.Typer()

_SPEEDS = ("2x", "3x")


@app.command()
def calibrate(
    prompt: Annotated[
        list[str] | None, typer.Argument(help="Prompts for --model; default: four built-in ones.")
    ] = None,
    preset: Preset = None,
    checkpoint: Checkpoint = None,
    model: Annotated[
        str | None, typer.Option(help="Text-to-video pipeline, as in `latte t2v`.")
    ] = None,
    prompts: PromptFile = None,
    speed: Annotated[
        list[str] | None,
        typer.Option(metavar="2x", help="Target speedup; may be repeated; default: 2x and 3x."),
    ] = None,
    steps: Steps = None,
    sampler: Sampler = None,
    guidance: Guidance = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames per clip.")] = None,
    count: Annotated[
        int | None,
        typer.Option("-n", min=1, help="Clips to measure; default: 8, or 4 with --model."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Random seed of the clips.")] = None,
    precision: Precision = None,
    batch: Batch = None,
    negative: Annotated[str | None, typer.Option(help="Negative prompt, for --model.")] = None,
    eta: Annotated[
        float | None, typer.Option(min=0, max=1, help="Noise added by ddim, for --model.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW", help="Frame size, for --model; default: as trained."),
    ] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="Its device, for --model: auto or cpu.")
    ] = None,
    text_encoder_bits: Annotated[
        int | None, typer.Option(help="Quantize it to 8 or 4 bits, for --model.")
    ] = None,
    run: Run = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default: next to the weights.")] = None,
    overwrite: Overwrite = False,
    override: Overrides = None,
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Find cache schedules that speed up `latte sample --speed 2x` and `latte t2v --speed 2x`."""
    with error_boundary() as console:
        from latte_cli.checkpoints.choice import choose_checkpoint
        from latte_cli.config.cache_options import parse_speed

        for target in speed or ():
            parse_speed(target)
        checks.check_output(out)
        checks.check_text_options(precision, sampler, text_encoder, None, text_encoder_bits)
        common = {
            "steps": steps,
            "sampler": sampler,
            "guidance": guidance,
            "seed": seed,
            "precision": precision,
        }
        if model is None and not prompt and prompts is None:
            for_text = {
                "--negative": negative,
                "--eta": eta,
                "--size": size,
                "--text-encoder": text_encoder,
                "--text-encoder-bits": text_encoder_bits,
            }
            _check_not_given(for_text, "a checkpoint", "name a pipeline with --model")
            flags = {f"sample.{key}": value for key, value in {**common, "batch": batch}.items()}
            config, path = choose_checkpoint(
                console, preset, checkpoint, override, flags, runs_root, run
            )
            from latte_cli.commands import calibrate as command

            options = command.CalibrateOptions(tuple(speed or _SPEEDS), count, out, overwrite)
            result = command.run(config, console, path, options, frames)
        else:
            for_checkpoint = {
                "--preset": preset,
                "--checkpoint": checkpoint,
                "--run": run,
                "--batch": batch,
                "-o": override,
            }
            text = {"--model": model, "PROMPT": prompt, "--prompts": prompts}
            hint = f"leave {' and '.join(name for name, value in text.items() if value)} out"
            _check_not_given(for_checkpoint, "a text-to-video pipeline", hint)
            checks.check_finite(guidance=guidance)
            checks.check_pipeline(model or LATTE_1)
            parsed = parse_prompts(prompt, prompts, None) if prompt or prompts else ()
            given: dict[str, Any] = {
                **common,
                "model": model,
                "frames": frames,
                "negative": negative,
                "eta": eta,
                "size": parse_size(size),
                "text_device": text_encoder,
                "text_bits": text_encoder_bits,
            }
            from latte_cli.commands import calibrate as command

            options = command.CalibrateOptions(tuple(speed or _SPEEDS), count, out, overwrite)
            t2v_options = command.T2VOptions(
                parsed, **{key: value for key, value in given.items() if value is not None}
            )
            result = command.run_for_text(t2v_options, console, options)
        return _print_calibration(console, result)


def _print_calibration(console: "Console", result: "CalibrateResult") -> object:
    """Print the result; each schedule on one line, not wrapped, so that its path can be copied."""
    if console.as_json:
        return print_result(console, result)
    console.result({key: value for key, value in vars(result).items() if key != "speeds"})
    for each in result.speeds:
        typer.echo(
            f"{each.fewer_blocks:.4g} times fewer blocks, {each.psnr_db:.1f} dB: {each.path}"
        )
    return result


def _check_not_given(options: Mapping[str, object], source: str, hint: str) -> None:
    """Raise ConfigError if one of these options has a value: it does not apply to the source."""
    for name, value in options.items():
        if value not in (None, []):
            raise ConfigError(f"{name} is not for {source}", hint=hint)
