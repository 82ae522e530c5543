"""The command line of drawing: from a trained network, and from text."""

from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli.front import (
    Checkpoint,
    DataRoot,
    Front,
    Preset,
    RunOfCheckpoint,
    RunsRoot,
    boundary,
    choose_checkpoint,
    finish,
)
from latte_cli.cli.sampling_options import (
    folder_for_many,
    parse_prompts,
    parse_size,
    values_and_place,
)

app = typer.Typer(cls=Front)

Long = Annotated[int | None, typer.Option(metavar="N", help="Frames, more than are drawn at once.")]
LongMethod = Annotated[str, typer.Option(help="How --long is done: window, or fifo.")]
Overlap = Annotated[
    int | None, typer.Option(help="Frames that windows share; default: half a window.")
]
FirstFrame = Annotated[Path | None, typer.Option("--image", help="Picture that clips begin with.")]

Cache = Annotated[
    str,
    typer.Option(metavar="off|pab|adaptive|PATH", help="What is used again from step to step."),
]
Speed = Annotated[str | None, typer.Option(metavar="2x", help="By the cache of `latte calibrate`.")]


@app.command()
def sample(
    preset: Preset = None,
    checkpoint: Checkpoint = None,
    count: Annotated[
        int | None, typer.Option("-n", min=1, help="Clips to draw; default: 8, of a file 1.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Class, by number or name; several in turn.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="all in turn, or data: as often as the data set has them.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps.")] = None,
    sampler: Annotated[str | None, typer.Option(help="ddpm, ddim, dpm++, unipc or euler.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="1 is off.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed, the same clips.")] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames of a clip, or of a window of a long one.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Clips at a time.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bf16 or auto.")] = None,
    long: Long = None,
    long_method: LongMethod = "window",
    overlap: Overlap = None,
    image: FirstFrame = None,
    cache: Cache = "off",
    speed: Speed = None,
    run: RunOfCheckpoint = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default: samples/NAME.")] = None,
    fmt: Annotated[
        str, typer.Option("--format", help="mp4, gif, png, or npz: lossless, all in one.")
    ] = "mp4",
    override: Annotated[
        list[str] | None,
        typer.Option(
            "-o", metavar="KEY=VALUE|FILE", help="Set a value; or the file of a clip, or NAME.npz."
        ),
    ] = None,
    data_root: DataRoot = Path("data"),
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Draw clips from a checkpoint: files, samples.jsonl and a grid picture."""
    with boundary() as console:
        from latte_cli.caching import CacheOptions
        from latte_cli.commands import sample as command
        from latte_cli.config.locations import Locations

        values, place = values_and_place(override, out)
        given = {
            "sample.steps": steps,
            "sample.sampler": sampler,
            "sample.guidance": guidance,
            "sample.seed": seed,
            "sample.batch": batch,
            "sample.precision": precision,
        }
        config, path = choose_checkpoint(console, preset, checkpoint, values, given, runs_root, run)
        options = command.SampleOptions(
            checkpoint=path,
            count=count,
            labels=tuple(label or ()),
            labels_of=labels,
            frames=frames,
            out=place or Path("samples") / config.name,
            fmt=fmt,
            long=long,
            long_method=long_method,
            overlap=overlap,
            image=image,
            cache=CacheOptions(cache, speed),
        )
        result = command.run(config, Locations(data_root, runs_root=runs_root), console, options)
        return result if result is None else finish(console, result)


@app.command()
def t2v(
    prompt: Annotated[
        list[str] | None, typer.Argument(help="What to show; several draw several.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Text, CSV or JSONL file of prompts.")
    ] = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A file (mp4, gif, png, npz), or a folder.")
    ] = Path("out.mp4"),
    model: Annotated[str, typer.Option(help="Folder in diffusers' layout, or hub id.")] = (
        "maxin-cn/Latte-1"
    ),
    count: Annotated[int, typer.Option("-n", min=1, help="Clips of each prompt.")] = 1,
    negative: Annotated[str, typer.Option(help="What to lead away from.")] = "",
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 50,
    guidance: Annotated[float, typer.Option(min=0, help="1 is off.")] = 7.5,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="The same seed, the same clip.")
    ] = 0,
    sampler: Annotated[
        str | None, typer.Option(help="ddpm, ddim, dpm++, unipc, euler; default: the model's own.")
    ] = None,
    eta: Annotated[float, typer.Option(min=0, max=1, help="Noise that ddim adds.")] = 0.0,
    frames: Annotated[int, typer.Option(min=1, help="Frames of a clip; 1 is a picture.")] = 16,
    size: Annotated[
        str | None, typer.Option(metavar="N|HxW", help="Pixels; default: as trained.")
    ] = None,
    fps: Annotated[float, typer.Option(min=0.1, max=1000, help="Frames a second.")] = 8.0,
    vae_decoder: Annotated[str, typer.Option(help="frame, or temporal: steadier.")] = "frame",
    fmt: Annotated[
        str, typer.Option("--format", help="mp4, gif, png or npz, in a folder.")
    ] = "mp4",
    precision: Annotated[str, typer.Option(help="auto, float32 or bf16.")] = "auto",
    text_encoder: Annotated[str, typer.Option(help="auto, or cpu: it stays off the GPU.")] = "auto",
    text_encoder_bits: Annotated[
        int | None, typer.Option(help="8 or 4: a smaller text encoder; needs bitsandbytes.")
    ] = None,
    clean: Annotated[bool, typer.Option(help="Clean prompts as training captions were.")] = True,
    long: Long = None,
    long_method: LongMethod = "window",
    overlap: Overlap = None,
    image: FirstFrame = None,
    cache: Cache = "off",
    speed: Speed = None,
    vbench: Annotated[
        Path | None, typer.Option(help="vbench_full_info.json: draw all that VBench measures.")
    ] = None,
) -> object:
    """Draw what a sentence says, with Latte-1 or any text-to-video network of its kind."""
    with boundary() as console:
        asked = parse_prompts(prompt, prompts, vbench)
        from latte_cli.caching import CacheOptions
        from latte_cli.commands import t2v as command

        options = command.T2VOptions(
            prompts=asked,
            out=folder_for_many(out, len(asked) * count, vbench),
            model=model,
            count=count,
            negative=negative,
            guidance=guidance,
            seed=seed,
            steps=steps,
            sampler=sampler,
            eta=eta,
            frames=frames,
            size=parse_size(size),
            fps=fps,
            vae_decoder=vae_decoder,
            fmt=fmt,
            precision=precision,
            text_device=text_encoder,
            text_bits=text_encoder_bits,
            clean=clean,
            long=long,
            long_method=long_method,
            overlap=overlap,
            image=image,
            cache=CacheOptions(cache, speed),
            vbench=vbench,
        )
        result = command.run(options, console)
        return result if result is None else finish(console, result)
