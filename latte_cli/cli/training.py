"""The command that trains a network."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    path_or_url,
)
from latte_cli.cli.setup import completion
from latte_cli.cli.setup.encoding import EncodeOffer, Yes
from latte_cli.cli.setup.stages import (
    Training,
    check_networks,
    find_trainings,
    forget_training,
    several_trainings,
    still_to_do,
)
from latte_cli.cli.usage import next_steps
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.config import Config
    from latte_cli.runtime.console import Console

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
            parser=path_or_url,
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
    if you agree. A preset with stages trains them in turn; -o sets a value of
    all, or of one: -o stages.NAME.train.lr=2e-4.
    """
    with error_boundary() as console:
        from latte_cli.config.locations import Locations

        if preset is None:
            raise ConfigError(
                "nothing to train", hint="give --preset P; `latte presets` lists them"
            )
        flags = {"train.steps": steps, "train.init": init}
        locations = Locations(data_root, latents_root, runs_root)
        trainings = find_trainings(preset, override or [], flags, locations, run, resume, console)
        if fresh and not plan:
            raise ConfigError("--fresh has no effect without --plan", hint="add --plan, or omit it")
        configs = [each.config for each in trainings]
        for config in configs:
            locations.fetch(config)
        _check_evaluating(configs, {"--weights": weights is not None, "--download": download})
        if plan:
            return _plan(trainings, console, fresh=fresh)
        check_weights_folder(weights)
        todo = still_to_do(trainings, console)
        _check(todo, console, yes=yes)
        evaluated = [each.config for each in todo if each.config.train.eval_every is not None]
        if evaluated:
            from latte_cli.evaluation.early_checks import check_metrics_of_run, naming_eval_every

            with naming_eval_every():
                for config in evaluated:
                    check_metrics_of_run(config)
                download = check_metric_weights(console, evaluated, weights, download=download)
        from latte_cli.commands import train as command

        options = command.TrainOptions(None, resume, features_root, weights, download)
        result = None
        with several_trainings(len(todo)):
            for each in todo:
                if result is not None:
                    forget_training()
                if each.title:
                    console.info(each.title)
                config = checks.with_init(each.config, each.folder, console)
                own = replace(options, run=each.run, resume=each.resume)
                result = command.run(config, each.locations, console, own)
        assert result is not None, "the last stage is run even if it is done"
        if is_main():
            print_result(console, result)
            said = f"{result.checkpoint} is the network at step {result.step}."
            next_steps.say_next(
                console,
                f"{said} Sample from it next:",
                next_steps.after_train(result.run, config.model.condition),
            )
        return result


def _check_evaluating(configs: Sequence["Config"], given: Mapping[str, bool]) -> None:
    """Raise ConfigError if options of evaluations are given, and no training evaluates."""
    for name in (name for name, is_given in given.items() if is_given):
        if all(config.train.eval_every is None for config in configs):
            raise ConfigError(
                f"{name} has no effect: it is for train.eval_every, which is not set",
                hint=f"leave {name} out, or set -o train.eval_every=STEPS",
            )


def _plan(trainings: Sequence[Training], console: "Console", *, fresh: bool) -> object:
    """Plan all trainings, and print what they cost; one process does so for all."""
    if not is_main():
        return None
    from latte_cli.commands import train_plan

    plans = {}
    for each in trainings:
        options = train_plan.PlanOptions(each.run, each.resume, fresh)
        config = checks.with_teacher(each.config, console)
        plans[each.title] = train_plan.run(config, each.locations, console, options)
    planned = train_plan.show(plans, console)
    last = trainings[-1]
    next_steps.say_after_plan(console, last.config, last.locations)
    return planned


def _check(todo: Sequence[Training], console: "Console", *, yes: bool) -> None:
    """Find what is missing for any training before the first begins, and offer to encode."""
    offers = [EncodeOffer(console, each.config, each.locations, yes=yes) for each in todo]
    if any(offer.applies for offer in offers):
        for each in todo:  # before work of hours
            checks.check_start(each.checked_config, each.locations, each.resume, each.run)
        for offer in offers:
            if offer.applies:
                offer.make()
    for each in todo:
        checks.check_training(each.checked_config, each.locations, each.resume, each.run)
    check_networks(todo)
