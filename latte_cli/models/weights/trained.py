"""Trained networks: loading the one that is meant, and the names of its labels."""

import difflib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from latte_cli.checkpoints.choice import is_diffusers_folder
from latte_cli.checkpoints.folder import FOR_SAMPLING, find_corruption, read_checkpoint_meta
from latte_cli.config import Config
from latte_cli.models import Latte, LatteShape, TextShape, shape_from_config
from latte_cli.models.weights.loading import network_from
from latte_cli.models.weights.reading import read_weights
from latte_cli.models.weights.recognizing import other_clips, shape_of
from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.runtime.files import sha256_of
from latte_cli.vae import LatentCodec

_OF_CLIPS = {"latent_size", "num_frames"}
_NO_TEXT = "give the checkpoint of a class-conditional or unconditional network"
_OTHER = "leave --preset out to take the checkpoint's own, or set {} with -o"


def load_trained(path: Path, config: Config) -> Latte:
    """The averaged network of a checkpoint, if it is whole and the one that is configured.

    Args:
        path: anything that `load_latte` reads.
        config: whose network is expected.

    Returns:
        The network in float32 and evaluation mode, on the CPU.

    Raises:
        CheckpointError: if it is missing, broken, of another shape or a text-to-video network.
        ConfigError: if the configuration asks for a text-to-video network.
    """
    ours = shape_from_config(config)
    if isinstance(ours, TextShape):
        raise ConfigError("a text-to-video network cannot be used here", hint=_NO_TEXT)
    if is_diffusers_folder(path):
        raise CheckpointError(
            f"{path} is in diffusers' layout, as text-to-video networks are, "
            "which cannot be used here",
            hint=_NO_TEXT,
        )
    if path.is_dir() and (broken := find_corruption(path, FOR_SAMPLING)):
        raise CheckpointError(broken, hint="give another checkpoint")
    source = read_weights(path)
    text = source.kind == "latte-t2v"
    if text or isinstance(theirs := shape_of(source, ours.heads), TextShape):
        raise CheckpointError(
            f"{path} holds a text-to-video network, which cannot be used here", hint=_NO_TEXT
        )
    _refuse_other_shape(path, theirs, ours, config.vae.downsample)
    model = network_from(source, ours.heads)
    assert isinstance(model, Latte)
    return model


def weights_checksum(path: Path) -> str:
    """SHA-256 of the weights that sampling reads, of a checkpoint folder or a file of weights."""
    return sha256_of(path / "ema.safetensors" if path.is_dir() else path)


def place_of(path: Path) -> Path:
    """Where what belongs to a checkpoint lies: in its folder, or beside a file of weights."""
    return path if path.is_dir() else path.parent


def label_names(path: Path, codec: LatentCodec) -> tuple[str, ...]:
    """Names of the labels that a checkpoint's network knows; none where they are not told.

    Args:
        path: a checkpoint folder, or a file of weights, which tells nothing of the kind.
        codec: the autoencoder that the network is to be used with.

    Raises:
        CheckpointError: if the network is known to have learned another autoencoder's latents.
    """
    if not path.is_dir():
        return ()
    meta = read_checkpoint_meta(path)
    if meta.vae_fingerprint not in ("", codec.fingerprint):  # empty: not known
        raise CheckpointError(
            f"{path} was trained on the latents of another autoencoder",
            hint="set vae.path to the one that its videos were encoded with",
        )
    return meta.classes


def label_number(text: str, num_classes: int | None, classes: Sequence[str]) -> int:
    """A label's number from its number or its name.

    Args:
        text: as the user wrote it.
        num_classes: labels that the network knows; None: it is unconditional.
        classes: their names, where they have names.

    Raises:
        ConfigError: if the network knows no such label, or none at all.
    """
    if num_classes is None:
        raise ConfigError(
            "this network is unconditional, it takes no --label", hint="leave --label out"
        )
    if text in classes:
        return classes.index(text)
    if text.isdecimal() and int(text) < num_classes:
        return int(text)
    near = difflib.get_close_matches(text, classes, n=1)
    guess = f"did you mean `{near[0]}`? " if near else ""
    named = f" ({', '.join(classes[:4])}, …)" if classes else ""
    raise ConfigError(f"no label `{text}`", hint=f"{guess}labels are 0 to {num_classes - 1}{named}")


def _refuse_other_shape(path: Path, theirs: LatteShape, ours: LatteShape, downsample: int) -> None:
    """Whatever parameters and positions depend on must be the same."""
    there, asked = vars(theirs), vars(ours)
    other = [f.name for f in fields(ours) if f.compare and there[f.name] != asked[f.name]]
    if other and _OF_CLIPS.issuperset(other):
        raise CheckpointError(
            f"{path}: {other_clips(theirs, ours, downsample)}",
            hint=_OTHER.format("data.size and data.frames"),
        )
    if other:
        told = "; ".join(f"{key} is {there[key]}, not {asked[key]}" for key in other)
        raise CheckpointError(
            f"{path} holds another network than the preset's: {told}",
            hint=_OTHER.format("the values"),
        )
