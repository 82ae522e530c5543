"""`latte convert`: weights from one format to another, checked, and shared on the hub."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from latte_cli.checkpoints.averages import reconstruct
from latte_cli.checkpoints.folder import step_of
from latte_cli.checkpoints.formats import FOLDERS, Format
from latte_cli.config import Config, flatten
from latte_cli.models import Latte, LatteT2V, build_model
from latte_cli.models.initializing.from_weights import initialize
from latte_cli.models.loading import load_network, new_network
from latte_cli.models.lora.adapters import merge_adapter, read_adapter
from latte_cli.models.lora.exporting import read_trained_adapter
from latte_cli.models.reading import WeightsFile, infer_shape, read_weights
from latte_cli.models.shapes import shape_from_config
from latte_cli.reporting.model_card.facts import facts_of, public_name
from latte_cli.reporting.model_card.text import card_text
from latte_cli.reporting.model_card.writing import CARD, edited_card, write_card
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.files import atomic_file, atomic_folder
from latte_cli.runtime.weight_files.uploading import HubPlace, files_to_upload, upload
from latte_cli.sampling.exports.comparing import largest_difference
from latte_cli.sampling.exports.writing import check_is_replaceable, holds_network, write_network


@dataclass(frozen=True)
class PushOptions:
    """Where to upload what was converted.

    Attributes:
        place: on the hub.
        really: whether to upload it, not only to show what would be.
        licence: identifier of the model's licence for its card; None: the card names none.
    """

    place: HubPlace
    really: bool = False
    licence: str | None = None


@dataclass(frozen=True)
class ConvertOptions:
    """The options of `latte convert` beside the configuration.

    Attributes:
        source: weights in any supported format.
        target: file or folder to write.
        format: of the target.
        heads: attention heads, where the file does not determine them.
        check: reload what was written, and compare outputs.
        has_preset: whether the configuration is a preset's, not only the schema's defaults.
        overwrite: whether other weights may be replaced.
        lora: adapters to merge into the network, and how strongly each.
        ema: relative width of the average to reconstruct from a run's snapshots, if any.
        push: where to upload it; None: nowhere.
    """

    source: Path
    target: Path
    format: Format
    heads: int | None = None
    check: bool = False
    has_preset: bool = False
    overwrite: bool = False
    ema: float | None = None
    lora: tuple[tuple[Path, float], ...] = ()
    push: PushOptions | None = None


@dataclass(frozen=True)
class PushResult:
    """What was uploaded, or would be.

    Attributes:
        model: id on the hub.
        url: of its page.
        revision: branch.
        private: whether only its owner is to see it.
        uploaded: whether the hub has all files now.
        sent: names of the files that it did not have before.
        commit: its address; None if nothing was sent.
        bytes: of all files.
        files: their sizes by name.
        card: the text of the card.
    """

    model: str
    url: str
    revision: str
    private: bool
    uploaded: bool
    sent: Sequence[str]
    commit: str | None
    bytes: int
    files: dict[str, int]
    card: str


@dataclass(frozen=True)
class ConvertResult:
    """Result; `largest_difference` is None without `--check`, `profile_error` without `--ema`."""

    out: Path
    kind: str
    format: str
    parameters: int
    largest_difference: float | None
    profile_error: float | None
    seconds: float
    push: PushResult | None = None


def run(config: Config, console: Console, options: ConvertOptions) -> ConvertResult:
    """Load the source, write the target, and compare them before it gets its name; then upload it.

    Raises:
        CheckpointError: if the source cannot be loaded.
        ConfigError: if the target's format cannot hold the network.
        ExistsError: if the target holds other weights, which may not be replaced.
        HubError: if it cannot be uploaded; what was converted stays, and the same command goes on.
    """
    started = time.monotonic()
    if options.push is not None and options.push.really:
        options.push.place.check_token()
    edited = edited_card(options.target) if options.push else None
    console.info(f"reading {options.source}")
    if options.format == "lora":
        weights, parameters = options.source, _write_adapters(options, console)
        kind, difference, profile_error = "adapters", None, None
    else:
        source, profile_error = _read(options, console)
        model = _load(source, config, options, console)
        for path, scale in options.lora:
            merge_adapter(model, read_adapter(path), scale)
        difference = _write_model(model, source, config, options, console)
        weights, kind = source.path, source.kind
        parameters = sum(p.numel() for p in model.parameters())
    push = None
    if options.push is not None:
        push = _push(options, options.push, weights, parameters, edited, console)
    return ConvertResult(
        out=options.target,
        kind=kind,
        format=options.format,
        parameters=parameters,
        largest_difference=difference,
        profile_error=profile_error,
        seconds=time.monotonic() - started,
        push=push,
    )


def _write_adapters(options: ConvertOptions, console: Console) -> int:
    """Write the adapters of a run alone, unless they are there; their number of parameters."""
    adapter = read_trained_adapter(options.source)
    if adapter.is_in(options.target):
        console.info(f"{options.target} is already there")
    else:
        check_is_replaceable(options.target, "lora", overwrite=options.overwrite)
        console.info(f"writing {options.target}")
        adapter.write(options.target)
    return adapter.parameters


def _read(options: ConvertOptions, console: Console) -> tuple[WeightsFile, float | None]:
    """The source's weights, or those of an average, with the error of its profile."""
    if options.ema is None:
        return read_weights(options.source), None
    average = reconstruct(options.source, options.ema)
    console.info(f"an average of {average.snapshots} snapshots, to step {step_of(average.newest)}")
    return WeightsFile(average.newest, average.weights), average.error


