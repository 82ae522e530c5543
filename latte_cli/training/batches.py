"""Training batches: the data, this process's micro-batches, and cutting them ahead of time."""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from latte_cli.config import Config
from latte_cli.config.locations import Locations
from latte_cli.config.train_section import TrainConfig
from latte_cli.data.batch import Batch
from latte_cli.data.clips import ClipSampler, ClipStore
from latte_cli.data.latents.reading import LatentSet
from latte_cli.data.manifest import MANIFEST
from latte_cli.data.pixels import PixelStore
from latte_cli.data.table import VideoTable
from latte_cli.data.texts.store import TextSet
from latte_cli.runtime.distributed import broadcast_from_main, rank, world_size
from latte_cli.runtime.errors import CheckpointError, DataError, LatteWarning
from latte_cli.runtime.files import sha256_of
from latte_cli.sampling.pipelines.files import PipelineFiles
from latte_cli.vae import LatentCodec, load_codec

_AHEAD = 2  # batches
_FETCHED_AHEAD = 16  # batches whose videos are fetched, if these lie elsewhere


def open_store(
    config: Config, locations: Locations, device: torch.device
) -> tuple[ClipStore, tuple[str, ...], LatentCodec]:
    """Open the latents or videos to train on; return them, their class names, and the autoencoder.

    Latents are opened first, since the autoencoder may have to be downloaded. If only
    `data.latents` is set, the latents need not match a data set of the preset's name.

    Raises:
        DataError: if the data is missing, the latents are of other videos than the data set, or
            they do not fit the configured network or autoencoder.
        CheckpointError: if there is no such autoencoder.
    """
    texts = open_texts(config, locations) if config.model.condition == "text" else None
    if config.data.source == "pixels":
        codec = load_codec(config, device)
        pixels = PixelStore(locations.data(config), codec, config)
        pixels.texts = texts
        return pixels, pixels.dataset.classes, codec
    latents = LatentSet.open(locations.latents(config))
    if config.data.root or not config.data.latents:
        broadcast_from_main(lambda: _check_same_videos(latents, locations.data(config)))
    codec = load_codec(config, device)
    _check_latents_fit(latents, codec, config)
    latents.texts = texts
    return latents, latents.meta.classes, codec


def open_texts(config: Config, locations: Locations) -> TextSet:
    """The encoded captions to train on.

    Raises:
        DataError: if they, or the prompts of previews, are missing, do not fit the configured
            network, or were encoded by another encoder than the configured one.
    """
    texts = TextSet.open(locations.texts(config))
    _check_encoder(texts, config)
    if texts.meta.width != config.model.text_width:
        raise DataError(
            f"{texts.folder} holds embeddings of width {texts.meta.width}, the network takes "
            f"{config.model.text_width}",
            hint=f"-o model.text_width={texts.meta.width}, or encode again by another text.path",
        )
    if config.train.preview_every is not None:
        texts.numbers(config.sample.prompts)  # raises now rather than at the first preview
    return texts


def _check_encoder(texts: TextSet, config: Config) -> None:
    """Raise if `text.path` or `text.clean` would give other embeddings, as they do in sampling.

    The encoder need not be on this machine: training does without. Then it is not checked.
    """
    meta, files = texts.meta, config.text.path
    if meta.clean != config.text.clean:
        raise DataError(
            f"{texts.folder} holds captions that were {'' if meta.clean else 'not '}cleaned, but "
            f"text.clean is {config.text.clean}",
            hint=f"-o text.clean={str(meta.clean).lower()}, or -o data.texts=FOLDER and encode "
            "again",
        )
    if not Path(files).is_dir():
        return
    try:
        fingerprint = PipelineFiles(files, is_whole=False).text_fingerprint()
    except CheckpointError:
        return
    if fingerprint != meta.fingerprint:
        raise DataError(
            f"{texts.folder} holds embeddings of another text encoder than {files} is now",
            hint=f"-o text.path={meta.encoder} if that is the one, or -o data.texts=FOLDER and "
            "encode again",
        )


def _check_latents_fit(latents: LatentSet, codec: LatentCodec, config: Config) -> None:
    """Raise if the latents are not those that the network and the autoencoder expect."""
    meta, wanted = latents.meta, (config.data.size, config.vae.latent_channels, config.data.crop)
    if wanted != (meta.size, meta.latent_channels, meta.crop):
        raise DataError(
            f"{latents.folder} holds latents of {meta.size} px with {meta.latent_channels} "
            f"channels ({meta.crop}), the configuration says {wanted[0]} px with {wanted[1]} "
            f"({wanted[2]})",
            hint=f"-o data.size={meta.size} -o vae.latent_channels={meta.latent_channels} "
            f"-o data.crop={meta.crop}, or `latte encode-latents --out FOLDER`, then -o "
            "data.latents=FOLDER",
        )
    if codec.fingerprint != meta.vae_fingerprint:
        raise DataError(
            f"{latents.folder} holds latents of another autoencoder than {config.vae.path}",
            hint=f"-o vae.path={meta.vae}, or `latte encode-latents --out FOLDER`, then "
            "-o data.latents=FOLDER",
        )


