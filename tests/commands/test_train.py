"""`latte train` through the command line: what a run writes, keeps, and resumes from."""

import json
import shutil
from pathlib import Path

import torch
from conftest import invoke, succeed
from helpers.runs import curve, rows, train_words
from safetensors.torch import load_file

from latte_cli.checkpoints.folder import find_corruption, list_checkpoints
from latte_cli.checkpoints.state import read_progress


def names(run: Path | str) -> list[str]:
    return [path.name for path in list_checkpoints(Path(run))]


def test_a_run_leaves_what_people_need(world):
    assert [row["step"] for row in rows(world.run)] == [1, 2, 3, 4, 5, 6]
    promised = {"step", "loss", "mse", "vlb", "grad_norm", "lr", "clips_per_s"}
    assert promised <= set(rows(world.run)[0])
    assert names(world.run) == ["step-00000003", "step-00000006"]
    assert (world.run / "previews" / "step-00000006.mp4").is_file()
    assert "width: 32" in (world.run / "config.yaml").read_text()
    meta = json.loads((list_checkpoints(world.run)[-1] / "meta.json").read_text())
    assert meta["classes"][0] == "000deg"
    assert meta["videos"] == 16
    assert meta["made_by"].startswith("latte 0")


def test_a_resumed_run_is_the_undisturbed_one_bit_for_bit(world, tmp_path):
    """Weights, EMA, optimizer and data order: the same losses from the step it resumes at."""
    succeed(*train_words(world, train__steps=3, train__lr_schedule="constant"))
    result = succeed(*train_words(world, train__steps=6, train__lr_schedule="constant"))
    assert "resuming from" in result.stderr
    succeed(*train_words(world, runs="whole", train__steps=6, train__lr_schedule="constant"))
    assert curve("runs/shapes") == curve("whole/shapes")
    ends = [Path(runs, "shapes/checkpoints/step-00000006") for runs in ("runs", "whole")]
    for path in ends[1].rglob("*.safetensors"):
        assert (ends[0] / path.relative_to(ends[1])).read_bytes() == path.read_bytes()


def test_micro_batches_have_the_losses_of_the_batch(world):
    values = {"train__precision": "float32", "train__batch_size": 6}
    succeed(*train_words(world, **values))
    succeed(*train_words(world, runs="split", train__accumulate=3, **values))
    whole, split = curve("runs/shapes"), curve("split/shapes")
    for a, b in zip(whole, split, strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-5


def test_a_broken_checkpoint_is_named_and_the_one_before_used(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    newest = tmp_path / "runs/shapes/checkpoints/step-00000006/model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-9])
    result = succeed(*train_words(world))
    assert "step-00000006/model.safetensors is not as it was written" in result.stderr
    assert (
        "the damaged checkpoint is kept as runs/shapes/checkpoints/step-00000006-broken"
        in result.stderr
    )
    assert "resuming from runs/shapes/checkpoints/step-00000003" in result.stderr
    assert curve("runs/shapes") == curve(world.run)
    assert find_corruption(newest.parent) is None, "written again"


def test_a_finished_run_is_left_as_it_is(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    before = (tmp_path / "runs/shapes/metrics.jsonl").read_bytes()
    shown = json.loads(succeed("--json", *train_words(world)).stdout)
    assert shown["step"] == 6
    assert (tmp_path / "runs/shapes/metrics.jsonl").read_bytes() == before


def test_the_newest_checkpoints_are_kept_and_some_for_good(world):
    values = {"train__save_every": 1, "train__keep": 2, "train__keep_every": 3}
    succeed(*train_words(world, train__steps=8, **values))
    assert names("runs/shapes") == [f"step-0000000{step}" for step in (3, 6, 7, 8)]


def test_a_checkpoint_to_be_kept_for_good_is_saved_even_between_others(world):
    succeed(*train_words(world, train__save_every=4, train__keep=1, train__keep_every=3))
    assert names("runs/shapes") == ["step-00000003", "step-00000006"]


def test_ema_snapshots_have_their_own_interval_and_can_be_sampled_from(world):
    succeed(*train_words(world, train__ema_every=2, train__save_every=3, train__keep=1))
    snapshots = sorted(Path("runs/shapes/ema").iterdir())
    assert [path.name for path in snapshots] == [f"step-0000000{step}" for step in (2, 4, 6)]
    assert all(find_corruption(path) is None for path in snapshots)
    assert not (snapshots[0] / "model.safetensors").exists()
    last, checkpoint = (load_file(p / "ema.safetensors") for p in (snapshots[-1], newest("runs")))
    assert all(torch.equal(last[name], value) for name, value in checkpoint.items())
    succeed("sample", f"--checkpoint={snapshots[0]}", "-n", 1, "--steps=2", "--out=clips")


def newest(runs: str) -> Path:
    return list_checkpoints(Path(runs, "shapes"))[-1]


def test_training_lowers_the_loss(world):
    values = {"train__steps": 60, "train__lr": 3e-3, "train__batch_size": 8}
    shown = json.loads(succeed("--json", *train_words(world, **values)).stdout)
    assert shown["loss_last_tenth"] < 0.9 * shown["loss_first_tenth"]
    assert shown["bad_steps"] == 0


def test_init_loads_other_weights(world):
    checkpoint = list_checkpoints(world.run)[-1]
    succeed(*train_words(world, f"--init={checkpoint}", train__lr=1e-30, train__steps=1))
    ours, theirs = (
        load_file(newest("runs") / "model.safetensors"),
        load_file(checkpoint / "ema.safetensors"),
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_an_unconditional_network_trains_on_labelled_videos(world):
    succeed(*train_words(world, model__condition="none", model__num_classes="null"))
    weights = load_file(newest("runs") / "ema.safetensors")
    assert not [name for name in weights if name.startswith("y_embedder")]


def test_a_resumed_run_takes_the_commands_optimizer_settings(world):
    """Not those in the checkpoint; changes are reported."""
    succeed(*train_words(world, train__steps=3))
    values = {"train__lr": 1e-6, "train__weight_decay": 0.5, "train__lr_schedule": "constant"}
    result = succeed(*train_words(world, train__steps=4, **values))
    said = " ".join(result.stderr.split())
    assert "resumes with other settings than before: " in said
    assert "train.weight_decay was 0.0, is 0.5" in said
    assert rows("runs/shapes")[-1]["lr"] == 1e-6
    (group,) = json.loads((newest("runs") / "state/optimizer.json").read_text())
    assert (group["lr"], group["weight_decay"]) == (1e-6, 0.5)


def test_a_checkpoint_without_a_guard_resumes(world, tmp_path):
    succeed(*train_words(world, train__steps=3, train__lr_schedule="constant"))
    checkpoint = newest("runs")
    meta = json.loads((checkpoint / "meta.json").read_text())
    for name in ("state/guard.safetensors", "state/progress.json"):
        (checkpoint / name).unlink()
        del meta["files"][name]
    for key in ("made_by", "videos", "data_digest", "contents_digest"):
        del meta[key]
    (checkpoint / "meta.json").write_text(json.dumps(meta))
    words = train_words(world, train__steps=4, train__lr_schedule="constant")
    assert "warning" not in succeed(*words).stderr
    assert read_progress(newest("runs"))["data_offset"] == 0


def test_two_runs_do_not_write_into_one_folder(world):
    from latte_cli.runtime.files import lock_folder

    with lock_folder(Path("runs/shapes")):
        result = invoke(*train_words(world))
    assert result.exit_code == 1
    assert "another run is writing here" in result.stderr
