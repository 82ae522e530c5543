"""The command that samples clips from a trained network."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.engines import LOCAL, EngineName, GpusPerWorker, engine_of
from latte_cli.cli.options import (
    CLIPS,
    NEEDED_WITHOUT_CHECKPOINT,
    NETWORK,
    OUTPUT,
    Batch,
    Checkpoint,
    DataRoot,
    Guidance,
    Overrides,
    Overwrite,
    Precision,
    Run,
    RunsRoot,
    Sampler,
    SequenceParallel,
    Steps,
    option,
    split_overrides,
)
from latte_cli.cli.setup import completion
from latte_cli.cli.usage import result_steps
from latte_cli.cli.usage.sampling_options import (
    Cache,
    FirstFrame,
    Long,
    LongMethod,
    Overlap,
    Speed,
)
from latte_cli.runtime.distributed import world_size
from latte_cli.sampling.long_plan import plan_long_clip

app = typer.Typer()


@app.command()
def sample(
    preset: Annotated[
        str | None,
        option(NETWORK, NEEDED_WITHOUT_CHECKPOINT, "--preset", "-p", metavar="NAME"),
    ] = None,
    checkpoint: Checkpoint = None,
    run: Run = None,
    override: Overrides = None,
    count: Annotated[
        int | None,
        option(
            CLIPS,
            "Sample this many clips; by default 8, or 1 if --out is a file.",
            "-n",
            min=1,
            metavar="N",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        option(
            CLIPS,
            "Sample this class, by name or number. Several are taken in turn.",
            metavar="NAME",
            autocompletion=completion.labels,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        option(
            CLIPS,
            "Sample all classes in turn (all), or as often as in the data set (data).",
            metavar="all|data",
            autocompletion=completion.choices("all", "data"),
        ),
    ] = None,
    frames: Annotated[
        int | None,
        option(CLIPS, "Sample clips, or windows of --long, of N frames.", min=1, metavar="N"),
    ] = None,
    seed: Annotated[
        int | None,
        option(CLIPS, "Start from other noise, which gives other clips.", min=0, metavar="N"),
    ] = None,
    steps: Steps = None,
    sampler: Sampler = None,
    guidance: Guidance = None,
    long: Long = None,
    long_method: LongMethod = "window",
    overlap: Overlap = None,
    image: FirstFrame = None,
    batch: Batch = None,
    precision: Precision = None,
    sequence_parallel: SequenceParallel = None,
    engine: EngineName = LOCAL,
    gpus_per_worker: GpusPerWorker = None,
    cache: Cache = "off",
    speed: Speed = None,
    out: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Write to this folder, or to a file: one clip, or all clips as .npz. By default "
            "samples/RUN/step-N, samples/NETWORK/shipped for a network that ships, "
            "or samples/FILE-pt for FILE.pt.",
            metavar="PATH",
        ),
    ] = None,
    fmt: Annotated[
        str | None,
        option(
            OUTPUT,
            "Write clips of a folder as mp4, gif, png or npz (all in one file, without loss); mp4 "
            "by default.",
            "--format",
            metavar="NAME",
        ),
    ] = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = Path("data"),
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Sample clips from a trained network: video files, a list and a picture of all.

    Examples:
      latte sample --preset shapes -n 4 --label 270deg --out up
      latte sample --checkpoint runs/mine -n 16 --steps 25

    The same command again samples only what is missing; clips that another
    command made are kept, unless --overwrite is given.
    """
    with error_boundary() as console, ExitStack() as stack:
        chosen = engine_of(engine, console, gpus_per_worker)
        from latte_cli.checkpoints.choice import choose_checkpoint, refuse_diffusers_folder
        from latte_cli.checkpoints.names import folder_name
        from latte_cli.config.cache_options import CacheOptions, check_shared_sampling
        from latte_cli.config.locations import Locations
        from latte_cli.sampling.sample_requests import SampleOptions, check_label_options

        check_label_options(label or (), labels)
        overrides, path = split_overrides(override, out, console)
        checks.check_sampling(path, fmt, image, CacheOptions(cache, speed))
        flags = {
            "sample.steps": steps,
            "sample.sampler": sampler,
            "sample.guidance": guidance,
            "sample.seed": seed,
            "sample.batch": batch,
            "sample.precision": precision,
            "sample.sequence_parallel": sequence_parallel,
        }
        config, source = choose_checkpoint(
            console, preset, checkpoint, overrides, flags, runs_root, run
        )
        frames_of_clip = long or frames or config.data.frames
        plan_long_clip(long, frames or config.data.frames, overlap, long_method)
        checks.check_clips(path, count, frames_of_clip, CacheOptions(cache, speed), long_method)
        if labels == "data":
            checks.check_prepared(Locations(data_root).data(config))
        check_shared_sampling(
            world_size(), config.sample.sequence_parallel, CacheOptions(cache, speed)
        )
        refuse_diffusers_folder(source)
        checks.check_autoencoder(config)
        from latte_cli.sampling.settings import check_existing_samples

        opened = stack.enter_context(chosen)
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
            engine=opened,
        )
        locations = Locations(data_root, runs_root=runs_root)
        check_existing_samples(config, locations, options)
        from latte_cli.commands import sample as command

        result = command.run(config, locations, console, options)
        if result is not None:
            print_result(console, result)
            result_steps.say_after_sample(console, preset, config, locations, result)
        return result
