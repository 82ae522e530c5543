"""Captions to a text-to-video network: prepare, encode, train, resume."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import fail, succeed, tiny
from diffusers import LattePipeline
from pipelines import WIDTH, write_pipeline
from safetensors.torch import load_file

import latte_cli
from latte_cli.data.texts.store import TextSet
from latte_cli.models import load_latte_t2v
from latte_cli.sources.shapes import render_clip
from latte_cli.video_io import write_video

TEXT = {
    "model__condition": "text",
    "model__num_classes": "null",
    "model__text_width": WIDTH,
    "train__preview_every": 3,
    "train__preview_steps": 2,
    "train__validate_clips": 2,
    "train__lr_schedule": "constant",
}


@pytest.fixture(scope="module")
def captioned(tmp_path_factory) -> Path:
    """Six captioned videos, prepared and encoded, and the text encoder."""
    root = tmp_path_factory.mktemp("captioned")
    (root / "in").mkdir()
    rows = []
    for index in range(6):
        write_video(root / "in" / f"{index}.mp4", render_clip(index, size=32, num_frames=12), 8)
        rows.append({"video": f"{index}.mp4", "caption": f"a shape {index % 3}",
                     "split": "test" if index == 5 else "train"})  # fmt: skip
    (root / "in" / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_pipeline(root / "pipeline")
    succeed("prepare", "captions", f"--source={root / 'in'}", f"--out={root / 'data'}")
    succeed("encode-latents", "--preset=shapes", *words(root))
    return root


def words(root: Path, **values: object) -> list[str]:
    paths = {"data__root": root / "data", "data__latents": root / "latents",
             "data__texts": root / "texts", "text__path": root / "pipeline"}  # fmt: skip
    return tiny(**{**TEXT, **paths, **values})


def test_captions_are_encoded_once_each(captioned):
    texts = TextSet.open(captioned / "texts")
    assert len(texts) == 4, "three captions, and the null text"
    again = succeed("--json", "encode-latents", "--preset=shapes", *words(captioned))
    shown = json.loads(again.stdout)
    assert (shown["captions"], shown["captions_encoded_now"]) == (4, 0)


def test_a_network_is_trained_on_text_and_resumes_as_undisturbed(captioned, tmp_path):
    for name, steps in (("one", (6,)), ("two", (3, 6))):
        for count in steps:
            run = ("--run", name, f"--runs-root={tmp_path}")
            succeed("train", "--preset=shapes", *run, *words(captioned, train__steps=count))
    one, two = (
        load_file(tmp_path / name / "checkpoints" / "step-00000006" / "ema.safetensors")
        for name in ("one", "two")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    network = load_latte_t2v(tmp_path / "one" / "checkpoints" / "step-00000006")
    assert network.shape.text_width == WIDTH
    assert (tmp_path / "one" / "previews" / "step-00000003.mp4").is_file()
    rows = [json.loads(row) for row in (tmp_path / "one" / "metrics.jsonl").open()]
    assert rows[-1]["step"] == 6


def test_a_text_encoder_that_is_not_there_is_an_error_before_videos_are_encoded(
    captioned, tmp_path
):
    paths = {"text__path": tmp_path / "none", "data__latents": tmp_path / "latents"}
    said = fail("encode-latents", "--preset=shapes", *words(captioned, **paths))
    assert "none: no such folder hint: text.path is a folder with tokenizer/" in said
    assert not (tmp_path / "latents").exists()


def test_captions_that_are_not_encoded_and_encoders_that_do_not_fit_are_errors(captioned, tmp_path):
    run = ("train", "--preset=shapes", f"--runs-root={tmp_path}")
    assert "no encoded captions here" in fail(*run, *words(captioned, data__texts=tmp_path / "no"))
    said = fail(*run, *words(captioned, model__text_width=WIDTH + 8))
    assert f"-o model.text_width={WIDTH}" in said


def test_t2v_trains_on_single_frames_then_on_clips(captioned, tmp_path):
    """The stages of the preset that ships, in small."""
    small = {"data__num_images": 1, "train__init": "null", "model__size": "null"}
    options = words(captioned, vae__path="embedded", **small)
    pairs = [each for each in options if "=" in each]
    own = [p for p in pairs if not p.startswith(("data.frames=", "train.steps=", "data.num_im"))]
    own += ["stages.video.data.frames=4", "stages.video.data.num_images=1"]
    own += ["stages.images.train.steps=2", "stages.video.train.steps=2", "data.interval=1"]
    set_by = [word for pair in own for word in ("-o", pair)]
    train = ("train", "--preset=t2v-256", f"--runs-root={tmp_path}", *set_by)
    assert "`a raccoon playing guitar` is not encoded, and 2 more" in fail(*train)
    assert not list(tmp_path.rglob("checkpoints")), "it is said before the first preview"
    said = succeed(*train, "-o", "sample.prompts=[a shape 1]").stderr
    assert "stage 1 of 2, images" in said
    assert "clips of 4 frames of 5 videos" in said
    made = tmp_path / "t2v-256" / "stage-2-video" / "checkpoints" / "step-00000002"
    assert load_latte_t2v(made).shape.num_frames == 4
    model = f"--model={tmp_path / 't2v-256'}"
    clip = ("--steps=2", "--precision=float32", "--no-clean", f"--out={tmp_path / 'clip.npz'}")
    assert "stage-2-video: step 2" in succeed("t2v", "a shape 1", model, *clip).stderr


@pytest.mark.parametrize("objective", ["eps", "v", "flow"])
def test_a_trained_network_becomes_a_pipeline_that_diffusers_runs(captioned, tmp_path, objective):
    """With the text encoder and the autoencoder that it was trained with."""
    options = {"diffusion__objective": objective, "train__steps": 1}
    if objective == "flow":
        options["train__min_snr_gamma"] = "null"
    options = words(captioned, **options)
    succeed("train", "--preset=shapes", f"--runs-root={tmp_path}", *options)
    made = tmp_path / "made"
    (checkpoint,) = (tmp_path / "shapes" / "checkpoints").glob("step-*")
    shown = succeed("--json", "convert", checkpoint, made, "--to=pipeline", "--check")
    assert json.loads(shown.stdout)["largest_difference"] < 1e-5
    sampled = ("--steps=3", f"--out={tmp_path / 'clip.npz'}", "--frames=4")
    succeed("t2v", "a shape 1", f"--model={made}", *sampled)
    theirs = LattePipeline.from_pretrained(made, torch_dtype=torch.float32)
    theirs.set_progress_bar_config(disable=True)
    frames = theirs(
        "a shape 1", num_inference_steps=3, video_length=4, height=32, width=32,
        clean_caption=False, output_type="pt",
    ).frames  # fmt: skip
    assert frames.shape == (1, 4, 3, 32, 32)
    assert frames.isfinite().all()
    shown = succeed("--json", "convert", checkpoint, tmp_path / "ours", "--check")
    assert json.loads(shown.stdout)["largest_difference"] < 1e-5
    trained = load_file(checkpoint / "ema.safetensors")
    ours = load_latte_t2v(tmp_path / "ours").state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in trained.items())


def test_only_what_is_trainable_changes_and_such_a_run_resumes_as_undisturbed(captioned, tmp_path):
    def weights(run: str, step: int) -> dict[str, torch.Tensor]:
        return load_file(tmp_path / run / "checkpoints" / f"step-{step:08d}" / "model.safetensors")

    chosen = {"train__trainable": "temporal,proj_out.*", "train__save_every": 1}
    for run, steps in (("one", (3,)), ("two", (1, 3))):
        for count in steps:
            options = words(captioned, train__steps=count, **chosen)
            succeed("train", "--preset=shapes", f"--run={run}", f"--runs-root={tmp_path}", *options)
    first, last, other = weights("one", 1), weights("one", 3), weights("two", 3)
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    assert {name.split(".")[0] for name in changed} == {"temporal_transformer_blocks", "proj_out"}
    assert all(torch.equal(last[name], other[name]) for name in last)
    said = fail("train", "--preset=shapes", *words(captioned, train__trainable="tempral"))
    assert "no parameter matches `tempral`" in said


def test_adapters_learn_on_a_frozen_network_and_resume_as_undisturbed(captioned, tmp_path):
    pytest.importorskip("peft")
    roots = ("--preset=shapes", f"--runs-root={tmp_path}")
    succeed("train", *roots, "--run=base", *words(captioned, train__steps=1))
    (base,) = (tmp_path / "base" / "checkpoints").glob("step-*")
    options = {"train__init": base, "train__lora.rank": 2, "train__save_every": 1}
    options["train__lora.dropout"] = 0.5  # a function of seed and step, as all that is random
    for run, steps in (("one", (3,)), ("two", (1, 3))):
        for count in steps:
            succeed(
                "train", *roots, f"--run={run}", *words(captioned, train__steps=count, **options)
            )
    last, other = (
        load_file(tmp_path / run / "checkpoints" / "step-00000003" / "model.safetensors")
        for run in ("one", "two")
    )
    assert all(torch.equal(value, other[name]) for name, value in last.items())
    began = load_file(base / "ema.safetensors")
    kept = {name.replace(".base_layer", ""): v for name, v in last.items() if ".lora_" not in name}
    assert all(torch.equal(value, began[name]) for name, value in kept.items())
    network = load_latte_t2v(tmp_path / "one" / "checkpoints" / "step-00000003").state_dict()
    changed = {name for name in began if not torch.equal(began[name], network[name])}
    assert changed
    assert all(".attn" in name for name in changed)
    said = fail("train", *roots, *words(captioned, **{"train__lora.rank": 2}))
    assert "train.init names none" in said
    for change in (
        {"train__lora.alpha": 64},
        {"train__lora.targets": "transformer_blocks.*.attn1.to_v"},
    ):
        changed_options = {**options, **change, "train__steps": 4}
        said = fail("train", *roots, "--run=one", *words(captioned, **changed_options))
        assert f"{next(iter(change)).replace('__', '.')} was" in said
    said = fail("train", *roots, "--run=one", *words(captioned, train__init=base, train__steps=4))
    assert "train.lora.rank was 2, is None" in said


def test_an_adapter_is_exported_added_in_sampling_and_merged(captioned, tmp_path):
    """The run's own clip, the base with its adapter, and the two merged: the same clip."""
    pytest.importorskip("peft")
    roots = ("--preset=shapes", f"--runs-root={tmp_path}")
    fast = {"train__steps": 6, "train__lr": 0.05, "train__preview_every": "null"}
    succeed("train", *roots, "--run=base", *words(captioned, **fast))
    base = tmp_path / "base"
    options = {"train__init": base, "train__lora.rank": 2, "train__lora.alpha": 64}
    succeed("train", *roots, "--run=tuned", *words(captioned, **fast, **options))
    tuned, adapter = tmp_path / "tuned", tmp_path / "adapter"
    succeed("convert", tuned, adapter, "--to=lora")
    assert "already there" in succeed("convert", tuned, adapter, "--to=lora").stderr
    succeed("convert", base, tmp_path / "merged", f"--lora={adapter}")

    def clip(name: str, model: Path, *more: str) -> np.ndarray:
        out = tmp_path / f"{name}.npz"
        settings = ("--steps=2", "--precision=float32", "--no-clean", f"--out={out}")
        succeed("t2v", "a shape 1", f"--model={model}", *settings, *more)
        return np.load(out)["clips"].astype(int)

    expected, without = clip("tuned", tuned), clip("base", base)
    assert np.abs(expected - without).max() > 2
    assert np.abs(clip("added", base, f"--lora={adapter}") - expected).max() <= 1
    assert np.abs(clip("merged", tmp_path / "merged") - expected).max() <= 1
    other = fail("t2v", "a shape 1", f"--model={tuned}", f"--lora={adapter}", "--out=other.mp4")
    assert "this adapter was trained on another network" in other
    assert "holds other weights" in fail("convert", base, adapter, "--to=latte")
    assert np.array_equal(clip("off", base, f"--lora={adapter}:0"), without)
    said = fail("t2v", "a", f"--model={tuned}", f"--lora={adapter}")
    assert "trained on another network" in said
    assert "no such file or folder" in fail("t2v", "a", f"--model={base}", "--lora=none:2")
    assert "no checkpoint with adapters" in fail("convert", base, tmp_path / "no", "--to=lora")


