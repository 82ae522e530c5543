"""Trained networks: loading the configured one, and its labels."""

from dataclasses import fields
from pathlib import Path

from latte_cli.checkpoints.choice import NO_TEXT, refuse_diffusers_folder
from latte_cli.checkpoints.folder import FOR_SAMPLING, find_corruption, read_checkpoint_meta
from latte_cli.config import Config
from latte_cli.models import Latte, LatteShape, TextShape, shape_from_config
from latte_cli.models.loading import load_network
from latte_cli.models.reading import clip_size_difference, infer_shape, read_weights
from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.runtime.files import sha256_of
from latte_cli.vae import LatentCodec

_CLIP_SIZE = {"latent_size", "num_frames"}
_OTHER_SHAPE = "omit --preset to use the checkpoint's own configuration, or set {} with -o"


def load_trained(path: Path, config: Config) -> Latte:
    """The EMA network of a checkpoint, checked against the configuration.

    Args:
        path: anything that `load_latte` reads.
        config: of the expected network.

    Returns:
        The network in float32 and evaluation mode, on the CPU.

    Raises:
        CheckpointError: if it is missing, damaged, of another shape or a text-to-video network.
        ConfigError: if the configuration is of a text-to-video network.
    """
    ours = shape_from_config(config)
    if isinstance(ours, TextShape):
        raise ConfigError("a text-to-video network cannot be used here", hint=NO_TEXT)
    refuse_diffusers_folder(path)
    if path.is_dir() and (broken := find_corruption(path, FOR_SAMPLING)):
        raise CheckpointError(broken, hint="give another checkpoint, or copy this one again")
    source = read_weights(path)
    if source.kind == "latte-t2v" or isinstance(
        theirs := infer_shape(source, ours.heads), TextShape
    ):
        raise CheckpointError(
            f"{path} holds a text-to-video network, which cannot be used here", hint=NO_TEXT
        )
    _check_shape(path, theirs, ours, config.vae.downsample)
    model = load_network(source, ours.heads)
    assert isinstance(model, Latte)
    return model


def weights_checksum(path: Path) -> str:
    """SHA-256 of the weights that sampling reads, in a checkpoint folder or a file."""
    return sha256_of(path / "ema.safetensors" if path.is_dir() else path)


def folder_of_weights(path: Path) -> Path:
    """The checkpoint folder itself, or the folder of a file of weights."""
    return path if path.is_dir() else path.parent


def label_names(path: Path, codec: LatentCodec) -> tuple[str, ...]:
    """Names of a checkpoint's labels; empty if they are unknown.

    Args:
        path: a checkpoint folder, or a file of weights, which has no names.
        codec: the autoencoder to use the network with.

    Raises:
        CheckpointError: if the network was trained on the latents of another autoencoder.
    """
    if not path.is_dir():
        return ()
    meta = read_checkpoint_meta(path)
    if meta.vae_fingerprint not in ("", codec.fingerprint):  # empty: unknown
        raise CheckpointError(
            f"{path} was trained on the latents of another autoencoder",
            hint="set vae.path to the one that encoded its videos",
        )
    return meta.classes


def _check_shape(path: Path, theirs: LatteShape, ours: LatteShape, downsample: int) -> None:
    """All values that parameters and positions depend on must be equal."""
    found, wanted = vars(theirs), vars(ours)
    other = [f.name for f in fields(ours) if f.compare and found[f.name] != wanted[f.name]]
    if other and _CLIP_SIZE.issuperset(other):
        raise CheckpointError(
            f"{path}: {clip_size_difference(theirs, ours, downsample)}",
            hint=_OTHER_SHAPE.format("data.size and data.frames"),
        )
    if other:
        values = "; ".join(f"{key} is {found[key]}, not {wanted[key]}" for key in other)
        raise CheckpointError(
            f"{path} holds another network than the preset's: {values}",
            hint=_OTHER_SHAPE.format("the values"),
        )
