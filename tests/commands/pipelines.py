"""A tiny random text-to-video pipeline in the layout and formats of the published one."""

import json
from pathlib import Path

import sentencepiece
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    DDIMScheduler,
    LatteTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel

WIDTH = 24
SENTENCES = [
    "a raccoon playing guitar on the moon",
    "two dogs run over green grass",
    "the sea at night, waves and wind",
    "a red car drives by; low quality",
]


def write_pipeline(folder: Path, frames: int = 4) -> Path:
    """Write all parts, with random weights; diffusers' class takes as many frames and no others."""
    torch.manual_seed(0)
    _write_tokenizer(folder / "tokenizer")
    widths = {"vocab_size": 160, "d_model": WIDTH, "d_kv": 8, "d_ff": 32}
    t5 = T5Config(**widths, num_layers=2, num_heads=3, feed_forward_proj="gated-gelu")
    T5EncoderModel(t5).save_pretrained(folder / "text_encoder")
    network = LatteTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        sample_size=8,
        patch_size=2,
        caption_channels=WIDTH,
        cross_attention_dim=16,
        attention_bias=True,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        activation_fn="gelu-approximate",
        video_length=frames,
    )
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    network.save_pretrained(folder / "transformer")
    sizes = {"block_out_channels": (8, 8, 8, 8), "latent_channels": 4, "layers_per_block": 1}
    halves = {"down_block_types": ("DownEncoderBlock2D",) * 4, "norm_num_groups": 4}
    ups = {"up_block_types": ("UpDecoderBlock2D",) * 4}
    AutoencoderKL(**sizes, **halves, **ups).save_pretrained(folder / "vae")
    sizes["block_out_channels"] = (32, 32, 32, 32)  # its norms have 32 groups
    AutoencoderKLTemporalDecoder(
        **sizes, down_block_types=halves["down_block_types"]
    ).save_pretrained(folder / "vae_temporal_decoder")
    DDIMScheduler(beta_start=1e-4, beta_end=0.02, clip_sample=False).save_pretrained(
        folder / "scheduler"
    )
    parts = {
        "tokenizer": ["transformers", "T5Tokenizer"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "transformer": ["diffusers", "LatteTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    index = {"_class_name": "LattePipeline", "_diffusers_version": "0.30.0", **parts}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def _write_tokenizer(folder: Path) -> None:
    folder.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_prefix=str(folder / "spiece"),
        vocab_size=36,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        character_coverage=1.0,
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()
    config = {"tokenizer_class": "T5Tokenizer", "model_max_length": 512, "extra_ids": 100}
    marks = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, **marks}))
