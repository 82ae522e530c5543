"""The captions of a data set through a pipeline's text encoder, once; and read again."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from latte_cli.config import Config
from latte_cli.config.locations import Locations
from latte_cli.data.manifest import Dataset
from latte_cli.data.texts.encoding import Encode, encode_missing
from latte_cli.data.texts.folder import TextFolder
from latte_cli.data.texts.inspecting import TextInfo, check_texts, count_text_checks, text_info
from latte_cli.data.texts.shards import EncodedCaption
from latte_cli.data.texts.store import NULL_TEXT, TextMeta, TextSet
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import pick_device
from latte_cli.runtime.errors import CheckpointError, DataError
from latte_cli.sampling.pipelines.files import PipelineFiles
from latte_cli.text.encoder import MAX_TOKENS, EncodedText, TextEncoder, check_bits

_BITS = {"int8": 8}


@dataclass(frozen=True)
class TextsResult:
    """How many different captions a data set has, and how many this process encoded."""

    out: Path
    texts: int
    encoded_now: int


def check_encoding(config: Config, dataset: Dataset) -> None:
    """Check that captions can be encoded, before videos are, which takes hours.

    Raises:
        CheckpointError: if there is no text encoder.
        ConfigError: if its precision is not available on this machine.
        DataError: if no video has a caption.
    """
    PipelineFiles(config.text.path, is_whole=False)
    if bits := _BITS.get(config.text.precision):
        check_bits(bits, pick_device(), "-o text.precision=bf16")
    if not any(video.captions for video in dataset.videos):
        raise DataError(
            f"{dataset.folder}: no video has a caption, but model.condition is text",
            hint="`latte prepare captions` takes a table of videos and captions",
        )


def encode_captions(
    config: Config, locations: Locations, dataset: Dataset, console: Console
) -> TextsResult:
    """Encode the captions that are not encoded yet, and the prompts of previews.

    Raises:
        CheckpointError: if the text encoder cannot be loaded.
        ConfigError: if its precision is not available on this machine.
        DataError: if no video has a caption, or the folder holds texts of another encoder.
    """
    check_encoding(config, dataset)
    meta = _meta(config)
    folder = TextFolder(locations.texts(config), meta, _texts(config, dataset))
    encoded = encode_missing(folder, lambda: _load(config, console), console)
    return TextsResult(folder.folder, folder.meta.texts, encoded)


def captions_info(config: Config, locations: Locations, dataset: Dataset | None) -> TextInfo:
    """What the folder of encoded captions holds; None: the data set is not there any more."""
    captions = [] if dataset is None else _captions(dataset)
    return text_info(locations.texts(config), captions, config.sample.prompts)


def count_caption_checks(config: Config, locations: Locations) -> int:
    """How often `check_captions` calls back."""
    return count_text_checks(locations.texts(config))


def check_captions(
    config: Config,
    locations: Locations,
    dataset: Dataset,
    console: Console,
    on_done: Callable[[], None],
) -> dict[str, str]:
    """The first problem of each file of encoded captions, by its path; empty if there are none.

    Args:
        config: says how they should be encoded.
        locations: of their folder.
        dataset: whose captions they should be.
        console: told if the text encoder is not there to compare with.
        on_done: called after each shard.
    """
    expected = None
    try:
        expected = _meta(config)
    except CheckpointError as error:
        console.warning(f"not checked whether texts are encoded by {config.text.path}: {error}")
    texts = _texts(config, dataset)
    return check_texts(locations.texts(config), expected, texts, on_done)


def _captions(dataset: Dataset) -> list[str]:
    return [caption for video in dataset.videos for caption in video.captions]


def _texts(config: Config, dataset: Dataset) -> list[str]:
    """All that is to be encoded: the prompts of previews, and captions."""
    return [*config.sample.prompts, *_captions(dataset)]


def _meta(config: Config) -> TextMeta:
    """How captions are encoded.

    Raises:
        CheckpointError: if there is no text encoder.
    """
    files = PipelineFiles(config.text.path, is_whole=False)
    return TextMeta(
        encoder=config.text.path,
        fingerprint=files.text_fingerprint(),
        width=_width(files),
        tokens=MAX_TOKENS,
        clean=config.text.clean,
        texts=0,
        precision=config.text.precision,
    )


def _width(files: PipelineFiles) -> int:
    """Of the encoder's embeddings."""
    path = files.part("text_encoder") / "config.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["d_model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not the configuration of a T5", hint="copy or download the pipeline again"
        ) from error


def _load(config: Config, console: Console) -> Encode:
    encoder = _load_encoder(config, console)

    def encode(texts: Sequence[str]) -> list[EncodedCaption]:
        return list(_encode(encoder, texts, clean=config.text.clean))

    return encode


def _encode(encoder: TextEncoder, texts: Sequence[str], *, clean: bool) -> Iterator[EncodedCaption]:
    for text, found in zip(texts, encoder.encode(texts, clean=clean), strict=True):
        tokens = found.tokens if text == NULL_TEXT else found.tokens[: found.length]
        yield EncodedCaption(tokens, found.tokens_cut, found.unknown)


def _load_encoder(config: Config, console: Console) -> TextEncoder:
    files = PipelineFiles(config.text.path, is_whole=False)
    console.info(f"reading the text encoder of {config.text.path}")
    precision = config.text.precision
    return TextEncoder.load(
        files.part("tokenizer"),
        files.part("text_encoder"),
        pick_device(),
        torch.float32 if precision == "float32" else torch.bfloat16,
        _BITS.get(precision),
    )


def read_captions(texts: TextSet, wanted: Iterable[str]) -> dict[str, EncodedText]:
    """Texts that are encoded, as a generator takes them.

    Raises:
        DataError: if one is not encoded.
    """
    found = list(dict.fromkeys(wanted))
    embeddings = map(texts.embedding, map(int, texts.numbers(found)))
    return {
        text: EncodedText(tokens.to(torch.float32), len(tokens))
        for text, tokens in zip(found, embeddings, strict=True)
    }


def encoded_captions(
    config: Config, wanted: Iterable[str], console: Console
) -> dict[str, EncodedText]:
    """Encode texts as `encode_captions` does, without storing them.

    Raises:
        CheckpointError: if the text encoder cannot be loaded.
    """
    texts = list(dict.fromkeys(wanted))
    encoder = _load_encoder(config, console)
    return dict(zip(texts, encoder.encode(texts, clean=config.text.clean), strict=True))