def _check_same_videos(latents: LatentSet, data: Path) -> None:
    """Raise if latents are of videos outside the data set: folders of one name share latents.

    The data set may have been deleted after encoding, and not all of its videos need latents. If it
    has other labels or more videos than when it was encoded, a warning says so.
    """
    manifest = data / MANIFEST
    if not manifest.is_file() or sha256_of(manifest) == latents.meta.manifest:
        return
    table = VideoTable.read(manifest, contents=True)
    others = np.flatnonzero(~np.isin(latents.table.contents, table.contents))
    if others.size:
        path = latents.table.row(int(others[0]))["path"]
        raise DataError(
            f"{latents.folder} holds latents of other videos than {manifest}: {others.size} of "
            f"{len(latents.table)}, the first is {path}",
            hint=f"`latte encode-latents --data {data}` encodes the videos of the manifest; with "
            "--out FOLDER, then training with -o data.latents=FOLDER, both are kept",
        )
    new = int((~np.isin(table.contents, latents.table.contents)).sum())
    order = np.argsort(table.contents)
    places = order[np.searchsorted(table.contents[order], latents.table.contents)]
    relabeled = int((table.labels[places] != latents.table.labels).sum())
    if new or relabeled:
        warnings.warn(
            f"{manifest} has changed since it was encoded (videos without latents: {new}, with "
            f"other labels: {relabeled}); training takes what is encoded. `latte encode-latents "
            f"--data {data}` brings that up to date",
            LatteWarning,
            stacklevel=2,
        )


def latents_elsewhere(store: ClipStore) -> LatentSet | None:
    """The latents of a store that are fetched through the network; None if they are here."""
    return store if isinstance(store, LatentSet) and store.is_elsewhere else None


def micro_batches(train: TrainConfig) -> list[range]:
    """The clips of each batch that this process takes, as micro-batches of one size.

    A batch, and so the loss, is the same for any number of processes and micro-batches.

    Raises:
        ConfigError: if the batch does not divide among them.
    """
    size = train.micro_batch_size(world_size())
    shared = train.sequence_parallel  # processes that take the same clips
    own = range(rank() // shared, train.batch_size, world_size() // shared)
    return [own[first : first + size] for first in range(0, len(own), size)]


class BatchLoader:
    """Cuts this process's share of each batch in a background thread, two batches ahead.

    What lies elsewhere is fetched by other threads, further ahead: a batch then waits for the
    network's throughput rather than for its answers. Use it as a context manager, which ends them.

    Args:
        sampler: cuts clips.
        micro_batches: which clips of each batch to load, from `micro_batches`.
        device: where the batches are needed.
        elsewhere: the latents to fetch, from `latents_elsewhere`.
        drawn: which batch of the data a batch of the run is; by default each is another.
    """

    def __init__(
        self,
        sampler: ClipSampler,
        micro_batches: Sequence[range],
        device: torch.device,
        elsewhere: LatentSet | None = None,
        drawn: Callable[[int], int] = int,
    ) -> None:
        self._sampler, self._micro_batches, self._device = sampler, micro_batches, device
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._futures: dict[int, Future[list[Batch]]] = {}
        self._elsewhere, self._drawn = elsewhere, drawn
        self._fetched = range(0)  # the batches that are being fetched ahead, or are here

    def load(self, number: int, last: int) -> list[Batch]:
        """Return the micro-batches of one batch, and start on the batches after it.

        Args:
            number: of the batch.
            last: number of the last batch that will be needed, as far as is known.
        """
        wanted = range(number, max(number, min(number + _AHEAD, last)) + 1)
        for other in set(self._futures).difference(wanted):  # the run went back to a checkpoint
            self._futures.pop(other).cancel()
        self._fetch_ahead(range(number, max(number, min(number + _FETCHED_AHEAD, last)) + 1))
        for coming in wanted:
            if coming not in self._futures:
                self._futures[coming] = self._pool.submit(self._cut, coming)
        return [batch.to(self._device) for batch in self._futures.pop(number).result()]

    def _fetch_ahead(self, wanted: range) -> None:
        if self._elsewhere is not None:
            for number in wanted:
                if number not in self._fetched:
                    for indices in self._micro_batches:
                        videos = self._sampler.videos_of(self._drawn(number), indices)
                        self._elsewhere.fetch_ahead(videos)
            self._fetched = wanted

    def _cut(self, number: int) -> list[Batch]:
        drawn = self._drawn(number)
        batches = [self._sampler.batch(drawn, indices) for indices in self._micro_batches]
        pin = self._device.type == "cuda"
        return [batch.pinned() for batch in batches] if pin else batches

    def __enter__(self) -> "BatchLoader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._elsewhere is not None:
            self._elsewhere.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
