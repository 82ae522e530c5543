"""From prompts to text embeddings by T5, as the published text-to-video models were trained."""

# Axes: l tokens of text, d width of the embeddings.

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latte_cli.runtime.errors import CheckpointError, ConfigError, LatteError
from latte_cli.runtime.finite import all_finite
from latte_cli.runtime.weight_files.pretrained import find_weight_set
from latte_cli.text.caption_cleaning import clean_caption

MAX_TOKENS = 120
"""Tokens of a prompt in the training of the published models; longer prompts are cut."""

_MAX_SHOWN = 60  # characters of a text in a message
_WORD_START = "\u2581"  # of sentencepiece, in place of a space
_FEW_WORDS = 64
_PUNCTUATION = ".,;:!?\"'()"


@dataclass(frozen=True)
class EncodedText:
    """A text as the network is conditioned on it.

    Attributes:
        tokens: embeddings, (120, d), of the text and its padding.
        length: tokens that are not padding.
        cut: the end of the text that did not fit; empty if all did.
        unknown: tokens that stand for anything the tokenizer does not know.
        tokens_cut: number of tokens that did not fit.
        unknown_words: the words that hold these.
    """

    tokens: Tensor
    length: int
    cut: str = ""
    unknown: int = 0
    tokens_cut: int = 0
    unknown_words: tuple[str, ...] = ()


class TextEncoder:
    """A T5 encoder and its tokenizer.

    Args:
        tokenizer: of transformers.
        model: transformers' T5EncoderModel.
        device: on which it runs.
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
            model: folder of the encoder, in transformers' layout.
            device: on which it runs.
            dtype: of its weights and the embeddings.
            bits: 8 or 4: quantize the weights with bitsandbytes on a GPU.

        Raises:
            CheckpointError: if the folders have no tokenizer or no T5, or weights are missing.
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
            warnings.simplefilter("ignore")  # the libraries' own
            loaded_tokenizer = _load_tokenizer(tokenizer)
            try:
                if (files := find_weight_set(model)) is not None:
                    options |= files.options
                network, found = encoder.from_pretrained(model, **options)
            except (LatteError, MemoryError):
                raise
            except Exception as error:  # a damaged file may raise almost anything
                raise CheckpointError(
                    f"{model}: has no readable text encoder",
                    hint="it needs config.json of a T5 and its weights: model.safetensors (or "
                    "pytorch_model.bin, or model.fp16.safetensors), or shards and their index",
                ) from error
        if found["missing_keys"]:
            raise CheckpointError(
                f"{model}: {len(found['missing_keys'])} weights are missing, "
                f"{min(found['missing_keys'])} for one",
                hint="copy or download it again",
            )
        return cls(loaded_tokenizer, network if bits else network.to(device), device)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], *, clean: bool = True) -> list[EncodedText]:
        """Encode each text by itself, so that it does not depend on the others.

        Args:
            texts: as written by the user.
            clean: clean them as captions of the training set were; otherwise only lower-case them.
        """
        return [self._encode(clean_caption(t) if clean else t.lower().strip()) for t in texts]

    def _encode(self, text: str) -> EncodedText:
        padded = _pad(self._tokenizer, text).to(self._device)
        try:
            tokens = self._model(padded.input_ids, attention_mask=padded.attention_mask)[0][0]
        except (ValueError, ArithmeticError) as error:  # of a network of damaged sizes
            raise CheckpointError(
                f"the text encoder cannot be used: {error}",
                hint="its config.json is damaged: copy or download it again",
            ) from error
        if not all_finite(tokens):
            raise CheckpointError(
                f"the text encoder's embedding of `{text[:_MAX_SHOWN]}` is not finite",
                hint="check its weights, or compute in float32: --precision float32",
            )
        full = self._tokenizer(text).input_ids
        # The last token is the end-of-sequence token, which is kept.
        cut = self._tokenizer.decode(full[MAX_TOKENS - 1 : -1]) if len(full) > MAX_TOKENS else ""
        unknown = full.count(self._tokenizer.unk_token_id)
        return EncodedText(
            tokens,
            int(padded.attention_mask.sum()),
            cut.strip(),
            unknown,
            tokens_cut=max(0, len(full) - MAX_TOKENS),
            unknown_words=self._unknown_words(text) if unknown else (),
        )

    def known_words(self) -> tuple[str, ...]:
        """The words that the tokenizer knows, if its tokens are few and whole words; else none."""
        pieces = self._tokenizer.get_vocab().keys() - set(self._tokenizer.all_special_tokens)
        if len(pieces) > _FEW_WORDS or not all(p.startswith(_WORD_START) for p in pieces):
            return ()
        return tuple(sorted(piece.removeprefix(_WORD_START) for piece in pieces))

    def _unknown_words(self, text: str) -> tuple[str, ...]:
        words = dict.fromkeys(text.split())
        tokens = ((word, self._tokenizer(word).input_ids) for word in words)
        found = (word for word, ids in tokens if self._tokenizer.unk_token_id in ids)
        return tuple(dict.fromkeys(word.strip(_PUNCTUATION) or word for word in found))


def _pad(tokenizer: Any, text: str) -> Any:
    """Tokens of a text and their mask, padded to a fixed number."""
    return tokenizer(
        text,
        padding="max_length",
        max_length=MAX_TOKENS,
        truncation=True,
        return_attention_mask=True,
        return_tensors="pt",
    )


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        # Without either file transformers would use a vocabulary of its own.
        if not any((folder / name).is_file() for name in ("spiece.model", "tokenizer.json")):
            raise FileNotFoundError
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        _pad(tokenizer, "a")  # fails for some damaged configurations, as the next line for others
        tokenizer.decode(tokenizer("a").input_ids)
        return tokenizer
    except MemoryError:
        raise
    except Exception as error:  # a damaged file may raise almost anything
        raise CheckpointError(
            f"{folder}: has no readable tokenizer",
            hint="it needs spiece.model and tokenizer_config.json, or tokenizer.json",
        ) from error


def check_bits(bits: int, device: torch.device, otherwise: str) -> None:
    """Check that a text encoder can be quantized, which only bitsandbytes on a GPU does.

    Args:
        bits: of a weight.
        device: on which it runs.
        otherwise: what leaves it as it is, for the hint.

    Raises:
        ConfigError: if it cannot.
    """
    if find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"a text encoder of {bits} bits needs the package bitsandbytes",
            hint=f"pip install 'latte-cli[quantized]', or {otherwise}",
        )
    if device.type != "cuda":
        raise ConfigError(f"a text encoder of {bits} bits needs a GPU", hint=otherwise)


def _quantization(bits: int, device: torch.device) -> Any:
    if bits not in (4, 8):
        raise ConfigError(
            f"a text encoder of {bits} bits is not supported", hint="--text-encoder-bits 8, or 4"
        )
    check_bits(bits, device, "leave --text-encoder-bits out")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_8bit=bits == 8,
        load_in_4bit=bits == 4,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