def _load(
    source: WeightsFile, config: Config, options: ConvertOptions, console: Console
) -> Latte | LatteT2V:
    """The whole network; from an image model, a video network of the configuration's clips."""
    if source.kind in ("latte", "latte-t2v"):
        of_preset = shape_from_config(config).heads if options.has_preset else None
        return load_network(source, options.heads or of_preset)
    torch.manual_seed(config.train.seed)
    if source.kind == "dit":
        if not options.has_preset:
            raise ConfigError(
                f"{source.path} is an image network, which does not define the frames of a clip",
                hint="give --preset P, whose network is initialized from it",
            )
        model = build_model(config)
    else:
        model = new_network(infer_shape(source, num_frames=config.data.frames))
    report = initialize(model, source, config.vae.downsample)
    console.info("\n".join(report.lines()))
    return model.eval()


def _write_model(
    model: Latte | LatteT2V,
    source: WeightsFile,
    config: Config,
    options: ConvertOptions,
    console: Console,
) -> float | None:
    """Write the network unless it is there; the difference of outputs, if they are compared."""

    def check(written: Path) -> float | None:
        if not options.check:
            return None
        console.info("checking what was written")
        return largest_difference(model, options.format, written, source)

    target, form = options.target, options.format
    if target.exists() and holds_network(target, model, form, config, source):
        console.info(f"{target} is already there")
        return check(target)
    check_is_replaceable(target, form, overwrite=options.overwrite)
    console.info(f"writing {target}")
    with (atomic_folder if form in FOLDERS else atomic_file)(target) as written:
        write_network(model, form, config, source, written)
        return check(written)


def _push(
    options: ConvertOptions,
    push: PushOptions,
    weights: Path,
    parameters: int,
    edited: str | None,
    console: Console,
) -> PushResult:
    """Write the card, and upload the folder unless it is only to be shown."""
    facts = facts_of(weights, options.format, parameters, tuple(_changes(options)))
    made = card_text(facts, push.place, push.licence)
    card = write_card(options.target, made, edited, facts.preview)
    if edited is not None:
        console.info(f"{options.target / CARD} was edited, and is kept")
    if options.format == "latte" and facts.config is not None and (own := _own_paths(facts.config)):
        console.warning(
            f"config.yaml names folders of this machine, which others will read: {', '.join(own)}"
        )
    files = files_to_upload(options.target)
    sent: Sequence[str] = ()
    commit = None
    if push.really:
        uploaded = upload(options.target, push.place, overwrite=options.overwrite, console=console)
        sent, commit = uploaded.sent, uploaded.commit
    return PushResult(
        model=push.place.model,
        url=push.place.url,
        revision=push.place.revision,
        private=push.place.private,
        uploaded=push.really,
        sent=sent,
        commit=commit,
        bytes=sum(files.values()),
        files=files,
        card=card,
    )


def _own_paths(config: Config) -> list[str]:
    """Keys of a configuration whose values are whole paths, as they may tell a user's name."""
    values = flatten(config.model_dump())
    return [
        key for key, each in values.items() if isinstance(each, str) and Path(each).is_absolute()
    ]


def _changes(options: ConvertOptions) -> Iterator[str]:
    """What was done to the weights after training, for the card."""
    if options.ema is not None:
        yield f"averaged over the run, at a relative width of {options.ema:g}"
    for path, scale in options.lora:
        yield f"the adapter {public_name(str(path))} added at scale {scale:g}"
