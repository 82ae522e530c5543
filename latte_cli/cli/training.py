"""The command that trains a network."""

from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.downloads import EVALUATING, Download, check_metric_weights, check_weights_folder
from latte_cli.cli.options import (
    NETWORK,
    DataRoot,
    FeaturesRoot,
    LatentsRoot,
    Overrides,
    RequiredPreset,
    RunsRoot,
    option,
)
from latte_cli.cli.setup import completion
from latte_cli.cli.setup.encoding import EncodeOffer, Yes
from latte_cli.cli.usage import next_steps
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import ConfigError

_RUN = "The run"
_PLAN = "Instead of training"

app = typer.Typer()


@app.command()
def train(
    preset: RequiredPreset = None,
    override: Overrides = None,
    init: Annotated[
        Path | None,
        option(
            NETWORK,
            "Begin with these weights instead of random ones: a file, a checkpoint or another run.",
            metavar="PATH",
            autocompletion=completion.checkpoints,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        option(_RUN, "Train until this step, counted from the run's first.", min=1, metavar="N"),
    ] = None,
    run: Annotated[
        str | None,
        option(
            _RUN,
            "Name the run; by default after the preset.",
            metavar="NAME",
            autocompletion=completion.runs,
        ),
    ] = None,
    resume: Annotated[
        str,
        option(
            _RUN,
            "Continue from the newest checkpoint of the run (auto), from another one, or from none "
            "(never).",
            metavar="PATH",
        ),
    ] = "auto",
    plan: Annotated[
        bool,
        option(_PLAN, "Estimate memory, time and disk space, and train nothing.", "--plan"),
    ] = False,
    fresh: Annotated[
        bool,
        option(
            _PLAN,
            "Measure the speed again, instead of taking the last measurement (with --plan).",
            "--fresh",
        ),
    ] = False,
    yes: Yes = False,
    weights: Annotated[
        Path | None,
        option(
            EVALUATING,
            "Look for the weights of the metrics' networks in this folder.",
            metavar="DIR",
        ),
    ] = None,
    download: Download = False,
    features_root: FeaturesRoot = Path("features"),
    data_root: DataRoot = Path("data"),
    latents_root: LatentsRoot = Path("latents"),
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Train a network on latents; the same command resumes a run that was stopped.

    Examples:
      latte train --preset folder
      latte train --preset ucf101 -o train.lr=2e-4 --plan

    Ctrl-C saves a checkpoint first. `latte presets NAME` shows every value
    that -o sets. A data set that is prepared but not encoded is encoded first,
    if you agree.
    """
    with error_boundary() as console:
        from latte_cli.config import load_config
        from latte_cli.config.locations import Locations

        if preset is None:
            raise ConfigError(
                "nothing to train", hint="give --preset P; `latte presets` lists them"
            )
        flags = {"train.steps": steps, "train.init": init}
        config = load_config(preset, override or [], flags)
        locations = Locations(data_root, latents_root, runs_root)
        if fresh and not plan:
            raise ConfigError("--fresh has no effect without --plan", hint="add --plan, or omit it")
        unused = {"--weights": weights is not None, "--download": download}
        for option in (option for option, given in unused.items() if given):
            if config.train.eval_every is None:
                raise ConfigError(
                    f"{option} has no effect: it is for train.eval_every, which is not set",
                    hint=f"leave {option} out, or set -o train.eval_every=STEPS",
                )
        run_folder = locations.run(config, run)
        if plan:
            if not is_main():  # one process measures and reports
                return None
            from latte_cli.commands import train_plan

            plan_options = train_plan.PlanOptions(run, resume, fresh)
            planned = train_plan.run(config, locations, console, plan_options)
            train_plan.show(planned, console)
            next_steps.say_after_plan(console, config, locations)
            return planned
        check_weights_folder(weights)
        offer = EncodeOffer(console, config, locations, yes=yes)
        if offer.applies:
            checks.check_start(config, locations, resume, run)  # before work of hours
            offer.make()
        checks.check_training(config, locations, resume, run)
        config = checks.with_init(config, run_folder, console)
        if config.train.eval_every is not None:
            from latte_cli.evaluation.early_checks import check_metrics_of_run, naming_eval_every

            with naming_eval_every():
                check_metrics_of_run(config)
                download = check_metric_weights(console, [config], weights, download=download)
        from latte_cli.commands import train as command

        options = command.TrainOptions(run, resume, features_root, weights, download)
        result = command.run(config, locations, console, options)
        if is_main():
            print_result(console, result)
            said = f"{result.checkpoint} is the network at step {result.step}."
            next_steps.say_next(
                console,
                f"{said} Sample from it next:",
                next_steps.after_train(result.run, config.model.condition),
            )
        return result
