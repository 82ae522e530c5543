"""What training clips are cut from: latents, or videos."""

from latte_cli.config import Config
from latte_cli.data.clips import ClipStore
from latte_cli.data.latents import LatentSet
from latte_cli.data.pixels import PixelStore
from latte_cli.errors import DataError
from latte_cli.locations import Locations
from latte_cli.vae import LatentCodec


def open_store(
    config: Config, locations: Locations, codec: LatentCodec
) -> tuple[ClipStore, tuple[str, ...]]:
    """What clips are cut from, and the names of its labels.

    Raises:
        DataError: if it is missing, or the configured network or autoencoder do not fit it.
    """
    if config.data.source == "pixels":
        pixels = PixelStore(locations.data(config), codec, config)
        return pixels, pixels.dataset.classes
    latents = LatentSet.open(locations.latents(config))
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
    return latents, meta.classes
