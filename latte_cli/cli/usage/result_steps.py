"""What commands say at their end that made clips, numbers, pages or weights."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from latte_cli.cli.usage.next_steps import OWN_VIDEOS, changed_overrides, prepare_words, say_next
from latte_cli.cli.usage.typed_words import typed, typed_again, typed_overrides
from latte_cli.runtime.errors import LatteError
from latte_cli.sources import DATASETS

if TYPE_CHECKING:
    from latte_cli.commands.convert import ConvertResult, PushResult
    from latte_cli.commands.sample import SampleResult
    from latte_cli.commands.t2v import T2VResult
    from latte_cli.config import Config
    from latte_cli.config.locations import Locations
    from latte_cli.runtime.console import Console

_RESULTS = 20  # that are looked at for one to compare with
_OF_CLIPS = ("data.root", "data.size", "data.frames", "data.interval", "data.crop", "data.split")


def say_after_sample(
    console: "Console",
    preset: str | None,
    config: "Config",
    locations: "Locations",
    result: "SampleResult",
) -> None:
    """Say where clips are, and how they are measured; one clip suggests another.

    Args:
        console: of the command.
        preset: that they were sampled for.
        config: that they were sampled under.
        locations: of the data set.
        result: of the command.
    """
    from latte_cli.config import preset_names
    from latte_cli.data.manifest import MANIFEST

    preset = preset or (config.name if config.name in preset_names() else None)
    said = _holds(result.out, result.clips, result.grid)
    data = locations.data(config)
    if result.clips < 2 or preset is None:
        say_another(console, said, result.out, config.sample.seed)
    elif (data / MANIFEST).is_file():
        words = ["eval", "--preset", preset, "--fake", str(result.out)]
        if result.clips < config.eval.clips:
            words += ["--clips", str(result.clips)]
        words += changed_overrides(config, preset, locations, *_OF_CLIPS)
        words += [*typed_overrides("eval"), *typed("--data-root")]
        say_next(console, f"{said} Compare them with real clips next:", words)
    else:
        name = data.name if data.name in DATASETS else OWN_VIDEOS
        said += " To compare them with real clips, prepare these first:"
        say_next(console, said, prepare_words(name, data))


def say_after_t2v(console: "Console", result: "T2VResult", seed: int, *, vbench: bool) -> None:
    """Say where clips of prompts are, and how to make others, or what VBench takes next."""
    said = _holds(result.out, result.clips, result.grid)
    if vbench:
        words = ["eval", "--vbench", str(result.out)]
        say_next(console, f"{said} Check them, and see the commands of VBench:", words)
    else:
        say_another(console, said, result.out, seed)


def say_another(console: "Console", said: str, out: Path, seed: int) -> None:
    """Say what was made, and how to make the like from another seed.

    Args:
        console: of the command.
        said: what was made and where.
        out: the file or folder that holds it.
        seed: that it was made from.
    """
    ending = out.suffix if out.is_file() else ""
    other = out.with_name(f"{out.name.removesuffix(ending)}-seed{seed + 1}{ending}")
    # `-o` names the output in one command, and overrides values in the others.
    words = typed_again("--overwrite", seed=seed + 1, out=None)
    named = typed("-o")
    if named and "=" not in named[-1]:
        words = [word for word in words if word not in named]
    say_next(console, f"{said} Another seed gives others:", [*words, "--out", str(other)])


def say_after_eval(console: "Console", out: Path, fake: Path) -> None:
    """Say where numbers are, and what to compare them with.

    Args:
        console: of the command.
        out: the result file.
        fake: the clips that were measured, or the checkpoint that they were sampled from.
    """
    from latte_cli.checkpoints.names import run_and_step, whole_run

    said = f"The numbers are in {out}."
    kept = typed("--preset", "-p", "--metrics", "--protocol", "--interval", "--clips", "--seed")
    kept += [*typed_overrides(), *typed("--split")]
    found = run_and_step(fake) if (fake / "meta.json").is_file() else None
    if (other := _comparable(out)) is not None:
        said += " Another result has the same protocol; this compares the two:"
        words = ["eval", str(other), str(out)]
    elif found is not None:
        said += " This measures all checkpoints of the run:"
        kept += typed("--data-root", "--runs-root")
        words = ["eval", "--curve", whole_run(found[0]).name, *kept]
    else:
        said += " This shows the conditions under which they compare with others:"
        words = ["eval", "--show-protocol", *kept]
    say_next(console, said, words)


def say_after_report(console: "Console", out: Path, names: Sequence[str]) -> None:
    """Say how to open a page, and what to compare the run or the clips with.

    Args:
        console: of the command.
        out: the page.
        names: of the runs, or the folders of clips, as the user gave them.
    """
    from latte_cli.sampling.clip_list import SAMPLES

    said, shown = f"Open {out} in a browser; it needs no network.", Path(names[0])
    lists = sorted(shown.parent.glob(f"*/{SAMPLES}")) if (shown / SAMPLES).is_file() else []
    other = next((each.parent for each in lists if each.parent != shown), None)
    if len(names) == 1 and other is not None:
        said += " This shows two folders at the same seeds, side by side:"
        say_next(console, said, ["report", names[0], str(other)])
    else:
        say_next(console, said)


def say_after_convert(console: "Console", result: "ConvertResult") -> None:
    """Say where converted weights are, and how clips are sampled from them."""
    if result.push is not None:
        _say_after_push(console, result.push, result.out, result.format)
        return
    said = f"{result.out} holds the converted weights."
    preset = typed("--preset", "-p")
    if result.format == "diffusers":
        said += " `latte t2v --model` takes it as `transformer` in a pipeline."
        say_next(console, said)
    elif result.format == "pipeline":
        words = ["t2v", "A SENTENCE", "--model", str(result.out)]
        say_next(console, f"{said} Sample from it next:", words)
    elif result.kind.endswith("t2v"):
        said += " diffusers' layout is the one that `latte t2v --model` takes: --to diffusers."
        say_next(console, said)
    elif result.format == "latte" or preset:
        words = ["sample", *preset, *typed_overrides(), "--checkpoint", str(result.out)]
        say_next(console, f"{said} Sample from them next:", words)
    else:
        said += " `latte sample --checkpoint` takes them with the --preset that they belong to."
        say_next(console, said)


def _say_after_push(console: "Console", push: "PushResult", out: Path, form: str) -> None:
    """Say what was uploaded, or how to really do it."""
    from latte_cli.runtime.console import format_bytes

    files = f"{len(push.files)} files ({format_bytes(push.bytes)})"
    if not push.uploaded:
        card = (
            ""
            if "\nlicense: " in push.card
            else " The card names no licence; --license ID adds one."
        )
        said = f"Nothing is sent yet.{card} This uploads the {files} of {out} to {push.url}:"
        say_next(console, said, [*typed_again(), "--yes"])
        return
    said = f"{push.url} holds the {files} of {out}"
    said += "." if push.sent else ", as it did before."
    if form == "pipeline" and push.revision == "main":
        say_next(
            console, f"{said} Use it on any machine:", ["t2v", "A SENTENCE", "--model", push.model]
        )
    else:
        say_next(console, f"{said} Its card says how to use it.")


def say_after_presets(console: "Console", name: str | None) -> None:
    """Say how to see a preset, or what a run of it costs."""
    if name is None:
        say_next(console, "This shows every value of a preset:", ["presets", "shapes"])
        return
    words = ["train", "--preset", name, *typed_overrides(), "--plan"]
    say_next(console, "This shows what a run of it would cost, and trains nothing:", words)


def _comparable(out: Path) -> Path | None:
    """The newest other result in the folder of a result that it can be compared with."""
    from latte_cli.evaluation.results.comparing import compare

    others = (path for path in out.parent.glob("*.json") if path != out)
    for other in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[:_RESULTS]:
        with suppress(LatteError):
            compare([other, out])
            return other
    return None


def _holds(out: Path, clips: int, grid: Path | None) -> str:
    """Where clips are, and the picture of them, as a sentence."""
    holds = f"The clip is in {out}" if clips == 1 else f"{out} holds {clips} clips"
    shown = "" if grid is None else f", and {grid} shows {'it' if clips == 1 else 'them'}"
    return f"{holds}{shown}."
