"""`latte encode-latents` with captions: what is told, checked, counted and refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import fail, invoke, succeed, tiny
from pipelines import WIDTH, write_pipeline
from transformers import T5EncoderModel

from latte_cli.config import load_config
from latte_cli.config.locations import Locations
from latte_cli.data.manifest import Dataset, VideoRecord
from latte_cli.data.texts.shards import shard_files
from latte_cli.data.texts.store import TextSet
from latte_cli.runtime.console import Console
from latte_cli.sampling.pipelines.captions import encode_captions
from latte_cli.sources.shapes import render_clip
from latte_cli.text.encoder import MAX_TOKENS
from latte_cli.video_io import write_video

LONG = " ".join(["green grass"] * 2000)
ROWS = [("0.mp4", "a red car"), ("1.mp4", "the sea"), ("2.mp4", "a red car")]


@pytest.fixture(scope="module")
def captioned(tmp_path_factory) -> Path:
    """Three captioned videos, prepared and encoded, and a text encoder."""
    root = tmp_path_factory.mktemp("texts")
    (root / "in").mkdir()
    for number, (name, _) in enumerate(ROWS):
        write_video(root / "in" / name, render_clip(number, size=32, num_frames=6), 8)
    write_pipeline(root / "pipeline")
    prepare(root, ROWS)
    succeed(*words(root))
    return root


@pytest.fixture
def root(captioned, tmp_path) -> Path:
    """A copy to damage."""
    for name in ("data", "in", "latents", "texts", "pipeline"):
        shutil.copytree(captioned / name, tmp_path / name)
    return tmp_path


def prepare(root: Path, rows: list[tuple[str, str]]) -> None:
    table = [
        json.dumps({"video": str(root / "in" / video), "caption": text}) for video, text in rows
    ]
    (root / "in" / "table.jsonl").write_text("\n".join(table))
    source = f"--source={root / 'in' / 'table.jsonl'}"
    succeed("prepare", "captions", source, "--workers=1", f"--out={root / 'data'}")


def options(root: Path, **values: object) -> list[str]:
    paths = {"data__root": root / "data", "data__latents": root / "latents",
             "data__texts": root / "texts", "text__path": root / "pipeline"}  # fmt: skip
    text = {"model__condition": "text", "model__num_classes": "null", "model__text_width": WIDTH}
    return tiny(**{**text, **paths, **values})


def words(root: Path, *more: str, **values: object) -> list[object]:
    return ["encode-latents", "--preset=shapes", *more, *options(root, **values)]


def shown(*words: object) -> dict[str, object]:
    return json.loads(succeed("--json", *words).stdout)


def said_by(*words: object) -> str:
    return " ".join(succeed(*words).stderr.split())


def test_info_tells_of_the_texts_as_of_the_latents(captioned):
    info = shown(*words(captioned, "--info"))
    assert (info["videos"], info["missing"]) == (3, 0)
    assert info["texts"] == str(captioned / "texts")
    assert (info["captions"], info["distinct_captions"]) == (3, 2)
    assert (info["encoded_texts"], info["missing_texts"], info["lost_text_shards"]) == (3, 0, 0)
    assert info["text_encoder"] == str(captioned / "pipeline")
    assert (info["text_precision"], info["cut_captions"]) == ("bf16", 0)
    assert info["text_bytes"] == sum(p.stat().st_size for p in shard_files(captioned / "texts"))
    table = succeed(*words(captioned, "--info")).stdout
    assert "distinct captions" in table


def test_verify_names_a_damaged_shard_of_texts_and_encoding_again_repairs_it(root):
    checked = shown(*words(root, "--verify"))
    assert checked["problems"] == {}
    (shard,) = shard_files(root / "texts")
    content = shard.read_bytes()
    shard.write_bytes(content[:-2] + b"\x01\x3c")
    result = invoke("--json", *words(root, "--verify"))
    assert result.exit_code == 1
    assert "is damaged" in json.loads(result.stdout)["problems"][str(shard)]
    assert shard.name in "".join(result.stderr.split())
    shard.unlink()
    said = said_by(*words(root, "--info"))
    assert "1 shards of captions are missing or damaged; the same command without --info" in said
    succeed(*words(root))
    assert shard.is_file()
    assert shown(*words(root, "--verify"))["problems"] == {}


def test_embeddings_of_another_encoder_are_refused_and_kept(root):
    before = {path: path.read_bytes() for path in (root / "texts").iterdir()}
    torch.manual_seed(1)
    model = T5EncoderModel.from_pretrained(root / "pipeline" / "text_encoder")
    with torch.no_grad():
        model.encoder.final_layer_norm.weight += 0.5
    model.save_pretrained(root / "other" / "text_encoder")
    shutil.copytree(root / "pipeline" / "tokenizer", root / "other" / "tokenizer")
    other = {"text__path": root / "other"}
    assert f"{root}/texts holds texts with other settings: fingerprint" in fail(
        *words(root, **other)
    )
    result = invoke("--json", *words(root, "--verify", **other))
    assert "made by another text encoder than" in result.stdout
    train = ("train", "--preset=shapes")
    said = fail(*train, *options(root, **other))
    assert f"{root}/texts holds embeddings of another text encoder than {root}/other is now" in said
    assert "were not cleaned" not in said
    assert "but text.clean is False" in fail(*train, *options(root, text__clean="false"))
    vocabulary = root / "pipeline" / "tokenizer" / "spiece.model"
    vocabulary.write_bytes(vocabulary.read_bytes() + b"\0")
    assert "another text encoder" in fail(*train, *options(root)), "of another vocabulary"
    assert {path: path.read_bytes() for path in (root / "texts").iterdir()} == before


def test_captions_that_are_too_long_unknown_or_empty_are_told_and_not_fatal(root):
    rows = [*ROWS, ("0.mp4", LONG), ("0.mp4", "http://www.cats.com/a"), ("0.mp4", "a Ж car")]
    prepare(root, rows)
    result = succeed("--json", *words(root))
    said = " ".join(result.stderr.split())
    info = shown(*words(root, "--info"))
    assert info["cut_captions"] == 1
    assert info["cut_tokens"] > 4000 - MAX_TOKENS
    assert (
        f"1 texts are longer than {MAX_TOKENS} tokens: {info['cut_tokens']} tokens are cut" in said
    )
    assert "in the first: `green grass green" in said
    assert "1 texts hold what the text encoder does not know: 1 tokens" in said
    assert "1 texts have no words that the text encoder takes, the first: `http://www" in said
    texts = TextSet.open(root / "texts")
    lengths = [len(texts.embedding(int(n))) for n in texts.numbers([LONG, "a red car"])]
    assert lengths[0] == MAX_TOKENS > lengths[1]
    assert "longer than" not in said_by(*words(root)), "told once"
    assert shown(*words(root, "--verify"))["problems"] == {}


def test_precisions_are_not_mixed_and_differ_little(root):
    assert "precision 'bf16' instead of 'float32'" in fail(*words(root, text__precision="float32"))
    exact = {"text__precision": "float32", "data__texts": root / "exact"}
    succeed(*words(root, **exact))
    assert shown(*words(root, "--verify", **exact))["problems"] == {}
    half, full = TextSet.open(root / "texts"), TextSet.open(root / "exact")
    for text in ("", "a red car"):
        one, other = (each.embedding(int(each.numbers([text])[0])) for each in (half, full))
        assert one.dtype == other.dtype == torch.bfloat16
        torch.testing.assert_close(one, other, atol=0.1, rtol=0.1)


def test_eight_bits_without_a_gpu_or_the_package_are_refused_before_anything_is_encoded(
    root, monkeypatch
):
    for name in ("latents", "texts"):
        shutil.rmtree(root / name)
    said = fail(*words(root, text__precision="int8"))
    assert "a text encoder of 8 bits needs" in said
    assert "-o text.precision=bf16" in said
    monkeypatch.setattr("latte_cli.text.encoder.find_spec", lambda name: object())
    assert "needs a GPU" in fail(*words(root, text__precision="int8"))
    assert not (root / "latents").exists()
    assert not (root / "texts").exists()


def test_training_offers_to_encode_captions_that_are_missing(root):
    shutil.rmtree(root / "texts")
    train = ("train", "--preset=shapes", *options(root, train__steps=1, data__interval=1))
    assert "no encoded captions here" in fail(*train)
    succeed(*train, "--yes")
    assert len(TextSet.open(root / "texts")) == 3


def test_ten_thousand_captions_of_which_a_thousand_differ_take_a_thousand_runs(
    captioned, tmp_path, monkeypatch
):
    """And one for the null text: of T5, whose first output stands for the later ones, in time."""
    runs = []
    forward = T5EncoderModel.forward

    def counted(self, *values, **named):
        runs.append(forward(self, *values, **named)[0] if not runs else runs[0].clone())
        return (runs[-1],)

    monkeypatch.setattr(T5EncoderModel, "forward", counted)
    videos = tuple(
        VideoRecord(f"{n}.mp4", 16, 8.0, 32, 32, None, f"a car {n % 1000}", "train", 1, f"{n:064x}")
        for n in range(10_000)
    )
    chosen = options(captioned, data__texts=tmp_path / "texts", text__clean="false")
    config = load_config("shapes", chosen[1::2])
    dataset = Dataset(tmp_path, videos, ())
    result = encode_captions(config, Locations(), dataset, Console(quiet=True))
    assert len(runs) == 1001
    assert (result.texts, result.encoded_now) == (1001, 1001)
    encode_captions(config, Locations(), dataset, Console(quiet=True))
    assert len(runs) == 1001
