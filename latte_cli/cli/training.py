"""The command that trains a network."""

from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.downloads import Download, check_metric_weights, check_weights_folder
from latte_cli.cli.options import DataRoot, LatentsRoot, Overrides, Preset, RunsRoot
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import ConfigError

app = typer.Typer()


@app.command()
def train(
    preset: Preset = None,
    override: Overrides = None,
    run: Annotated[str | None, typer.Option(help="Name of the run; default: the preset's.")] = None,
    init: Annotated[Path | None, typer.Option(help="Weights to initialize from, or a run.")] = None,
    resume: Annotated[str, typer.Option(help="auto, never, or a checkpoint.")] = "auto",
    steps: Annotated[int | None, typer.Option(min=1, help="Total optimizer steps.")] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Estimate memory, time and disk space; do not train.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="With --plan: measure again, whatever is known.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of metric weights, for train.eval_every.")
    ] = None,
    download: Download = False,
    features_root: Annotated[
        Path,
        typer.Option(envvar="LATTE_FEATURES", help="Folder of features, for train.eval_every."),
    ] = Path("features"),
    data_root: DataRoot = Path("data"),
    latents_root: LatentsRoot = Path("latents"),
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Train a network on latents; resumes from the newest complete checkpoint."""
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
            return train_plan.show(
                train_plan.run(config, locations, console, plan_options), console
            )
        check_weights_folder(weights)
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
        return print_result(console, result) if is_main() else result
