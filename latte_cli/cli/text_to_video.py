"""The command that generates clips from text."""

from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.options import (
    CLIPS,
    NETWORK,
    OUTPUT,
    SAMPLING,
    SPEED,
    Overwrite,
    Precision,
    PromptFile,
    SequenceParallel,
    option,
    parse_adapters,
    parse_prompts,
    parse_size,
)
from latte_cli.cli.usage import result_steps
from latte_cli.cli.usage.arguments import say_how_many_clips
from latte_cli.cli.usage.sampling_options import (
    Cache,
    FirstFrame,
    Long,
    LongMethod,
    Overlap,
    Speed,
)
from latte_cli.runtime.distributed import world_size
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.weight_files.hub import LATTE_1
from latte_cli.sampling.long_plan import plan_long_clip

app = typer.Typer()


@app.command()
def t2v(
    prompt: Annotated[
        list[str] | None,
        typer.Argument(
            help="Required, unless --prompts is given: what the video shows, in quotes. Several "
            "prompts make several videos."
        ),
    ] = None,
    prompts: PromptFile = None,
    count: Annotated[
        int, option(CLIPS, "Sample this many clips of each prompt.", "-n", min=1, metavar="N")
    ] = 1,
    negative: Annotated[
        str, option(CLIPS, "Say what the videos should not show.", metavar="TEXT")
    ] = "",
    clean: Annotated[
        bool,
        option(CLIPS, "Clean prompts as the captions of the training were, or leave them."),
    ] = True,
    frames: Annotated[
        int | None,
        option(
            CLIPS,
            "Sample clips of this many frames, by default as the network was trained; 1 makes "
            "pictures.",
            min=1,
            metavar="N",
        ),
    ] = None,
    size: Annotated[
        str | None,
        option(
            CLIPS,
            "Sample frames of N x N or H x W pixels; by default as the network was trained.",
            metavar="N|HxW",
        ),
    ] = None,
    fps: Annotated[
        float,
        option(CLIPS, "Show this many frames a second.", metavar="X"),
    ] = 8.0,
    seed: Annotated[
        int, option(CLIPS, "Start from other noise, which gives other clips.", min=0, metavar="N")
    ] = 0,
    vbench: Annotated[
        Path | None,
        option(
            CLIPS,
            "Sample all prompts of the benchmark VBench, which are listed in this "
            "vbench_full_info.json.",
            metavar="FILE",
        ),
    ] = None,
    model: Annotated[
        str,
        option(
            NETWORK,
            "Use this text-to-video network: an id of the Hugging Face hub, a folder in "
            "diffusers' layout, a run or checkpoint of `latte train`, or `embedded` for a small "
            "one that ships with the package and knows moving shapes.",
            metavar="PATH",
        ),
    ] = LATTE_1,
    vae_decoder: Annotated[
        str,
        option(
            NETWORK,
            "Decode frame by frame (frame), or several frames together (temporal), which flickers "
            "less.",
            metavar="NAME",
        ),
    ] = "frame",
    lora: Annotated[
        list[str] | None,
        option(
            NETWORK,
            "Add this adapter (LoRA) to the network: a folder of peft's, or a file in diffusers' "
            "or kohya's layout; :SCALE says how strongly. It may be given several times.",
            metavar="PATH[:SCALE]",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        option(
            SAMPLING,
            "Take this many denoising steps; fewer are faster. By default as the network's "
            "pipeline or preset says, or 50.",
            min=1,
            metavar="N",
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        option(
            SAMPLING,
            "Denoise with ddpm, ddim, dpm++, unipc or euler; by default as it was published.",
            metavar="NAME",
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        option(
            SAMPLING,
            "Scale of classifier-free guidance: a larger one follows the prompt more closely, up "
            "to 1 is off. By default as the network's pipeline or preset says, or 7.5.",
            min=0,
            metavar="X",
        ),
    ] = None,
    eta: Annotated[
        float,
        option(
            SAMPLING,
            "Add noise at each step of ddim: 0 adds none, 1 as much as ddpm.",
            min=0,
            max=1,
            metavar="X",
        ),
    ] = 0.0,
    long: Long = None,
    long_method: LongMethod = "window",
    overlap: Overlap = None,
    image: FirstFrame = None,
    precision: Precision = "auto",
    sequence_parallel: SequenceParallel = None,
    text_encoder: Annotated[
        str,
        option(
            SPEED,
            "Run the text encoder on this device: auto takes that of the network, cpu saves its "
            "memory.",
            metavar="auto|cpu",
        ),
    ] = "auto",
    text_encoder_bits: Annotated[
        int | None,
        option(
            SPEED,
            "Quantize the text encoder to 8 or 4 bits, which saves memory; needs bitsandbytes.",
            metavar="8|4",
        ),
    ] = None,
    cache: Cache = "off",
    speed: Speed = None,
    out: Annotated[
        Path,
        option(
            OUTPUT,
            "Write one clip to this file (mp4, gif, png or npz), or several clips to this folder.",
            "-o",
            "--out",
            metavar="PATH",
        ),
    ] = Path("out.mp4"),
    fmt: Annotated[
        str | None,
        option(
            OUTPUT,
            "Write clips of a folder as mp4, gif, png or npz; mp4 by default.",
            "--format",
            metavar="NAME",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> object:
    """Generate videos from text with Latte-1 or a compatible text-to-video network.

    Examples:
      latte t2v "a raccoon playing guitar" -o raccoon.mp4
      latte t2v "a red circle moving up and left" --model embedded

    The same command again samples only what is missing; clips that another
    command made are kept, unless --overwrite is given.
    """
    with error_boundary() as console:
        from latte_cli.config.cache_options import CacheOptions, check_shared_sampling

        check_shared_sampling(world_size(), sequence_parallel or 1, CacheOptions(cache, speed))
        checks.check_paths([vbench], "--vbench takes vbench_full_info.json")
        parsed = parse_prompts(prompt, prompts, vbench)
        say_how_many_clips(prompt or (), count, console)
        _check_is_no_setting(out)
        several = max(1, len(parsed)) * count
        if out == Path("out.mp4") and (vbench or several > 1):
            out = Path("out")  # the default of several clips is a folder
        checks.check_sampling(None if vbench else out, fmt, image, CacheOptions(cache, speed))
        checks.check_text_options(precision, sampler, text_encoder, vae_decoder, text_encoder_bits)
        if vbench is not None:
            from latte_cli.text.vbench import read_suites

            read_suites(vbench)  # raises if it is another file
        if clean:
            checks.check_prompts(parsed, negative, console)
        checks.check_finite(guidance=guidance, eta=eta, fps=fps)
        checks.check_range("--seed", seed, 0, 2**63 - 1)
        checks.check_range("--fps", fps, 0.1, 1000)
        from latte_cli.sampling.pipelines.trained import choose_pipeline

        chosen = choose_pipeline(model, console, frames=frames, steps=steps, guidance=guidance)
        if negative and chosen.guidance <= 1 and prompts is None:
            raise ConfigError(
                f"--negative has no effect at --guidance {chosen.guidance:g}",
                hint="leave --negative out, or guide by more than 1",
            )
        plan_long_clip(long, chosen.frames, overlap, long_method)
        file = None if out == Path("out.mp4") or vbench else out
        cache_options, length = CacheOptions(cache, speed), long or chosen.frames
        checks.check_clips(file, several, length, cache_options, long_method)
        height_width = parse_size(size)
        checks.check_pipeline(chosen.model, vae_decoder)
        from latte_cli.sampling.settings import check_existing_text_clips
        from latte_cli.sampling.text_requests import T2VOptions

        options = T2VOptions(
            prompts=parsed,
            out=out,
            model=chosen.model,
            lora=parse_adapters(lora or ()),
            count=count,
            negative=negative,
            guidance=chosen.guidance,
            seed=seed,
            steps=chosen.steps,
            sampler=sampler,
            eta=eta,
            frames=chosen.frames,
            size=height_width,
            fps=fps,
            vae_decoder=vae_decoder,
            fmt=fmt or "mp4",
            precision=precision or "auto",
            sequence_parallel=sequence_parallel or 1,
            text_device=text_encoder,
            text_bits=text_encoder_bits,
            clean=clean,
            long=long,
            long_method=long_method,
            overlap=overlap,
            image=image,
            cache=cache_options,
            vbench=vbench,
            overwrite=overwrite,
        )
        check_existing_text_clips(options)
        from latte_cli.commands import t2v as command

        result = command.run(options, console)
        if result is not None:
            print_result(console, result)
            result_steps.say_after_t2v(console, result, seed, vbench=vbench is not None)
        return result


def _check_is_no_setting(out: Path) -> None:
    """Raise ConfigError if `-o` names a setting, as it does in other commands."""
    from latte_cli.config import known_keys

    key, is_setting, _ = str(out).partition("=")
    if is_setting and key in known_keys():
        raise ConfigError(
            f"-o {out} is a place for clips here, not a setting",
            hint="t2v has options in place of settings, such as --steps and --guidance",
        )
