"""The command line of drawing from text."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latte_cli.errors import ConfigError
from latte_cli.front import Front, boundary, finish

if TYPE_CHECKING:
    from latte_cli.prompts import Prompt

app = typer.Typer(cls=Front)


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
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same clip.")] = 0,
    sampler: Annotated[
        str | None, typer.Option(help="ddpm, ddim, dpm++, unipc, euler; default: the model's own.")
    ] = None,
    eta: Annotated[float, typer.Option(min=0, max=1, help="Noise that ddim adds.")] = 0.0,
    frames: Annotated[int, typer.Option(min=1, help="Frames of a clip; 1 is a picture.")] = 16,
    size: Annotated[
        str | None, typer.Option(metavar="N|HxW", help="Pixels; default: as trained.")
    ] = None,
    fps: Annotated[float, typer.Option(min=1, help="Frames a second.")] = 8.0,
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
) -> object:
    """Draw what a sentence says, with Latte-1 or any text-to-video network of its kind."""
    with boundary() as console:
        asked = _prompts(prompt, prompts)
        from latte_cli.commands import t2v as command

        options = command.T2VOptions(
            prompts=asked,
            out=_folder_for_many(out, len(asked) * count),
            model=model,
            count=count,
            negative=negative,
            guidance=guidance,
            seed=seed,
            steps=steps,
            sampler=sampler,
            eta=eta,
            frames=frames,
            size=_size(size),
            fps=fps,
            vae_decoder=vae_decoder,
            fmt=fmt,
            precision=precision,
            text_device=text_encoder,
            text_bits=text_encoder_bits,
            clean=clean,
        )
        return finish(console, command.run(options, console))


def _prompts(given: list[str] | None, path: Path | None) -> "tuple[Prompt, ...]":
    from latte_cli.prompts import Prompt, read_prompts

    if bool(given) == (path is not None):
        raise ConfigError(
            "prompts on the line and in a file, too" if given else "nothing to draw",
            hint='give a prompt, as "a raccoon playing guitar", or --prompts FILE',
        )
    return tuple(Prompt(words) for words in given or ()) or tuple(read_prompts(path or Path()))


def _size(text: str | None) -> tuple[int, int] | None:
    """`512` or `384x640`, height first."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigError(
            f"--size {text} is no size", hint="--size 512, or --size 384x640: height first"
        )
    return int(parts[0]), int(parts[-1])


def _folder_for_many(out: Path, clips: int) -> Path:
    """The default for one clip is a file, for several the folder `out`."""
    return Path("out") if clips > 1 and out == Path("out.mp4") else out
