"""Make a small text encoder for captions of `shapes`: tokenizer and T5, in their folders.

    python tests/recipes/make_text_encoder.py --out FOLDER [--steps 600]

The tokenizer knows the words of the captions of `shapes`, and tells any other from them. The
encoder, a T5 of two layers, is trained to let color, kind and direction be read off each sentence's
last token. That takes a minute or two.
"""

import argparse
import itertools
import json
from pathlib import Path

import sentencepiece
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoTokenizer, T5Config, T5EncoderModel

from latte_cli.sources.shapes import COLORS, DIRECTIONS, GRAY, KINDS, WORDINGS

WIDTH = 128
MARKS = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def sentences() -> list[tuple[str, tuple[int, int, int]]]:
    """Every caption of `shapes`, and the numbers of its color, kind and direction."""
    parts = (enumerate((*COLORS, GRAY)), enumerate(KINDS), enumerate(DIRECTIONS))
    return [
        (wording.format(color=color, kind=kind, direction=direction), (c, k, d))
        for (c, color), (k, kind), (d, direction) in itertools.product(*parts)
        for wording in WORDINGS
    ]


def write_tokenizer(folder: Path, texts: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    words = {word for text in texts for word in text.split()}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / "spiece"),
        model_type="word",
        vocab_size=len(words) + 3,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        minloglevel=2,
    )  # fmt: skip
    (folder / "spiece.vocab").unlink()
    config = {"tokenizer_class": "T5Tokenizer", "model_max_length": 120, "extra_ids": 0}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, **MARKS}, indent=2) + "\n")


def train(tokenizer: object, encoder: nn.Module, steps: int) -> float:
    """Train the encoder; the share of attributes that are read off right at the end."""
    known = sentences()
    counts = (len(COLORS) + 1, len(KINDS), len(DIRECTIONS))
    heads = nn.ModuleList(nn.Linear(WIDTH, count) for count in counts)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *heads.parameters()], lr=1e-3)
    generator, right = torch.Generator().manual_seed(0), 0.0
    for _ in range(steps):
        chosen = torch.randint(len(known), (64,), generator=generator).tolist()
        batch = tokenizer([known[n][0] for n in chosen], padding=True, return_tensors="pt")
        targets = torch.tensor([known[n][1] for n in chosen])
        tokens: Tensor = encoder(batch.input_ids, attention_mask=batch.attention_mask)[0]
        last = tokens[torch.arange(len(tokens)), batch.attention_mask.sum(1) - 1]
        answers = [head(last) for head in heads]
        loss = sum(F.cross_entropy(a, t) for a, t in zip(answers, targets.unbind(1), strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        hits = [(a.argmax(1) == t).float() for a, t in zip(answers, targets.unbind(1), strict=True)]
        right = float(torch.stack(hits).mean())
    return right


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    torch.manual_seed(0)
    write_tokenizer(options.out / "tokenizer", [text for text, _ in sentences()])
    tokenizer = AutoTokenizer.from_pretrained(options.out / "tokenizer")
    config = T5Config(
        vocab_size=len(tokenizer), d_model=WIDTH, d_kv=32, d_ff=256, num_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu", dropout_rate=0.0,
    )  # fmt: skip
    encoder = T5EncoderModel(config)
    right = train(tokenizer, encoder, options.steps)
    encoder.eval().half().save_pretrained(options.out / "text_encoder")
    print(f"{right:.1%} of colors, kinds and directions are read off right")


if __name__ == "__main__":
    main()
