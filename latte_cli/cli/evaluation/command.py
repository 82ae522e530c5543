"""The command line of `latte eval` and its modes."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary
from latte_cli.cli.downloads import EVALUATING, Download, check_metric_weights
from latte_cli.cli.engines import LOCAL, EngineName, GpusPerWorker, engine_of
from latte_cli.cli.evaluation.modes import ParsedOptions, check_effect, check_one_mode
from latte_cli.cli.evaluation.options import (
    Curve,
    Draws,
    Interval,
    ListWeights,
    Metrics,
    ProtocolName,
    Seed,
    SelfTest,
    ShowProtocol,
    Sweep,
    Vbench,
    VbenchPrompts,
    VbenchResults,
)
from latte_cli.cli.evaluation.printing import (
    print_outcome,
    run_self_test,
    show_vbench,
    show_weights,
)
from latte_cli.cli.options import (
    CLIPS,
    NETWORK,
    OUTPUT,
    SPEED,
    Checkpoint,
    DataRoot,
    FeaturesRoot,
    Overrides,
    Overwrite,
    Run,
    RunsRoot,
    option,
)
from latte_cli.cli.setup import completion
from latte_cli.cli.usage import next_steps, result_steps
from latte_cli.cli.usage.arguments import choose_clips, with_interval_of_samples
from latte_cli.cli.usage.typed_words import typed_again
from latte_cli.runtime.errors import ConfigError

app = typer.Typer()

_NO_DATA = "`latte prepare` makes a data set; or name the real videos by --real"


@app.command("eval")
def evaluate(
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Two folders: the clips in the second are measured against those in the first. "
            "Or result files (.json), which are compared."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        option(
            NETWORK,
            "Name of a preset, or your own YAML file: it names the real videos, and without "
            "--fake clips of its newest checkpoint are sampled and measured.",
            "--preset",
            "-p",
            metavar="NAME",
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    run: Run = None,
    override: Overrides = None,
    real: Annotated[
        Path | None,
        option(
            CLIPS,
            "Compare with the videos of this data set or folder; by default the preset's.",
            metavar="DIR",
            autocompletion=completion.prepared,
        ),
    ] = None,
    fake: Annotated[
        Path | None,
        option(
            CLIPS,
            "Measure the clips of this folder or .npz file, or of this checkpoint or run.",
            metavar="PATH",
        ),
    ] = None,
    split: Annotated[
        str | None,
        option(CLIPS, "Take the real videos of one split, train or test, or all.", metavar="NAME"),
    ] = None,
    clips: Annotated[
        int | None,
        option(CLIPS, "Take at most this many clips of each kind.", min=2, metavar="N"),
    ] = None,
    metrics: Metrics = None,
    protocol: ProtocolName = None,
    interval: Interval = None,
    draws: Draws = None,
    seed: Seed = None,
    show_protocol: ShowProtocol = False,
    sweep: Sweep = None,
    curve: Curve = None,
    self_test: SelfTest = False,
    list_weights: ListWeights = False,
    vbench: Vbench = None,
    vbench_prompts: VbenchPrompts = None,
    vbench_results: VbenchResults = None,
    weights: Annotated[
        Path | None,
        option(EVALUATING, "Look for the weights of the networks in this folder.", metavar="DIR"),
    ] = None,
    trust_torchscript: Annotated[
        bool,
        option(
            EVALUATING,
            "Load weights that contain code, which then runs.",
            "--trust-torchscript",
        ),
    ] = False,
    download: Download = False,
    batch: Annotated[
        int,
        option(
            SPEED,
            "Compute this many clips at a time; no number depends on it.",
            min=1,
            metavar="N",
        ),
    ] = 8,
    engine: EngineName = LOCAL,
    gpus_per_worker: GpusPerWorker = None,
    out: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Write the result to this file; by default to one in results/ whose name tells what "
            "was measured.",
            metavar="FILE",
        ),
    ] = None,
    overwrite: Overwrite = False,
    features_root: FeaturesRoot = Path("features"),
    data_root: DataRoot = Path("data"),
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Measure how far fake clips are from real ones; every number comes with its protocol.

    Examples:
      latte eval --preset ucf101 --fake samples/ucf101/step-400000
      latte eval real-clips fake-clips --metrics fvd,fid

    The same command again computes only what is missing.
    """
    with error_boundary() as console, ExitStack() as stack:
        chosen = engine_of(engine, console, gpus_per_worker)
        flags = {
            "eval.metrics": metrics,
            "eval.protocol": protocol,
            "eval.interval": interval,
            "eval.clips": clips,
            "eval.draws": draws,
            "eval.seed": seed,
            "data.split": split,
        }
        results, real, fake = choose_clips(results or (), real, fake, console)
        flags = with_interval_of_samples(flags, real, override or (), console)
        modes = {
            "result files": results,
            "--vbench": vbench,
            "--vbench-results": vbench_results,
            "--show-protocol": show_protocol,
            "--self-test": self_test,
            "--list-weights": list_weights,
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
        config = options.config()  # raises if a value is wrong
        if list_weights:
            return show_weights(console, config.eval.metrics if metrics or preset else (), weights)
        named = [*(results or ()), vbench_prompts, *(vbench_results or ()), vbench, real, fake]
        checks.check_paths(named, "check the path, and the folder that it starts from")
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

            return print_outcome(console, compare(results))
        if vbench or vbench_results:
            return show_vbench(console, vbench, vbench_prompts, vbench_results or [])
        from latte_cli.commands import curve as curve_command
        from latte_cli.commands import evaluate as command
        from latte_cli.commands import sweep as sweep_command
        from latte_cli.evaluation.evaluating import EvalContext

        opened = stack.enter_context(chosen)
        context = EvalContext(
            features_root, weights, trust_torchscript, batch, download, locations, opened
        )
        if show_protocol:
            shown = command.show_protocol(options.config(), console, context)
            print_outcome(console, shown)
            words = typed_again("--show-protocol")
            next_steps.say_next(console, "This measures by it:", words)
            return shown
        if self_test:
            return run_self_test(console, options.config(), context, real)
        if curve:
            curves = [curve_command.CurveRun(*each) for each in runs]
            drawn = curve_command.run(curves, console, context, out, overwrite=overwrite)
            return print_outcome(console, drawn)
        if sweep:
            real_path = real or locations.data(measured[0])
            swept = [sweep_command.SweepPoint(*point) for point in points]
            found = sweep_command.run(swept, console, context, real_path, out, overwrite=overwrite)
            return print_outcome(console, found)
        config, fake_path = source
        eval_options = command.EvalOptions(
            real_path, fake_path, context, clips or 2, out, overwrite
        )
        outcome = command.run(config, console, eval_options)
        print_outcome(console, outcome)
        if outcome is not None:
            result_steps.say_after_eval(console, outcome.out, fake_path)
        return outcome