def test_a_run_is_sampled_as_its_pipeline_is(captioned, tmp_path):
    """The same prompt from the run's folder and from the pipeline made of it: the same clip."""
    succeed(
        "train", "--preset=shapes", f"--runs-root={tmp_path}", *words(captioned, train__steps=1)
    )
    run = tmp_path / "shapes"
    said = succeed("convert", run, tmp_path / "made", "--to=pipeline").stderr
    assert f"latte t2v 'A SENTENCE' --model {tmp_path / 'made'}" in said
    clips = []
    for model in (run, tmp_path / "made"):
        out = tmp_path / f"{model.name}.npz"
        options = ("--steps=2", "--precision=float32", f"--out={out}", "--no-clean")
        said = succeed("t2v", "a shape 1", f"--model={model}", *options)
        assert ("its newest whole checkpoint" in said.stderr) == (model == run)
        clips.append(np.load(out)["clips"])
    assert clips[0].shape[-4:] == (4, 32, 32, 3)
    assert np.array_equal(*clips)
    said = fail("t2v", "a", f"--model={Path(latte_cli.__file__).parent / 'assets' / 'shapes-fast'}")
    assert "takes no text" in said


def test_a_run_is_shared_on_the_hub_with_its_clip_and_its_adapters_name_their_base(
    captioned, tmp_path, hub
):
    pytest.importorskip("peft")
    roots = ("--preset=shapes", f"--runs-root={tmp_path}")
    prompts = {"sample__prompts": "[a shape 1, a shape 2]", "train__preview_every": 3}
    succeed("train", *roots, "--run=base", *words(captioned, train__steps=3, **prompts))
    options = {"train__init": tmp_path / "base", "train__lora.rank": 2, "train__steps": 1}
    succeed("train", *roots, "--run=tuned", *words(captioned, **options))
    for run, form in (("base", "pipeline"), ("tuned", "lora")):
        words_of = ("convert", tmp_path / run, tmp_path / form, f"--to={form}", f"--push=us/{run}")
        succeed(*words_of)
        succeed(*words_of, "--yes")
        sent = dict(hub.repositories[f"us/{run}"].branches["main"])
        del sent[".gitattributes"]
        files = {path for path in (tmp_path / form).rglob("*") if path.is_file()}
        assert sent.keys() == {path.relative_to(tmp_path / form).as_posix() for path in files}
        assert all((tmp_path / form / name).read_bytes() == each for name, each in sent.items())
        assert str(tmp_path) not in sent["README.md"].decode()
    card, adapters = (hub.repositories[f"us/{run}"].branches["main"]["README.md"].decode()
                      for run in ("base", "tuned"))  # fmt: skip
    preview = tmp_path / "base" / "previews" / "step-00000003.mp4"
    assert (tmp_path / "pipeline" / "preview.mp4").read_bytes() == preview.read_bytes()
    assert f"{hub.url}/us/base/resolve/main/preview.mp4" in card
    assert "| steps | 3 of 3, 12 clips seen |" in card
    assert "latte t2v 'a shape 1' --model us/base" in card
    assert "| began from | `step 3 of base` |" in adapters
    assert LattePipeline.from_pretrained(tmp_path / "pipeline", torch_dtype=torch.float32)
