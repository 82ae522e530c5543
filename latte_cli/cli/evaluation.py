"""The command line of `latte eval`: measuring, and what helps to trust a measured number."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latte_cli.cli.boundary import error_boundary, global_options
from latte_cli.cli.evaluation_options import ParsedOptions, refuse_folders, refuse_two_modes
from latte_cli.cli.options import Checkpoint, DataRoot, Overrides, Preset, Run, RunsRoot
from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.config import Config
    from latte_cli.evaluation.evaluating import EvalContext
    from latte_cli.evaluation.results.tables import Shown
    from latte_cli.runtime.console import Console

app = typer.Typer()

_CLIPS = "Clips"
_PROTOCOL = "Protocol"
_INSTEAD = "Instead of one evaluation"


def _of(panel: str, words: str, *names: str, **given: Any) -> Any:
    """An option of a group of the help."""
    return typer.Option(*names, help=words, rich_help_panel=panel, **given)


@app.command("eval")
def evaluate(
    results: Annotated[
        list[Path] | None, typer.Argument(help="Result files to compare, instead.")
    ] = None,
    real: Annotated[
        Path | None, _of(_CLIPS, "Prepared data set or folder; default: the preset's.")
    ] = None,
    fake: Annotated[
        Path | None, _of(_CLIPS, "Folder of videos or frames, npz, or a checkpoint.")
    ] = None,
    preset: Preset = None,
    checkpoint: Checkpoint = None,
    run: Run = None,
    split: Annotated[str | None, _of(_CLIPS, "Real videos: train, test or all.")] = None,
    metrics: Annotated[
        str | None, _of(_PROTOCOL, "Of fvd, kvd, fid, kid, is, psnr, ssim, lpips, direction, …")
    ] = None,
    protocol: Annotated[str | None, _of(_PROTOCOL, "latte or stylegan-v.")] = None,
    interval: Annotated[
        int | None, _of(_PROTOCOL, "Source frames between a real clip's.", min=1)
    ] = None,
    clips: Annotated[int | None, _of(_PROTOCOL, "Clips of each side.", min=2)] = None,
    draws: Annotated[int | None, _of(_PROTOCOL, "Random draws of clips.", min=1)] = None,
    seed: Annotated[int | None, _of(_PROTOCOL, "Of the draws.", min=0)] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of the networks' weights.")] = None,
    trust_torchscript: Annotated[
        bool, typer.Option("--trust-torchscript", help="Load weights that hold code.")
    ] = False,
    batch: Annotated[
        int, typer.Option(min=1, help="Clips described at once; changes no number.")
    ] = 8,
    out: Annotated[Path | None, typer.Option(help="Result file; default: in results/.")] = None,
    override: Overrides = None,
    features_root: Annotated[
        Path, typer.Option(envvar="LATTE_FEATURES", help="Where features are kept.")
    ] = Path("features"),
    data_root: DataRoot = Path("data"),
    runs_root: RunsRoot = Path("runs"),
    show_protocol: Annotated[
        bool, _of(_INSTEAD, "Show the whole protocol.", "--show-protocol")
    ] = False,
    sweep: Annotated[
        list[str] | None, _of(_INSTEAD, "E.g. steps=10,50 and cache=off,pab.", metavar="KEY=V,V")
    ] = None,
    self_test: Annotated[
        bool, _of(_INSTEAD, "Whether numbers of this machine can be trusted.", "--self-test")
    ] = False,
    vbench: Annotated[
        Path | None, _of(_INSTEAD, "Check a folder of VBench's videos.", metavar="DIR")
    ] = None,
    vbench_prompts: Annotated[
        Path | None, _of(_INSTEAD, "VBench_full_info.json, if not in DIR.", metavar="JSON")
    ] = None,
    vbench_results: Annotated[
        list[Path] | None, _of(_INSTEAD, "VBench's scores beside the paper's.", metavar="JSON")
    ] = None,
    curve: Annotated[
        list[str] | None, _of(_INSTEAD, "A run's checkpoints, by step.", metavar="RUN")
    ] = None,
) -> object:
    """Measure fake clips against real ones, by a protocol that goes with every number."""
    with error_boundary() as console:
        flags = {
            "eval.metrics": metrics,
            "eval.protocol": protocol,
            "eval.interval": interval,
            "eval.clips": clips,
            "eval.draws": draws,
            "eval.seed": seed,
            "data.split": split,
        }
        refuse_two_modes(
            {
                "result files": results,
                "--vbench": vbench,
                "--vbench-results": vbench_results,
                "--show-protocol": show_protocol,
                "--self-test": self_test,
                "--curve": curve,
                "--sweep": sweep,
                "--fake": fake and not (sweep or show_protocol),  # which go with it
            }
        )
        if vbench_prompts and not vbench:
            raise ConfigError(
                "--vbench-prompts is for --vbench, which is not given",
                hint="--vbench DIR names the folder of VBench's videos",
            )
        refuse_folders(results or [])
        from latte_cli.commands import compare
        from latte_cli.commands import curve as curves
        from latte_cli.commands import evaluate as command
        from latte_cli.commands import sweep as sweeps
        from latte_cli.config.locations import Locations
        from latte_cli.evaluation.evaluating import EvalContext

        places = Locations(data_root, runs_root=runs_root)
        ask = ParsedOptions(console, preset, override or [], flags, places)
        context = EvalContext(features_root, weights, trust_torchscript, batch)
        if results:
            return _print(console, compare.run(results))
        if vbench or vbench_results:
            return _vbench(console, vbench, vbench_prompts, vbench_results or [])
        if show_protocol:
            return _print(console, command.show_protocol(ask.config(), context))
        if self_test:
            return _self_test(console, ask.config(), context, real)
        if curve:
            runs = [ask.run_of(name, real) for name in curve]
            return _print(console, curves.run(runs, console, curves.CurveOptions(out, context)))
        if sweep:
            points = ask.sweep(sweep, fake, checkpoint, run)
            config, folder = points[0].config, out or Path("sweeps") / points[0].config.name
            sweeping = sweeps.SweepOptions(real or places.data(config), folder, context)
            return _print(console, sweeps.run(points, console, sweeping))
        config, path = ask.fakes(fake, checkpoint, run)
        options = command.EvalOptions(
            ask.reals(real, config), path, context, least=clips or 2, out=out
        )
        return _print(console, command.run(config, console, options))


def _vbench(
    console: "Console", folder: Path | None, prompts: Path | None, results: list[Path]
) -> object:
    """VBench's folder, or its scores."""
    from latte_cli.commands import vbench as command

    if folder is None:
        return _print(console, command.read(results))
    checked = command.check(folder, prompts)
    _print(console, checked)
    if not console.as_json:
        typer.echo("\nthen run\n" + "\n".join(checked.commands()))  # not wrapped: to be pasted
    checked.raise_if_wrong()
    return checked


def _self_test(
    console: "Console", config: "Config", context: "EvalContext", real: Path | None
) -> object:
    """What came of the self-test; a check that fails is an error."""
    from latte_cli.commands import self_test as command

    outcome = command.run(config, console, context, real)
    _print(console, outcome)
    outcome.raise_if_failed()
    return outcome


def _print(console: "Console", outcome: "Shown | None") -> object:
    """Print what a mode found, unless it is a step of another command; pass it on."""
    if outcome is not None and not global_options.nested:
        tables = outcome.tables()
        for table in tables[: 1 if console.as_json else None]:
            console.table(table.header, table.rows, outcome.as_values())
            if not console.as_json:
                typer.echo()
        if not console.as_json:
            console.result(outcome.facts())
    return outcome
