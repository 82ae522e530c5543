"""The commands that sample clips: from a trained network, and from text."""

from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.options import (
    Batch,
    Checkpoint,
    DataRoot,
    Guidance,
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
    split_overrides,
)
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.weight_files.hub import LATTE_1
from latte_cli.sampling.long_plan import plan_long_clip

app = typer.Typer()

Long = Annotated[
    int | None, typer.Option(metavar="N", help="Frames of a video longer than the model's clips.")
]
LongMethod = Annotated[str, typer.Option(help="Method for --long: window or fifo.")]
Overlap = Annotated[
    int | None, typer.Option(help="Frames shared by windows; default: half a window.")
]
FirstFrame = Annotated[Path | None, typer.Option("--image", help="First frame of the clips.")]
Cache = Annotated[
    str, typer.Option(metavar="off|pab|adaptive|PATH", help="Reuse activations between steps.")
]
Speed = Annotated[
    str | None, typer.Option(metavar="2x", help="Use the cache made by `latte calibrate`.")
]


@app.command()
def sample(
    preset: Preset = None,
    checkpoint: Checkpoint = None,
    count: Annotated[
        int | None,
        typer.Option(
            "-n", min=1, help="Clips to sample; default: 8, or 1 if the output is a file."
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Class number or name; may be repeated.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="all: every class in turn; data: in the proportions of the data set."),
    ] = None,
    steps: Steps = None,
    sampler: Sampler = None,
    guidance: Guidance = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Random seed.")] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames per clip, or per window with --long.")
    ] = None,
    batch: Batch = None,
    precision: Precision = None,
    long: Long = None,
    long_method: LongMethod = "window",
    overlap: Overlap = None,
    image: FirstFrame = None,
    cache: Cache = "off",
    speed: Speed = None,
    run: Run = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder; default: samples/RUN/step-N, or samples/PRESET/shipped for the network "
            "that ships with a preset, or samples/FILE-pt for FILE.pt."
        ),
    ] = None,
    overwrite: Overwrite = False,
    fmt: Annotated[
        str | None,
        typer.Option(
            "--format", help="mp4 (default), gif, png, or npz (lossless, all clips in one file)."
        ),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "-o",
            metavar="KEY=VALUE|FILE",
            help="Override a preset value; or the output file (a clip, or NAME.npz).",
        ),
    ] = None,
    data_root: DataRoot = Path("data"),
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Sample clips from a checkpoint: video files, samples.jsonl and a grid image.

    Clips of each run and step go to a folder of their own, unless --out names one.
    The same command again samples only what is missing; clips that another
    command made are kept, unless --overwrite is given.
    """
    with error_boundary() as console:
        from latte_cli.checkpoints.choice import choose_checkpoint, refuse_diffusers_folder
        from latte_cli.checkpoints.names import folder_name
        from latte_cli.config.cache_options import CacheOptions
        from latte_cli.config.locations import Locations
        from latte_cli.sampling.sample_requests import SampleOptions, check_label_options

        check_label_options(label or (), labels)
        overrides, path = split_overrides(override, out)
        checks.check_sampling(path, fmt, image, CacheOptions(cache, speed))
        flags = {
            "sample.steps": steps,
            "sample.sampler": sampler,
            "sample.guidance": guidance,
            "sample.seed": seed,
            "sample.batch": batch,
            "sample.precision": precision,
        }
        config, source = choose_checkpoint(
            console, preset, checkpoint, overrides, flags, runs_root, run
        )
        frames_of_clip = long or frames or config.data.frames
        plan_long_clip(long, frames or config.data.frames, overlap, long_method)
        checks.check_clips(path, count, frames_of_clip, CacheOptions(cache, speed), long_method)
        if labels == "data":
            checks.check_prepared(Locations(data_root).data(config))
        refuse_diffusers_folder(source)
        checks.check_autoencoder(config)
        from latte_cli.sampling.settings import check_existing_samples

        options = SampleOptions(
            checkpoint=source,
            count=count,
            labels=tuple(label or ()),
            labels_of=labels,
            frames=frames,
            out=path or Path("samples") / folder_name(source),
            fmt=fmt or "mp4",
            long=long,
            long_method=long_method,
            overlap=overlap,
            image=image,
            cache=CacheOptions(cache, speed),
            overwrite=overwrite,
        )
        locations = Locations(data_root, runs_root=runs_root)
        check_existing_samples(config, locations, options)
        from latte_cli.commands import sample as command

        result = command.run(config, locations, console, options)
        return result if result is None else print_result(console, result)


@app.command()
def t2v(
    prompt: Annotated[
        list[str] | None,
        typer.Argument(help="Description of the video; several make several videos."),
    ] = None,
    prompts: PromptFile = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="File (mp4, gif, png, npz) or folder.")
    ] = Path("out.mp4"),
    overwrite: Overwrite = False,
    model: Annotated[
        str, typer.Option(help="Hub id, or folder in the diffusers layout.")
    ] = LATTE_1,
    count: Annotated[int, typer.Option("-n", min=1, help="Clips per prompt.")] = 1,
    negative: Annotated[str, typer.Option(help="Negative prompt.")] = "",
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 50,
    guidance: Annotated[float, typer.Option(min=0, help="Guidance scale; 1 or less: off.")] = 7.5,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Random seed.")] = 0,
    sampler: Annotated[
        str | None, typer.Option(help="ddpm, ddim, dpm++, unipc, euler; default: the model's own.")
    ] = None,
    eta: Annotated[float, typer.Option(min=0, max=1, help="Noise added by ddim, 0 to 1.")] = 0.0,
    frames: Annotated[int, typer.Option(min=1, help="Frames per clip; 1: an image.")] = 16,
    size: Annotated[
        str | None, typer.Option(metavar="N|HxW", help="Frame size in pixels; default: as trained.")
    ] = None,
    fps: Annotated[float, typer.Option(min=0.1, max=1000, help="Frames per second.")] = 8.0,
    vae_decoder: Annotated[str, typer.Option(help="frame, or temporal (less flicker).")] = "frame",
    fmt: Annotated[
        str | None,
        typer.Option("--format", help="Format in a folder: mp4 (default), gif, png or npz."),
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, float32 or bf16.")] = "auto",
    text_encoder: Annotated[str, typer.Option(help="Its device: auto or cpu.")] = "auto",
    text_encoder_bits: Annotated[
        int | None, typer.Option(help="Quantize it to 8 or 4 bits; needs bitsandbytes.")
    ] = None,
    clean: Annotated[bool, typer.Option(help="Clean prompts like the training captions.")] = True,
    long: Long = None,
    long_method: LongMethod = "window",
    overlap: Overlap = None,
    image: FirstFrame = None,
    cache: Cache = "off",
    speed: Speed = None,
    vbench: Annotated[
        Path | None, typer.Option(help="Sample all prompts of this vbench_full_info.json.")
    ] = None,
) -> object:
    """Generate videos from text with Latte-1 or a compatible text-to-video network.

    One clip goes to out.mp4, several to the folder out, or where -o says. The
    same command again samples only what is missing; clips that another command
    made are kept, unless --overwrite is given.
    """
    with error_boundary() as console:
        from latte_cli.config.cache_options import CacheOptions

        checks.check_paths([vbench], "--vbench takes vbench_full_info.json")
        parsed = parse_prompts(prompt, prompts, vbench)
        checks.check_sampling(None if vbench else out, fmt, image, CacheOptions(cache, speed))
        checks.check_text_options(precision, sampler, text_encoder, vae_decoder, text_encoder_bits)
        if vbench is not None:
            from latte_cli.text.vbench import read_suites

            read_suites(vbench)  # raises if it is another file
        if clean:
            checks.check_prompts(parsed, negative, console)
        checks.check_finite(guidance=guidance, eta=eta, fps=fps)
        if negative and guidance <= 1 and prompts is None:
            raise ConfigError(
                f"--negative has no effect at --guidance {guidance:g}",
                hint="leave --negative out, or guide by more than 1",
            )
        plan_long_clip(long, frames, overlap, long_method)
        several = max(1, len(parsed)) * count
        file = None if out == Path("out.mp4") or vbench else out
        checks.check_clips(file, several, long or frames, CacheOptions(cache, speed), long_method)
        height_width = parse_size(size)
        checks.check_pipeline(model, vae_decoder)
        from latte_cli.sampling.settings import check_existing_text_clips
        from latte_cli.sampling.text_requests import T2VOptions

        if out == Path("out.mp4") and (vbench or len(parsed) * count > 1):
            out = Path("out")  # the default of several clips is a folder
        options = T2VOptions(
            prompts=parsed,
            out=out,
            model=model,
            count=count,
            negative=negative,
            guidance=guidance,
            seed=seed,
            steps=steps,
            sampler=sampler,
            eta=eta,
            frames=frames,
            size=height_width,
            fps=fps,
            vae_decoder=vae_decoder,
            fmt=fmt or "mp4",
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
            overwrite=overwrite,
        )
        check_existing_text_clips(options)
        from latte_cli.commands import t2v as command

        result = command.run(options, console)
        return result if result is None else print_result(console, result)
