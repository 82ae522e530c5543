"""Weights on this machine: those that ship, those of the metrics, and the hub's cache."""

from collections.abc import Iterator
from pathlib import Path

from latte_cli.config.locations import asset
from latte_cli.diagnosis.finding import Finding
from latte_cli.evaluation.weight_list import list_metric_weights
from latte_cli.runtime.console import format_bytes
from latte_cli.runtime.files import cache_folder, sha256_of
from latte_cli.runtime.weight_files.hub import LATTE_1, hub_autoencoder, hub_pipeline
from latte_cli.runtime.weight_files.published import WeightFolders, is_offline

PART = "weights"
AUTOENCODER = "stabilityai/sd-vae-ft-ema"

_SHIPPED = {
    "autoencoder": "diffusion_pytorch_model.safetensors",
    "shapes-fast": "ema.safetensors",
    "shapes-map": "ema.safetensors",
    "t2v-shapes": "transformer/diffusion_pytorch_model.safetensors",
}
_PARTS = ("tokenizer", "text_encoder", "transformer", "scheduler", "vae")  # that `t2v` needs
_SHORT = 16  # hex digits of a checksum that are shown


def check_shipped() -> Iterator[Finding]:
    """The weights inside the package."""
    for name, file in _SHIPPED.items():
        path = asset(name) / file
        what = f"shipped {name}"
        if path.is_file():
            text = f"{format_bytes(path.stat().st_size)}, sha256 {sha256_of(path)[:_SHORT]}…"
            yield Finding(PART, what, "ok", text)
        else:
            mend = "pip install --force-reinstall latte-cli"
            yield Finding(PART, what, "error", f"{path} is missing", mend)


def check_metric_weights(given: Path | None) -> Iterator[Finding]:
    """The files of the metrics' networks.

    Args:
        given: a folder of weights, beside the cache.
    """
    for each in list_metric_weights(WeightFolders.standard(given)).files:
        what = ", ".join(each.metrics)
        if each.state == "here":
            text = f"{each.path}, sha256 {(each.sha256 or '')[:_SHORT]}…"
            yield Finding(PART, what, "ok", text if each.published else f"{text}, none published")
        elif each.state == "wrong":
            yield Finding(PART, what, "error", each.problem, f"take {each.source}")
        elif each.state == "missing":
            source = "put the file that `latte eval --list-weights` names into a folder for "
            fetch = f"`latte eval --metrics {each.metrics[0]} … --download` fetches it; or "
            mend = f"{'' if is_offline() else fetch}{source}--weights"
            yield Finding(PART, what, "warning", f"{each.file} is missing", mend)


def check_hub() -> Iterator[Finding]:
    """The published autoencoder and text-to-video pipeline, in the hub's cache; no network."""
    from huggingface_hub import constants

    offline = "HF_HUB_OFFLINE is set: nothing is downloaded"
    place = f"{constants.HF_HUB_CACHE}; {offline if is_offline() else 'downloads are possible'}"
    yield Finding(PART, "hub's cache", "ok", place)
    folder = hub_autoencoder(AUTOENCODER)
    yield _on_hub("autoencoder", AUTOENCODER, {AUTOENCODER: folder.cached()}, folder.hint)
    parts = {part: hub_pipeline(LATTE_1, part) for part in _PARTS}
    found = {part: folder.cached() for part, folder in parts.items()}
    yield _on_hub("text to video", LATTE_1, found, parts["vae"].hint)


def _on_hub(what: str, model: str, parts: dict[str, Path | None], hint: str) -> Finding:
    """Whether all parts of a model are in the cache."""
    missing = [part for part, path in parts.items() if path is None]
    if not missing:
        revision = _revision(next(path for path in parts.values() if path is not None))
        return Finding(PART, what, "ok", f"{model} is in the cache, revision {revision}")
    lacks = "" if len(missing) == len(parts) else f" lacks {', '.join(missing)}:"
    text = f"{model}{lacks or ' is'} not in the cache"
    first = hint if is_offline() else f"the first command that needs it downloads it; or {hint}"
    return Finding(PART, what, "warning", text, first)


def _revision(path: Path) -> str:
    """The commit that a folder of the hub's cache holds: `…/snapshots/COMMIT/…`."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else "unknown"


def check_cache() -> Iterator[Finding]:
    """The size of this project's own cache, and what is in it."""
    folder = cache_folder()
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    size = format_bytes(sum(path.stat().st_size for path in files))
    kinds = sorted({path.relative_to(folder).parts[0] for path in files})
    text = f"{folder}: {size} in {len(files)} files" + (f" ({', '.join(kinds)})" if kinds else "")
    yield Finding(PART, "cache", "ok", text)


def autoencoder_problem(path: str) -> str:
    """What of an autoencoder is not on this machine; empty if all is.

    Args:
        path: a folder, or a hub id.
    """
    if (Path(path) / "config.json").is_file():
        return ""
    if Path(path).is_dir():
        return f"config.json in {path}"
    if path.count("/") in (1, 2) and hub_autoencoder(path).cached() is not None:
        return ""
    return f"autoencoder {path}"
