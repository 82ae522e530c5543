"""Clips that a text-to-video checkpoint generates from prompts, without files in between."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from latte_cli.config import Config
from latte_cli.data.texts.store import NULL_TEXT, TextSet
from latte_cli.evaluation.sources.videos import (
    ReadClips,
    ReadRequest,
    Transform,
    Video,
    open_again,
    unchanged,
)
from latte_cli.models import load_latte_t2v
from latte_cli.models.trained import label_names, weights_checksum
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import pick_device, resolve_precision
from latte_cli.runtime.errors import DataError
from latte_cli.sampling.clip_folder import ClipEntry
from latte_cli.sampling.pipelines.captions import encoded_captions, read_captions
from latte_cli.sampling.pipelines.files import PipelineFiles
from latte_cli.sampling.text_requests import TextClipRequest
from latte_cli.sampling.text_to_video import TextGenerator, configured_generator
from latte_cli.vae import load_codec

_NOT_OF_CLIPS = {"fps", "batch", "prompts", "sequence_parallel"}


class PromptedSource:
    """Clips of prompts, each with its own noise; the prompts are taken in turn.

    A clip depends on its index and prompt alone. The text encoder is only loaded where the prompts
    are not encoded yet, and freed before the network is loaded.

    Args:
        checkpoint: of the network.
        config: its configuration; `sample` has the sampling settings.
        count: number of clips.
        prompts: what they show.
        texts: folder of encoded captions, which may lack some or not exist; None: none.
        console: says what is loaded.

    Raises:
        CheckpointError: if a part is missing or broken, or of another network.
    """

    kind = "checkpoint"
    unreadable: Mapping[str, str] = {}

    def __init__(
        self,
        checkpoint: Path,
        config: Config,
        count: int,
        prompts: Sequence[str],
        texts: Path | None,
        console: Console,
    ) -> None:
        self.place = str(checkpoint)
        self._checkpoint, self._config, self._console = checkpoint, config, console
        self._arguments = (checkpoint, config, count, prompts, texts)
        self._prompts = tuple(dict.fromkeys(prompts))
        self._codec = load_codec(config, pick_device())
        label_names(checkpoint, self._codec)  # fails early if it needs another autoencoder
        self._stored = _stored(texts, config, self._prompts)
        identity = self._identity()
        self.videos = [
            Video(
                name=f"clip {index:06d}",
                key=f"{identity}-{index}-{hashlib.sha256(prompt.encode()).hexdigest()[:16]}",
                frames=config.data.frames,
                width=config.data.size,
                height=config.data.size,
                encoding="lossless",
                captions=(prompt,),
            )
            for index, prompt in ((n, prompts[n % len(prompts)]) for n in range(count))
        ]

    def __reduce__(self) -> tuple[Any, ...]:  # without networks
        arguments = (*self._arguments, Console(quiet=True))
        return open_again, (PromptedSource, arguments, self.videos[0].key)

    def origin(self, video: Video) -> str:
        """See `Source`: generated clips are exact pixels."""
        return ""

    def read(
        self, requests: Sequence[ReadRequest], transform: Transform = unchanged
    ) -> Iterator[ReadClips]:
        """See `Source`."""
        numbers = {video.name: number for number, video in enumerate(self.videos)}
        for request in requests:
            generator = self._generator  # loaded before the time is taken
            started = time.monotonic()
            video, sample = request.video, self._config.sample
            asked = TextClipRequest(
                entry=ClipEntry(video.name, {}),
                prompt=video.captions[0],
                negative=NULL_TEXT,
                seed=sample.seed,
                number=numbers[video.name],
                guidance=sample.guidance,
            )
            clip = generator.clip(asked, self._config.data.frames)
            clips = [transform(clip[list(window)], video) for window in request.windows]
            yield ReadClips(request, clips, time.monotonic() - started)

    @cached_property
    def _generator(self) -> TextGenerator:
        config, texts = self._config, (*self._prompts, NULL_TEXT)
        if self._stored is not None:
            encoded = read_captions(self._stored, texts)
        else:
            encoded = encoded_captions(config, texts, self._console)
        model = load_latte_t2v(self._checkpoint).to(self._codec.device)
        dtype = resolve_precision(config.sample.precision, self._codec.device)
        return configured_generator(config, model, self._codec, encoded, dtype)

    def _identity(self) -> str:
        """A hash of everything that a clip depends on besides its index and prompt."""
        config = self._config
        if self._stored is not None:
            encoder = [self._stored.meta.fingerprint, "stored"]
        else:
            files = PipelineFiles(config.text.path, is_whole=False)
            encoder = [files.text_fingerprint(), config.text.precision]
        settings = {
            "weights": weights_checksum(self._checkpoint),
            "text": [*encoder, config.text.clean],
            "vae": self._codec.fingerprint,
            "diffusion": config.diffusion.model_dump(),
            "sample": config.sample.model_dump(
                exclude={"fps", "batch", "prompts", "sequence_parallel"}
            ),
            "clip": [config.data.frames, config.data.size],
            "device": self._codec.device.type,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]


def _stored(folder: Path | None, config: Config, prompts: Sequence[str]) -> TextSet | None:
    """The encoded captions of a folder, if they are of this encoder and hold all prompts."""
    with suppress(DataError):  # missing, damaged, or without one of the prompts
        texts = None if folder is None else TextSet.open(folder)
        if texts is not None and (texts.meta.encoder, texts.meta.clean) == (
            config.text.path,
            config.text.clean,
        ):
            texts.numbers((*prompts, NULL_TEXT))
            return texts
    return None
