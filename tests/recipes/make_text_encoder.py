"""Make a small text encoder for captions of `shapes`: tokenizer and T5, in their folders.

    python tests/recipes/make_text_encoder.py --out FOLDER [--steps 600]

The tokenizer knows the words of the captions of `shapes`, and tells any other from them;
punctuation is as space to it. The encoder, a T5 of two layers, is trained to let color, kind and
direction be read off each sentence's last token, of all sentences but the held-out ones. That takes
a minute or two.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import torch.nn.functional as F
from sentencepiece import sentencepiece_model_pb2
from torch import Tensor, nn
from transformers import AutoTokenizer, T5Config, T5EncoderModel

from latte_cli.runtime.files import atomic_folder
from latte_cli.sources.shapes import (
    COLORS,
    DIRECTIONS,
    GRAY,
    KINDS,
    held_out_sentences,
    sentences,
)

WIDTH = 128
SPACE = ord(" ")
AS_SPACE = ',.;:!?-"()'
MARKS = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


Sentence = tuple[str, tuple[int, int, int]]
"""A caption, and the numbers of its color, kind and direction."""


def all_sentences() -> list[Sentence]:
    """Every sentence that may describe a clip of `shapes`."""
    parts = (enumerate((*COLORS, GRAY)), enumerate(KINDS), enumerate(DIRECTIONS))
    return [
        (text, (c, k, d))
        for (c, color), (k, kind), (d, direction) in itertools.product(*parts)
        for text in sentences(color, kind, direction)
    ]


def write_tokenizer(folder: Path, texts: list[str]) -> None:
    """Write a tokenizer of whole words, in the files that transformers reads a T5's from."""
    folder.mkdir(parents=True, exist_ok=True)
    spaced = [text.translate({ord(mark): " " for mark in AS_SPACE}) for text in texts]
    words = {word for text in spaced for word in text.split()}
    rules, model = folder / "rules.tsv", folder / "spiece.model"
    rules.write_text("".join(f"{ord(mark):X}\t{SPACE:X}\n" for mark in AS_SPACE))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(model.with_suffix("")),
        model_type="word",
        vocab_size=len(words) + 3,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        normalization_rule_tsv=str(rules),
        minloglevel=2,
    )  # fmt: skip
    # Libraries read T5's tokenizers as unigram models, which split words alike if all are whole.
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.read_bytes())
    proto.trainer_spec.model_type = sentencepiece_model_pb2.TrainerSpec.UNIGRAM
    proto.trainer_spec.model_prefix = proto.normalizer_spec.normalization_rule_tsv = ""
    model.write_bytes(proto.SerializeToString())
    for path in (rules, folder / "spiece.vocab"):
        path.unlink()
    config = {"tokenizer_class": "T5Tokenizer", "model_max_length": 120, "extra_ids": 0}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, **MARKS}, indent=2) + "\n")


class Reader(nn.Module):
    """The encoder, and what reads color, kind and direction off its last token."""

    def __init__(self, tokenizer: Any, encoder: nn.Module) -> None:
        super().__init__()
        self.tokenizer, self.encoder = tokenizer, encoder
        counts = (len(COLORS) + 1, len(KINDS), len(DIRECTIONS))
        self.heads = nn.ModuleList(nn.Linear(WIDTH, count) for count in counts)

    def forward(self, chosen: list[Sentence]) -> tuple[Tensor, Tensor]:
        """The loss, and the share of attributes that are read off right."""
        texts, attributes = zip(*chosen, strict=True)
        batch = self.tokenizer(list(texts), padding=True, return_tensors="pt")
        tokens = self.encoder(batch.input_ids, attention_mask=batch.attention_mask)[0]
        last = tokens[torch.arange(len(tokens)), batch.attention_mask.sum(1) - 1]
        targets = torch.tensor(attributes).unbind(1)
        pairs = [(head(last), t) for head, t in zip(self.heads, targets, strict=True)]
        loss = torch.stack([F.cross_entropy(answer, target) for answer, target in pairs]).sum()
        right = torch.stack([(answer.argmax(1) == target).float() for answer, target in pairs])
        return loss, right.mean()


def train(reader: Reader, steps: int) -> float:
    """Train the encoder; the share of attributes of the held-out sentences that it gets right."""
    held_out = [each for each in all_sentences() if each[0] in held_out_sentences()]
    known = [each for each in all_sentences() if each not in held_out]
    optimizer = torch.optim.AdamW(reader.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = torch.randint(len(known), (64,), generator=generator).tolist()
        loss, _ = reader([known[n] for n in chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return float(reader(held_out)[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    torch.manual_seed(0)
    with atomic_folder(options.out) as part:
        right = make(part, options.steps)
    print(f"{right:.1%} of colors, kinds and directions of held-out sentences are read off right")


def make(folder: Path, steps: int) -> float:
    """Write tokenizer and encoder; see `train`."""
    write_tokenizer(folder / "tokenizer", [text for text, _ in all_sentences()])
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    config = T5Config(
        vocab_size=len(tokenizer), d_model=WIDTH, d_kv=32, d_ff=256, num_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu", dropout_rate=0.0,
    )  # fmt: skip
    encoder = T5EncoderModel(config)
    right = train(Reader(tokenizer, encoder), steps)
    encoder.eval().half().save_pretrained(folder / "text_encoder")
    return right


if __name__ == "__main__":
    main()
