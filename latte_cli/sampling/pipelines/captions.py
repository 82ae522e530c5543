"""The captions of a data set through a pipeline's text encoder, once."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from latte_cli.config import Config
from latte_cli.config.locations import Locations
from latte_cli.data.manifest import Dataset
from latte_cli.data.texts.encoding import Encode, TextFolder, encode_missing
from latte_cli.data.texts.store import NULL_TEXT, TextMeta
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import pick_device
from latte_cli.runtime.errors import CheckpointError, DataError
from latte_cli.sampling.pipelines.files import PipelineFiles
from latte_cli.text.encoder import MAX_TOKENS, TextEncoder

_BITS = {"int8": 8}


@dataclass(frozen=True)
class TextsResult:
    """How many different captions a data set has, and how many this process encoded."""

    out: Path
    texts: int
    encoded_now: int


def encode_captions(
    config: Config, locations: Locations, dataset: Dataset, console: Console
) -> TextsResult:
    """Encode the captions that are not encoded yet, and the prompts of previews.

    Raises:
        CheckpointError: if the text encoder cannot be loaded.
        DataError: if no video has a caption, or the folder holds texts of another encoder.
    """
    files = PipelineFiles(config.text.path, is_whole=False)
    captions = [caption for video in dataset.videos for caption in video.captions]
    if not captions:
        raise DataError(
            f"{dataset.folder}: no video has a caption, but model.condition is text",
            hint="`latte prepare captions` takes a table of videos and captions",
        )
    meta = TextMeta(
        encoder=config.text.path,
        fingerprint=files.fingerprint("text_encoder"),
        width=_width(files),
        tokens=MAX_TOKENS,
        clean=config.text.clean,
        texts=0,
    )
    folder = TextFolder(locations.texts(config), meta, [*config.sample.prompts, *captions])
    encoded = encode_missing(folder, lambda: _load(config, files, console), console)
    return TextsResult(folder.folder, folder.meta.texts, encoded)


def _width(files: PipelineFiles) -> int:
    """Of the encoder's embeddings."""
    path = files.part("text_encoder") / "config.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["d_model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not the configuration of a T5", hint="copy or download the pipeline again"
        ) from error


def _load(config: Config, files: PipelineFiles, console: Console) -> Encode:
    """The encoder; texts that are cut, or have unknown parts, are counted and reported."""
    console.info(f"reading the text encoder of {config.text.path}")
    precision = config.text.precision
    encoder = TextEncoder.load(
        files.part("tokenizer"),
        files.part("text_encoder"),
        pick_device(),
        torch.float32 if precision == "float32" else torch.bfloat16,
        _BITS.get(precision),
    )

    def encode(texts: Sequence[str]) -> list[Tensor]:
        return list(_encode(encoder, texts, console, clean=config.text.clean))

    return encode


def _encode(
    encoder: TextEncoder, texts: Sequence[str], console: Console, *, clean: bool
) -> Iterator[Tensor]:
    for text, found in zip(texts, encoder.encode(texts, clean=clean), strict=True):
        if found.cut:
            console.debug(f"longer than {MAX_TOKENS} tokens, left out: {found.cut}")
        yield found.tokens if text == NULL_TEXT else found.tokens[: found.length]
