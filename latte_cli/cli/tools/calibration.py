"""The command that calibrates caches."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.options import (
    CLIPS,
    NETWORK,
    OUTPUT,
    SPEED,
    Batch,
    Checkpoint,
    Guidance,
    Overrides,
    Overwrite,
    Precision,
    Run,
    RunsRoot,
    Sampler,
    Steps,
    option,
    parse_prompts,
    parse_size,
)
from latte_cli.cli.usage.next_steps import say_next
from latte_cli.cli.usage.typed_words import typed, typed_overrides
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.weight_files.hub import LATTE_1

if TYPE_CHECKING:
    from latte_cli.commands.calibrate import CalibrateResult
    from latte_cli.runtime.console import Console

_TEXT = "For a text-to-video pipeline (--model)"
_PRESET = (
    "Required, unless --checkpoint or --model is given. Name of a preset, or your own YAML file: "
    "the newest checkpoint of its run is calibrated."
)

app = typer.Typer()

_SPEEDS = ("2x", "3x")


@app.command()
def calibrate(
    prompt: Annotated[
        list[str] | None,
        typer.Argument(help="Prompts to measure on, for --model; by default four built-in ones."),
    ] = None,
    preset: Annotated[
        str | None,
        option(NETWORK, _PRESET, "--preset", "-p", metavar="NAME"),
    ] = None,
    checkpoint: Checkpoint = None,
    run: Run = None,
    override: Overrides = None,
    model: Annotated[
        str | None,
        option(
            NETWORK,
            "Calibrate this text-to-video network instead: what `latte t2v` takes.",
            metavar="PATH",
        ),
    ] = None,
    speed: Annotated[
        list[str] | None,
        option(
            SPEED,
            "Look for a schedule that computes so many times fewer blocks; 2x and 3x by default. "
            "May be given several times.",
            metavar="2x",
        ),
    ] = None,
    steps: Steps = None,
    sampler: Sampler = None,
    guidance: Guidance = None,
    frames: Annotated[
        int | None, option(CLIPS, "Measure on clips of this many frames.", min=1, metavar="N")
    ] = None,
    count: Annotated[
        int | None,
        option(
            CLIPS,
            "Measure on this many clips; by default 8, or one of each prompt with --model.",
            "-n",
            min=1,
            metavar="N",
        ),
    ] = None,
    seed: Annotated[
        int | None, option(CLIPS, "Measure on clips from another seed.", min=0, metavar="N")
    ] = None,
    precision: Precision = None,
    batch: Batch = None,
    prompts: Annotated[
        Path | None,
        option(_TEXT, "Read the prompts from this file, as in `latte t2v`.", metavar="FILE"),
    ] = None,
    negative: Annotated[
        str | None, option(_TEXT, "Say what the clips should not show.", metavar="TEXT")
    ] = None,
    eta: Annotated[
        float | None,
        option(
            _TEXT,
            "Add noise at each step of ddim: 0 adds none, 1 as much as ddpm.",
            min=0,
            max=1,
            metavar="X",
        ),
    ] = None,
    size: Annotated[
        str | None,
        option(
            _TEXT,
            "Measure on frames of N x N or H x W pixels; by default as trained.",
            metavar="N|HxW",
        ),
    ] = None,
    text_encoder: Annotated[
        str | None,
        option(_TEXT, "Run the text encoder on this device: auto or cpu.", metavar="auto|cpu"),
    ] = None,
    text_encoder_bits: Annotated[
        int | None, option(_TEXT, "Quantize the text encoder to 8 or 4 bits.", metavar="8|4")
    ] = None,
    out: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Write the schedules to this folder; by default next to the weights, where --speed "
            "finds them.",
            metavar="DIR",
        ),
    ] = None,
    overwrite: Overwrite = False,
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Find which blocks of which denoising steps can be skipped, for `--speed 2x`.

    Examples:
      latte calibrate --preset shapes --speed 2x
      latte calibrate --model maxin-cn/Latte-1 --speed 2x

    A few clips are sampled with and without each block; `latte sample` and
    `latte t2v` then skip those that matter least. A schedule is for one
    network, one sampler and one number of steps.
    """
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
            from latte_cli.sampling.pipelines.trained import choose_pipeline

            chosen = choose_pipeline(
                model or LATTE_1, console, frames=frames, steps=steps, guidance=guidance
            )
            checks.check_pipeline(chosen.model)
            parsed = parse_prompts(prompt, prompts, None) if prompt or prompts else ()
            given: dict[str, Any] = {
                **common,
                **vars(chosen),
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
        _print_calibration(console, result)
        _say_next(console, result, out, speed[0] if speed else _SPEEDS[0])
        return result


def _say_next(console: "Console", result: "CalibrateResult", out: Path | None, speed: str) -> None:
    """Say how clips are sampled with a schedule.

    Args:
        console: of the command.
        result: the schedules.
        out: the folder that the user chose for them, where only `--cache` finds them.
        speed: of one of them.
    """
    steps = typed("--steps", "--sampler", "--guidance", "--frames", "--precision")
    if (model := typed("--model")) or not typed("--preset", "-p", "--checkpoint"):
        steps += typed("--eta", "--size", "--negative")
        words = ["t2v", "a raccoon playing guitar", *model, *steps]
    else:
        source = typed("--preset", "-p", "--checkpoint", "--run", "--runs-root")
        words = ["sample", *source, *typed_overrides(), *steps]
    words += ["--speed", speed] if out is None else ["--cache", str(result.speeds[0].path)]
    say_next(console, "The schedules are stored. Sample faster with one of them next:", words)


def _print_calibration(console: "Console", result: "CalibrateResult") -> None:
    """Print the result; each schedule on one line, not wrapped, so that its path can be copied."""
    if console.as_json:
        print_result(console, result)
        return
    console.result({key: value for key, value in vars(result).items() if key != "speeds"})
    for each in result.speeds:
        typer.echo(
            f"{each.fewer_blocks:.4g} times fewer blocks, {each.psnr_db:.1f} dB: {each.path}"
        )


def _check_not_given(options: Mapping[str, object], source: str, hint: str) -> None:
    """Raise ConfigError if one of these options has a value: it does not apply to the source."""
    for name, value in options.items():
        if value not in (None, []):
            raise ConfigError(f"{name} is not for {source}", hint=hint)
