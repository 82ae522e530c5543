"""The command line of `latte eval` and its modes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, global_options
from latte_cli.cli.downloads import Download, check_metric_weights
from latte_cli.cli.evaluation_options import ParsedOptions, check_effect, check_one_mode
from latte_cli.cli.options import (
    Checkpoint,
    DataRoot,
    Overrides,
    Overwrite,
    Preset,
    Run,
    RunsRoot,
)
from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.config import Config
    from latte_cli.evaluation.evaluating import EvalContext
    from latte_cli.evaluation.results.tables import Outcome
    from latte_cli.runtime.console import Console

app = typer.Typer()

_CLIPS = "Clips"
_PROTOCOL = "Protocol"
_NO_DATA = "`latte prepare` makes a data set; or name the real videos by --real"
_INSTEAD = "Instead of one evaluation"


def _option(panel: str, help_text: str, *names: str, **settings: Any) -> Any:
    """An option in a panel of the help."""
    return typer.Option(*names, help=help_text, rich_help_panel=panel, **settings)


@app.command("eval")
def evaluate(
    results: Annotated[
        list[Path] | None, typer.Argument(help="Result files to compare, instead.")
    ] = None,
    real: Annotated[
        Path | None, _option(_CLIPS, "Prepared data set or folder; default: the preset's.")
    ] = None,
    fake: Annotated[
        Path | None, _option(_CLIPS, "Folder of videos or frames, npz, or a checkpoint.")
    ] = None,
    preset: Preset = None,
    checkpoint: Checkpoint = None,
    run: Run = None,
    split: Annotated[str | None, _option(_CLIPS, "Real videos: train, test or all.")] = None,
    metrics: Annotated[
        str | None, _option(_PROTOCOL, "Of fvd, kvd, fid, kid, is, psnr, ssim, lpips, direction, …")
    ] = None,
    protocol: Annotated[str | None, _option(_PROTOCOL, "latte or stylegan-v.")] = None,
    interval: Annotated[
        int | None, _option(_PROTOCOL, "Source frames between a real clip's.", min=1)
    ] = None,
    clips: Annotated[int | None, _option(_PROTOCOL, "Clips from each source.", min=2)] = None,
    draws: Annotated[
        int | None, _option(_PROTOCOL, "Random selections of clips, whose mean is reported.", min=1)
    ] = None,
    seed: Annotated[int | None, _option(_PROTOCOL, "Of the draws.", min=0)] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of the networks' weights.")] = None,
    trust_torchscript: Annotated[
        bool, typer.Option("--trust-torchscript", help="Load weights that hold code.")
    ] = False,
    download: Download = False,
    batch: Annotated[
        int, typer.Option(min=1, help="Clips per call of a network; changes no number.")
    ] = 8,
    out: Annotated[Path | None, typer.Option(help="Result file; default: in results/.")] = None,
    overwrite: Overwrite = False,
    override: Overrides = None,
    features_root: Annotated[
        Path, typer.Option(envvar="LATTE_FEATURES", help="Where features are kept.")
    ] = Path("features"),
    data_root: DataRoot = Path("data"),
    runs_root: RunsRoot = Path("runs"),
    show_protocol: Annotated[
        bool, _option(_INSTEAD, "Show the whole protocol.", "--show-protocol")
    ] = False,
    sweep: Annotated[
        list[str] | None,
        _option(_INSTEAD, "E.g. steps=10,50 and cache=off,pab.", metavar="KEY=V,V"),
    ] = None,
    self_test: Annotated[
        bool, _option(_INSTEAD, "Check that this machine computes right numbers.", "--self-test")
    ] = False,
    vbench: Annotated[
        Path | None, _option(_INSTEAD, "Check a folder of VBench's videos.", metavar="DIR")
    ] = None,
    vbench_prompts: Annotated[
        Path | None, _option(_INSTEAD, "VBench_full_info.json, if not in DIR.", metavar="JSON")
    ] = None,
    vbench_results: Annotated[
        list[Path] | None, _option(_INSTEAD, "VBench's scores beside the paper's.", metavar="JSON")
    ] = None,
    curve: Annotated[
        list[str] | None, _option(_INSTEAD, "A run's checkpoints, by step.", metavar="RUN")
    ] = None,
) -> object:
    """Measure fake clips against real ones; every number comes with its protocol."""
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
        modes = {
            "result files": results,
            "--vbench": vbench,
            "--vbench-results": vbench_results,
            "--show-protocol": show_protocol,
            "--self-test": self_test,
            "--curve": curve,
            "--sweep": sweep,
            "--fake": fake and not (sweep or show_protocol),  # which use it
        }
        check_one_mode(modes)
        given: dict[str, object] = {"--real": real, "--preset": preset, "--run": run}
        given |= {
            "--checkpoint": checkpoint,
            "--out": out,
            "-o": override,
            "--weights": weights,
            "--download": download,
        }
        given |= {"--trust-torchscript": trust_torchscript}
        given |= {f"--{key.partition('.')[2]}": value for key, value in flags.items()}
        check_effect(modes, given)
        if vbench_prompts and not vbench:
            raise ConfigError(
                "--vbench-prompts is for --vbench, which is not given",
                hint="--vbench DIR names the folder of VBench's videos",
            )
        from latte_cli.config.locations import Locations

        locations = Locations(data_root, runs_root=runs_root)
        options = ParsedOptions(console, preset, override or [], flags, locations)
        options.config()  # raises if a value is wrong
        named = [*(results or ()), vbench_prompts, *(vbench_results or ()), vbench, real, fake]
        checks.check_paths(named, "is the path right?")
        checks.check_output(out)
        runs = [options.curve_run(name, real) for name in curve or ()]
        points = options.sweep_points(sweep, fake, checkpoint, run) if sweep else []
        measured = [config for _, config, *_ in runs] + [config for _, config, *_ in points]
        if not any((results, vbench, vbench_results, curve, sweep, show_protocol, self_test)):
            source = options.fake_source(fake, checkpoint, run)
            real_path = options.real_source(real, source[0])
            checks.check_paths([real_path], _NO_DATA)
            measured = [source[0]]
        download = check_metric_weights(
            console, measured, weights, trust_torchscript=trust_torchscript, download=download
        )
        if results:
            from latte_cli.evaluation.results.comparing import compare

            return _print(console, compare(results))
        if vbench or vbench_results:
            return _vbench(console, vbench, vbench_prompts, vbench_results or [])
        from latte_cli.commands import curve as curve_command
        from latte_cli.commands import evaluate as command
        from latte_cli.commands import sweep as sweep_command
        from latte_cli.evaluation.evaluating import EvalContext

        context = EvalContext(features_root, weights, trust_torchscript, batch, download)
        if show_protocol:
            return _print(console, command.show_protocol(options.config(), console, context))
        if self_test:
            return _self_test(console, options.config(), context, real)
        if curve:
            curves = [curve_command.CurveRun(*each) for each in runs]
            drawn = curve_command.run(curves, console, context, out, overwrite=overwrite)
            return _print(console, drawn)
        if sweep:
            real_path = real or locations.data(measured[0])
            swept = [sweep_command.SweepPoint(*point) for point in points]
            outcome = sweep_command.run(
                swept, console, context, real_path, out, overwrite=overwrite
            )
            return _print(console, outcome)
        config, fake_path = source
        eval_options = command.EvalOptions(
            real_path, fake_path, context, clips or 2, out, overwrite
        )
        return _print(console, command.run(config, console, eval_options))


def _vbench(
    console: "Console", folder: Path | None, prompts: Path | None, results: list[Path]
) -> object:
    """Check a folder for VBench, or show its scores."""
    from latte_cli.commands import vbench as command

    if folder is None:
        return _print(console, command.read(results))
    checked = command.check(folder, prompts)
    _print(console, checked)
    if not console.as_json:
        typer.echo("\nthen run\n" + "\n".join(checked.commands()))  # not wrapped, for pasting
    checked.raise_if_wrong()
    return checked


def _self_test(
    console: "Console", config: "Config", context: "EvalContext", real: Path | None
) -> object:
    """Run the self-test; a failed check is an error."""
    from latte_cli.commands import self_test as command

    outcome = command.run(config, console, context, real)
    _print(console, outcome)
    outcome.raise_if_failed()
    return outcome


def _print(console: "Console", outcome: "Outcome | None") -> object:
    """Print the outcome of a mode, unless another command runs it as a step; return it."""
    if outcome is not None and not global_options.nested:
        tables = outcome.tables()
        for table in tables[: 1 if console.as_json else None]:
            console.table(table.header, table.rows, outcome.as_values())
            if not console.as_json:
                typer.echo()
        if not console.as_json:
            console.result(outcome.facts())
    return outcome
