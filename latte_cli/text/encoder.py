"""From prompts to text embeddings: T5, as the published text-to-video models were trained on it."""

# Axes: l tokens of text, d width of the embeddings.

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.text.caption_cleaning import clean_caption

MAX_TOKENS = 120
"""Tokens of a prompt that the published models were trained on; what is longer is cut."""

_UNLOADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError)


@dataclass(frozen=True)
class EncodedText:
    """A text as the network is told it.

    Attributes:
        tokens: embeddings, (120, d), of the text and of the padding behind it.
        length: tokens that are text.
        cut: the end of the text that did not fit; empty where all did.
    """

    tokens: Tensor
    length: int
    cut: str = ""


class TextEncoder:
    """A T5 encoder and its tokenizer.

    Args:
        tokenizer: of transformers.
        model: transformers' T5EncoderModel.
        device: where it runs.
    """

    def __init__(self, tokenizer: Any, model: Any, device: torch.device) -> None:
        self._tokenizer, self._device = tokenizer, device
        self._model = model.eval().requires_grad_(False)

    @classmethod
    def load(
        cls,
        tokenizer: Path,
        model: Path,
        device: torch.device,
        dtype: torch.dtype,
        bits: int | None = None,
    ) -> "TextEncoder":
        """Load from a pipeline's folders.

        Args:
            tokenizer: folder of the tokenizer.
            model: folder of the encoder, in transformers' layout; several files of weights, too.
            device: where it is to run.
            dtype: of its weights, and of what it gives.
            bits: 8 or 4: quantize the weights on loading, with bitsandbytes on a GPU.

        Raises:
            CheckpointError: if the folders hold no tokenizer or no T5, or not a whole one.
            ConfigError: if bitsandbytes, or a GPU for it, is missing.
        """
        import transformers

        logging: Any = transformers.utils.logging
        encoder: Any = transformers.T5EncoderModel
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        options: dict[str, Any] = {"dtype": dtype, "output_loading_info": True}
        if bits is not None:
            options["quantization_config"] = _quantization(bits, device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries among themselves
            words = _load_tokenizer(tokenizer)
            try:
                network, found = encoder.from_pretrained(model, **options)
            except _UNLOADABLE as error:
                raise CheckpointError(
                    f"{model}: holds no text encoder that can be read",
                    hint="it needs config.json of a T5 and its weights as safetensors",
                ) from error
        if found["missing_keys"]:
            raise CheckpointError(
                f"{model}: {len(found['missing_keys'])} weights are missing, "
                f"{min(found['missing_keys'])} for one",
                hint="copy or download it again",
            )
        return cls(words, network if bits else network.to(device), device)

    @property
    def width(self) -> int:
        """Of the embeddings."""
        return int(self._model.config.d_model)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], *, clean: bool = True) -> list[EncodedText]:
        """Encode texts one by one, so that each is the same whatever stands beside it.

        Args:
            texts: as the user wrote them.
            clean: clean them as captions of the training set were; else only lower-case them.
        """
        return [self._encode(clean_caption(t) if clean else t.lower().strip()) for t in texts]

    def _encode(self, text: str) -> EncodedText:
        told = self._tokenizer(
            text,
            padding="max_length",
            max_length=MAX_TOKENS,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self._device)
        tokens = self._model(told.input_ids, attention_mask=told.attention_mask)[0][0]
        whole = self._tokenizer(text).input_ids
        # The last token of a text is its end mark, which is kept.
        cut = self._tokenizer.decode(whole[MAX_TOKENS - 1 : -1]) if len(whole) > MAX_TOKENS else ""
        return EncodedText(tokens, int(told.attention_mask.sum()), cut.strip())


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        # Without either file transformers would go on with a vocabulary of its own.
        if not any((folder / name).is_file() for name in ("spiece.model", "tokenizer.json")):
            raise FileNotFoundError
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except _UNLOADABLE as error:
        raise CheckpointError(
            f"{folder}: holds no tokenizer that can be read",
            hint="it needs spiece.model and tokenizer_config.json, or tokenizer.json",
        ) from error


def _quantization(bits: int, device: torch.device) -> Any:
    if bits not in (4, 8):
        raise ConfigError(f"a text encoder of {bits} bits is not known", hint="8 or 4")
    if find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"a text encoder of {bits} bits needs the package bitsandbytes",
            hint="pip install 'latte-cli[quantized]'",
        )
    if device.type != "cuda":
        raise ConfigError(
            f"a text encoder of {bits} bits needs a GPU", hint="leave --text-encoder-bits out"
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_8bit=bits == 8,
        load_in_4bit=bits == 4,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
