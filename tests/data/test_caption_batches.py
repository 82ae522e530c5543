"""Captions in training batches: one of a video's, as a pure function of (seed, step, index)."""

# Axes: b clips, i images, l tokens of a text, d width of the embeddings.

import pytest
import torch
from helpers.latent_sets import write_latents

from latte_cli.config import load_config
from latte_cli.data.batch import Batch
from latte_cli.data.clips import ClipSampler
from latte_cli.data.latents.reading import LatentMeta, LatentSet
from latte_cli.data.texts.batches import padded
from latte_cli.data.texts.encoding import encode_missing
from latte_cli.data.texts.folder import TextFolder
from latte_cli.data.texts.shards import EncodedCaption
from latte_cli.data.texts.store import NULL_TEXT, TextMeta, TextSet
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import DataError
from latte_cli.vae import Moments

VIDEOS, WIDTH, NULL = 6, 4, 99.0
META = LatentMeta("embedded", "abc", 0.5, 4, 64, "center", False, (), videos=VIDEOS)
TEXTS = TextMeta("tiny", "f", WIDTH, tokens=120, clean=False, texts=0)


def texts_of(video: int) -> tuple[str, ...]:
    """Video k has three captions, of k + 2, k + 3 and k + 4 tokens."""
    return tuple(f"{video} {number}" for number in range(3))


def encode(texts):
    """All numbers of the n-th caption of video k are 10 k + n."""
    found = []
    for text in texts:
        if text == NULL_TEXT:
            found.append(EncodedCaption(torch.full((120, WIDTH), NULL)))
        else:
            video, number = map(int, text.split())
            tokens = torch.full((video + number + 2, WIDTH), 10.0 * video + number)
            found.append(EncodedCaption(tokens))
    return found


@pytest.fixture
def store(tmp_path) -> LatentSet:
    """Frames of the n-th video are n everywhere."""
    videos = []
    for number in range(VIDEOS):
        mean = torch.full((9, 4, 8, 8), float(number))
        row = {"path": f"{number}.mp4", "sha256": f"{number:02}", "frames": 9, "label": None}
        row |= {"split": "train", "captions": texts_of(number)}
        videos.append((row, [Moments(mean, torch.zeros_like(mean))]))
    latents = write_latents(tmp_path / "latents", META, videos)
    every = [text for number in range(VIDEOS) for text in texts_of(number)]
    folder = TextFolder(tmp_path / "texts", TEXTS, every)
    encode_missing(folder, lambda: encode, Console(quiet=True))
    latents.texts = TextSet.open(tmp_path / "texts")
    return latents


def sampler(store: LatentSet, **values: object) -> ClipSampler:
    chosen = {"data.frames": 4, "data.interval": 2, "data.flip": "false", "data.num_images": 2,
              "train.batch_size": 8, "model.condition": "text", "model.num_classes": "null",
              "train.condition_dropout": 0.0}  # fmt: skip
    chosen |= {key.replace("__", "."): value for key, value in values.items()}
    config = load_config("shapes", [f"{key}={value}" for key, value in chosen.items()])
    return ClipSampler(store, config, META.scaling_factor)


def told(batch: Batch) -> torch.Tensor:
    """The number that stands for the caption of each clip and of its images: (b, 1 + i)."""
    firsts = [batch.texts.tokens[:, None], batch.image_texts.tokens]
    return torch.cat([each[:, :, 0, 0].float() for each in firsts], dim=1).long()


def shown(batch: Batch) -> torch.Tensor:
    """The video that each clip and each image is from: (b, 1 + i)."""
    frames = batch.x_start[:, [0, 4, 5]].mean(dim=(2, 3, 4)) / META.scaling_factor
    return frames.round().long()


def test_each_clip_and_image_has_one_of_its_own_captions_and_all_are_taken_in_turn(store):
    clips, seen = sampler(store), set()
    for step in range(30):
        batch = clips.batch(step)
        assert torch.equal(told(batch) // 10, shown(batch))
        seen |= set(told(batch).flatten().tolist())
    assert seen == {10 * video + number for video in range(VIDEOS) for number in range(3)}


def test_captions_are_a_function_of_seed_step_and_index(store):
    whole = told(sampler(store).batch(5))
    parts = [told(sampler(store).batch(5, [index])) for index in range(8)]
    assert torch.equal(torch.cat(parts), whole), "whichever clips are cut together"
    assert torch.equal(told(sampler(store, data__workers=1).batch(5)), whole)
    assert not torch.equal(told(sampler(store).batch(6)), whole)
    assert not torch.equal(told(sampler(store, train__seed=1).batch(5)), whole)


def test_padding_is_zero_and_masked(store):
    batch = sampler(store).batch(0)
    for texts in (batch.texts, batch.image_texts):
        *_, length, width = texts.tokens.shape
        assert (length % 8, width) == (0, WIDTH)
        assert texts.mask.shape == texts.tokens.shape[:-1]
        assert (texts.tokens[~texts.mask] == 0).all()
    lengths = batch.texts.mask.sum(-1)
    numbers = told(batch)[:, 0]
    assert torch.equal(lengths, numbers // 10 + numbers % 10 + 2)


def test_padding_in_parallel_and_one_after_the_other_are_the_same(store):
    rows = [[torch.rand(n + m + 1, WIDTH).bfloat16() for m in range(2)] for n in range(5)]

    def backwards(function, *values):
        return [function(*each) for each in reversed(list(zip(*values, strict=True)))]

    one, other = padded(rows), padded(rows, backwards)
    assert torch.equal(one.tokens, other.tokens)
    assert torch.equal(one.mask, other.mask)


def test_a_caption_that_is_dropped_becomes_the_null_text_of_its_length(store):
    every, some = (sampler(store, train__condition_dropout=share).batch(3) for share in (0.0, 0.5))
    assert torch.equal(every.x_start, some.x_start)
    for one, other in ((every.texts, some.texts), (every.image_texts, some.image_texts)):
        assert torch.equal(one.mask, other.mask)
        dropped = other.tokens[..., 0, 0] == NULL
        assert dropped.any()
        assert not dropped.all()
        assert torch.equal(one.tokens[~dropped], other.tokens[~dropped])
        assert (other.tokens[dropped][other.mask[dropped]] == NULL).all()


def test_videos_without_a_caption_or_with_one_that_is_not_encoded_are_errors(store, tmp_path):
    folder = TextFolder(tmp_path / "few", TEXTS, texts_of(0))
    encode_missing(folder, lambda: encode, Console(quiet=True))
    store.texts = TextSet.open(tmp_path / "few")
    with pytest.raises(DataError, match="`1 0` is not encoded, and 14 more"):
        sampler(store)
    row = {"path": "9.mp4", "sha256": "09", "frames": 9, "label": None, "split": "train"}
    mean = torch.zeros(9, 4, 8, 8)
    lone = write_latents(tmp_path / "lone", META, [(row, [Moments(mean, mean)])])
    lone.texts = store.texts
    with pytest.raises(DataError, match=r"9\.mp4: has no caption, but model.condition is text"):
        sampler(lone)
