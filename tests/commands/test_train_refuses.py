"""Errors of `latte train` before its first step, and what it only warns of."""

import json
import shutil

import pytest
from conftest import fail, succeed, tiny
from helpers.runs import rows, train_words

from latte_cli.checkpoints.folder import list_checkpoints, write_meta
from latte_cli.checkpoints.folder import read_checkpoint_meta as read_meta


def test_a_run_of_another_network_is_not_resumed(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    said = fail(*train_words(world, model__width=64))
    assert "model.width was 32, is 64" in said
    assert "--run" in said
    succeed(*train_words(world, "--run=other", model__width=64))
    assert "already holds a run" in fail(*train_words(world, "--resume=never"))
    harmed = tmp_path / "runs/shapes/checkpoints/step-00000006"
    older = harmed.with_name("step-00000003")
    assert "newer checkpoints" in fail(*train_words(world, f"--resume={older}"))
    (harmed / "ema.safetensors").unlink()
    assert "is missing" in fail(*train_words(world, f"--resume={harmed}"))
    inside = tmp_path / "runs/shapes/checkpoints/step-00000005"
    assert "not a checkpoint" in fail(*train_words(world, f"--resume={inside}"))
    succeed(*train_words(world, "--run=snapshots", model__width=64, train__ema_every=3))
    snapshot = tmp_path / "runs/snapshots/ema/step-00000003"
    said = fail(*train_words(world, "--run=again", f"--resume={snapshot}", model__width=64))
    assert "a snapshot of the EMA, without a state to resume from" in said
    assert "--init" in said


def test_a_run_whose_checkpoints_are_damaged_is_not_started_over(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    for path in list_checkpoints(tmp_path / "runs/shapes"):
        (path / "model.safetensors").unlink()
    before = (tmp_path / "runs/shapes/metrics.jsonl").read_bytes()
    said = fail(*train_words(world))
    assert "all of its 2 checkpoints are damaged" in said
    assert (tmp_path / "runs/shapes/metrics.jsonl").read_bytes() == before


def fewer_videos(world, tmp_path, count: int, label: int | None = None) -> None:
    """The world's latents without some videos, or with other labels."""
    shutil.copytree(world.root / "latents", tmp_path / "latents")
    folder = tmp_path / "latents/shapes-32-embedded"
    lines = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    kept = [line if label is None else {**line, "label": label} for line in lines[:count]]
    (folder / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "videos": count}))


def here(*words: object, **values: object) -> tuple[object, ...]:
    """`latte train` on latents of this folder."""
    return ("train", "--preset=shapes", *tiny(**values), *words)


def test_a_run_is_not_resumed_on_fewer_videos_unless_its_checkpoint_is_named(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    fewer_videos(world, tmp_path, 12)
    said = fail(*here(train__steps=7))
    assert "learned from 16 videos of `shapes`, now there are 12" in said
    newest = "runs/shapes/checkpoints/step-00000006"
    assert f"--resume {newest}" in said
    result = succeed(*here(f"--resume={newest}", train__steps=7))
    assert "now there are 12: the run resumes" in " ".join(result.stderr.split())
    assert rows("runs/shapes")[-1]["step"] == 7


def test_other_labels_are_an_error_and_more_videos_a_warning(world, tmp_path):
    fewer_videos(world, tmp_path, 12)
    succeed(*here(train__steps=3))
    shutil.rmtree(tmp_path / "latents")
    fewer_videos(world, tmp_path, 12, label=3)
    assert "learned from 12 videos of `shapes`, now they are others" in fail(*here(train__steps=4))
    said = " ".join(succeed(*train_words(world, train__steps=4)).stderr.split())
    assert "warning: runs/shapes/checkpoints/step-00000003 learned from 12 videos" in said
    assert "now there are 16" in said


def test_a_run_on_another_data_set_is_not_resumed(world, tmp_path):
    fewer_videos(world, tmp_path, 12)
    succeed(*here(train__steps=3))
    other = {"name": "other", "data__latents": world.latents, "train__steps": 4}
    said = fail(*train_words(world, "--run=shapes", **other))
    assert "12 videos of `shapes`, these are of `other`" in said


def test_another_code_version_is_a_warning(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    newest = list_checkpoints(tmp_path / "runs/shapes")[-1]
    meta = json.loads((newest / "meta.json").read_text())
    (newest / "meta.json").write_text(json.dumps({**meta, "made_by": "latte 0.0, torch 1.0"}))
    said = " ".join(succeed(*train_words(world, train__steps=7)).stderr.split())
    assert "was made by latte 0.0, torch 1.0, this is latte" in said


def test_latents_of_another_kind_are_an_error(world):
    key, value = "data__latents", world.latents
    assert "holds latents of 32 px" in fail(*train_words(world, **{key: value, "data__size": 64}))
    assert "no video is as long as a clip" in fail(*train_words(world, data__interval=20))
    assert "model.num_classes=8" in fail(*train_words(world, model__num_classes=4))
    assert "mirrored views" in fail(*train_words(world, data__flip="true"))
    assert "no latents here" in fail("train", "--preset=shapes")
    assert "must be even for variant 1, got 3" in fail(*train_words(world, model__depth=3))


def test_latents_of_another_autoencoder_are_an_error(world, tmp_path):
    shutil.copytree(world.root / "latents", tmp_path / "latents")
    meta = tmp_path / "latents/shapes-32-embedded/meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "vae_fingerprint": "other"}))
    assert "another autoencoder" in fail(*here())


def test_a_run_on_another_autoencoders_latents_is_not_resumed(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    for path in list_checkpoints(tmp_path / "runs/shapes"):
        meta = json.loads((path / "meta.json").read_text())
        (path / "meta.json").write_text(json.dumps({**meta, "vae_fingerprint": "other"}))
        assert read_meta(path).vae_fingerprint == "other"
        write_meta(path, read_meta(path))
    assert "from the latents of another autoencoder" in fail(*train_words(world, train__steps=7))


def test_a_damaged_shard_is_an_error(world, tmp_path):
    shutil.copytree(world.root / "latents", tmp_path / "latents")
    for path in (tmp_path / "latents").rglob("shard-*"):
        path.write_bytes(path.read_bytes()[:100])
    assert "missing or damaged" in fail(*here())


def test_a_batch_that_does_not_divide_is_an_error_before_anything_is_made(world, tmp_path):
    said = fail(*train_words(world, train__batch_size=6, train__accumulate=4))
    assert "train.batch_size 6 does not divide among 1 processes with train.accumulate 4" in said
    assert not (tmp_path / "runs").exists()


def test_muon_without_matrices_to_take_is_an_error(world):
    words = train_words(world, train__optimizer="muon", train__trainable="[final_layer.*]")
    said = fail(*words)
    assert "muon, which is for the matrices of blocks" in said
    assert "-o train.optimizer=adamw" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to train"),
        (["--preset=none"], "no preset named `none`"),
        (["--preset=shapes", "-o", "train.lrr=1"], "unknown key"),
    ],
)
def test_wrong_options_are_an_error(words, message):
    assert message in fail("train", *words)


def test_missing_latents_are_an_error_before_the_autoencoder_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("latte_cli.vae.codec.load_autoencoder", lambda path: pytest.fail("loaded"))
    assert "no latents here" in fail("train", "--preset", "ucf101")
