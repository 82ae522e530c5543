"""`latte train` through the command line: resume, signals, metrics, what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import fail, invoke, succeed, tiny
from safetensors.torch import load_file

from latte_cli.checkpoint import list_checkpoints, what_is_broken
from latte_cli.config import load_config
from latte_cli.training.step import learning_rate


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def train(world, *words, runs="runs", **values):
    latents = f"--latents-root={world.root / 'latents'}"
    return ("train", "--preset=shapes", *tiny(**values), latents, f"--runs-root={runs}", *words)


def test_a_run_leaves_what_people_need(world):
    assert [row["step"] for row in rows(world.run)] == [1, 2, 3, 4, 5, 6]
    assert {"step", "loss", "mse", "vlb", "grad_norm", "lr", "clips_per_s"} == set(
        rows(world.run)[0]
    )
    assert [p.name for p in list_checkpoints(world.run)] == ["step-00000003", "step-00000006"]
    assert (world.run / "previews" / "step-00000006.mp4").is_file()
    assert "width: 32" in (world.run / "config.yaml").read_text()
    meta = json.loads((list_checkpoints(world.run)[-1] / "meta.json").read_text())
    assert meta["classes"][0] == "000deg"


def test_a_resumed_run_is_the_undisturbed_one_bit_for_bit(world, tmp_path):
    """Weights, average, optimizer and data order: the same losses from the step it goes on at."""
    succeed(*train(world, train__steps=3, train__lr_schedule="constant"))
    result = succeed(*train(world, train__steps=6, train__lr_schedule="constant"))
    assert "going on from" in result.stderr
    succeed(*train(world, runs="whole", train__steps=6, train__lr_schedule="constant"))
    resumed, whole = tmp_path / "runs" / "shapes", tmp_path / "whole" / "shapes"
    for a, b in zip(rows(resumed), rows(whole), strict=True):
        assert {**a, "clips_per_s": 0} == {**b, "clips_per_s": 0}
    for name in ("model", "ema"):
        a, b = (
            load_file(r / "checkpoints/step-00000006" / f"{name}.safetensors")
            for r in (resumed, whole)
        )
        assert all(torch.equal(a[key], b[key]) for key in b)


def test_a_broken_checkpoint_is_named_and_the_one_before_used(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    newest = tmp_path / "runs/shapes/checkpoints/step-00000006/model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-9])
    result = succeed(*train(world))
    assert "step-00000006/model.safetensors is not as it was written" in result.stderr
    assert "going on from runs/shapes/checkpoints/step-00000003" in result.stderr
    assert [row["step"] for row in rows(tmp_path / "runs" / "shapes")] == [1, 2, 3, 4, 5, 6]
    assert what_is_broken(newest.parent) is None, "written anew"


def test_a_finished_run_is_left_as_it_is(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    before = (tmp_path / "runs/shapes/metrics.jsonl").read_bytes()
    shown = json.loads(succeed("--json", *train(world)).stdout)
    assert shown["step"] == 6
    assert (tmp_path / "runs/shapes/metrics.jsonl").read_bytes() == before


def test_only_the_newest_checkpoints_are_kept(world, tmp_path):
    succeed(*train(world, train__save_every=1, train__keep=2))
    names = [path.name for path in list_checkpoints(tmp_path / "runs" / "shapes")]
    assert names == ["step-00000005", "step-00000006"]


def test_training_lowers_the_loss(world, tmp_path):
    values = {"train__steps": 60, "train__lr": 3e-3, "train__batch_size": 8}
    shown = json.loads(succeed("--json", *train(world, **values)).stdout)
    assert shown["loss_last_tenth"] < 0.9 * shown["loss_first_tenth"]


def test_init_begins_from_other_weights(world, tmp_path):
    checkpoint = list_checkpoints(world.run)[-1]
    succeed(*train(world, f"--init={checkpoint}", train__lr=1e-30, train__steps=1))
    ours = load_file(tmp_path / "runs/shapes/checkpoints/step-00000001/model.safetensors")
    theirs = load_file(checkpoint / "ema.safetensors")
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_an_unconditional_network_trains_on_labelled_videos(world, tmp_path):
    succeed(*train(world, model__condition="none", model__num_classes="null"))
    weights = load_file(tmp_path / "runs/shapes/checkpoints/step-00000006/ema.safetensors")
    assert not [name for name in weights if name.startswith("y_embedder")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_same_command_goes_on(world, tmp_path, number, code):
    words = [str(w) for w in train(world, train__steps=100_000, train__save_every=100_000)]
    command = [sys.executable, "-m", "latte_cli", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    metrics = tmp_path / "runs" / "shapes" / "metrics.jsonl"
    for _ in range(600):
        if metrics.is_file() and metrics.stat().st_size:
            break
        time.sleep(0.1)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "the same command goes on from there" in said
    (checkpoint,) = list_checkpoints(tmp_path / "runs" / "shapes")
    assert what_is_broken(checkpoint) is None
    step = int(checkpoint.name.removeprefix("step-"))
    result = succeed(*train(world, train__steps=step + 2))
    assert f"going on from {checkpoint.relative_to(tmp_path)}" in result.stderr
    assert [row["step"] for row in rows(tmp_path / "runs/shapes")] == list(range(1, step + 3))


def test_a_full_disk_keeps_the_old_checkpoint(world, tmp_path, monkeypatch):
    import errno

    from latte_cli import checkpoint

    original, calls = checkpoint.write_tensors, []

    def full(path, tensors):
        calls.append(path)
        if len(calls) > 3:  # the first checkpoint has three
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        original(path, tensors)

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    said = fail(*train(world))
    assert "the disk is full" in said
    assert "make room" in said
    folder = tmp_path / "runs" / "shapes" / "checkpoints"
    assert [path.name for path in folder.iterdir()] == ["step-00000003"]
    monkeypatch.setattr(checkpoint, "write_tensors", original)
    assert "going on from" in succeed(*train(world)).stderr


def test_a_run_of_another_network_is_not_gone_on_with(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    said = fail(*train(world, model__width=64))
    assert "model.width was 32, is 64" in said
    assert "--run" in said
    succeed(*train(world, "--run=other", model__width=64))
    assert "holds a run already" in fail(*train(world, "--resume=never"))
    harmed = tmp_path / "runs/shapes/checkpoints/step-00000006"
    older = harmed.with_name("step-00000003")
    assert "newer checkpoints" in fail(*train(world, f"--resume={older}"))
    (harmed / "ema.safetensors").unlink()
    assert "is missing" in fail(*train(world, f"--resume={harmed}"))
    assert "not a checkpoint" in fail(*train(world, "--resume=nowhere"))


def test_latents_of_another_kind_are_refused(world):
    latents = f"data__latents={world.latents}"
    key, value = latents.split("=")
    assert "holds latents of 32 px" in fail(*train(world, **{key: value, "data__size": 64}))
    assert "no video is as long as a clip" in fail(*train(world, data__interval=20))
    assert "model.num_classes=8" in fail(*train(world, model__num_classes=4))
    assert "mirrored views" in fail(*train(world, data__flip="true"))
    assert "no latents here" in fail("train", "--preset=shapes")
    assert "must be even for variant 1, got 3" in fail(*train(world, model__depth=3))


def test_latents_of_another_autoencoder_are_refused(world, tmp_path):
    shutil.copytree(world.root / "latents", tmp_path / "latents")
    meta = tmp_path / "latents/shapes-32-embedded/meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "vae_fingerprint": "other"}))
    assert "another autoencoder" in fail("train", "--preset=shapes", *tiny())


def test_a_damaged_shard_is_told(world, tmp_path):
    shutil.copytree(world.root / "latents", tmp_path / "latents")
    for path in (tmp_path / "latents").rglob("shard-*"):
        path.write_bytes(path.read_bytes()[:100])
    said = fail("train", "--preset=shapes", *tiny())
    assert "missing or damaged" in said


def test_a_loss_that_is_not_finite_stops_the_run(world):
    said = fail(*train(world, train__lr=1e30, train__precision="float32", train__steps=30))
    assert "diverged" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "nothing to train"),
        (["--preset=none"], "no preset named `none`"),
        (["--preset=shapes", "-o", "train.lrr=1"], "unknown key"),
    ],
)
def test_wrong_words_are_told(words, told):
    assert told in fail("train", *words)


def test_the_learning_rate_warms_up_and_falls_as_half_a_cosine():
    flat = load_config(None, ["train.lr=1", "train.warmup_steps=4"])
    assert [learning_rate(flat, s) for s in (0, 1, 3, 4, 10**6)] == [0.2, 0.4, 0.8, 1, 1]
    values = ["train.lr=1", "train.lr_schedule=cosine", "train.steps=100"]
    cosine = load_config(None, values)
    assert learning_rate(cosine, 0) == 1
    assert learning_rate(cosine, 50) == pytest.approx(0.5)
    assert learning_rate(cosine, 100) == pytest.approx(0)


def test_gradients_are_clipped_from_the_asked_step(world, tmp_path):
    assert invoke(*train(world, train__clip_grad_norm=1e-9)).exit_code == 0
    norms = [row["grad_norm"] for row in rows(tmp_path / "runs" / "shapes")]
    assert min(norms) > 1e-6, "what is logged is the norm before clipping"
