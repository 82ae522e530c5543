"""What training clips are cut from: latents, or videos."""

from pathlib import Path

import numpy as np
import torch

from latte_cli.config import Config
from latte_cli.config.locations import Locations
from latte_cli.data.clips import ClipStore
from latte_cli.data.latents.reading import LatentSet
from latte_cli.data.manifest import MANIFEST
from latte_cli.data.pixels import PixelStore
from latte_cli.data.table import VideoTable
from latte_cli.runtime.distributed import broadcast_from_main
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import sha256_of
from latte_cli.vae import LatentCodec, load_codec


def open_store(
    config: Config, locations: Locations, device: torch.device
) -> tuple[ClipStore, tuple[str, ...], LatentCodec]:
    """What clips are cut from, the names of its labels, and the autoencoder.

    Latents are looked for first: the autoencoder may have to be fetched. Where they are named by
    `data.latents` alone, they are meant, whatever the data set of the preset's name holds.

    Raises:
        DataError: if it is missing, holds latents of videos that are not in the data set, or the
            configured network or autoencoder do not fit it.
        CheckpointError: if there is no such autoencoder.
    """
    if config.data.source == "pixels":
        codec = load_codec(config, device)
        pixels = PixelStore(locations.data(config), codec, config)
        return pixels, pixels.dataset.classes, codec
    latents = LatentSet.open(locations.latents(config))
    if config.data.root or not config.data.latents:
        broadcast_from_main(lambda: _refuse_other_videos(latents, locations.data(config)))
    codec = load_codec(config, device)
    _refuse_other_latents(latents, codec, config)
    return latents, latents.meta.classes, codec


def _refuse_other_latents(latents: LatentSet, codec: LatentCodec, config: Config) -> None:
    """Whatever the network and the autoencoder expect of latents must be so."""
    meta, stated = latents.meta, (config.data.size, config.vae.latent_channels, config.data.crop)
    if stated != (meta.size, meta.latent_channels, meta.crop):
        raise DataError(
            f"{latents.folder} holds latents of {meta.size} px with {meta.latent_channels} "
            f"channels ({meta.crop}), the configuration says {stated[0]} px with {stated[1]} "
            f"({stated[2]})",
            hint=f"-o data.size={meta.size} -o vae.latent_channels={meta.latent_channels} "
            f"-o data.crop={meta.crop}, or encode again",
        )
    if codec.fingerprint != meta.vae_fingerprint:
        raise DataError(
            f"{latents.folder} holds latents of another autoencoder than {config.vae.path}",
            hint=f"-o vae.path={meta.vae}, or encode again",
        )


def _refuse_other_videos(latents: LatentSet, data: Path) -> None:
    """Data sets of one folder name share a folder of latents: it must be of the one that is meant.

    A data set may be gone once it is encoded, and not all of its videos need have latents.
    """
    manifest = data / MANIFEST
    if not manifest.is_file() or sha256_of(manifest) == latents.meta.manifest:
        return
    known = VideoTable.read(manifest, contents=True).contents
    others = np.flatnonzero(~np.isin(latents.table.contents, known))
    if others.size:
        path = latents.table.row(int(others[0]))["path"]
        raise DataError(
            f"{latents.folder} holds latents of other videos than {manifest}: {others.size} of "
            f"{len(latents.table)}, the first is {path}",
            hint=f"`latte encode-latents --data {data}` encodes those of the manifest; with --out "
            "FOLDER, which -o data.latents=FOLDER trains on, both are kept",
        )
