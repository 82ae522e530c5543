"""`train.ema=power`, `latte convert --ema`, `latte eval --sweep ema=…` and `train.ema_warmup`."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import World, fail, succeed
from helpers.runs import curve, launch, several_words, train_words
from safetensors.torch import load_file

from latte_cli.checkpoints.folder import find_corruption, list_checkpoints, list_steps
from latte_cli.models import load_latte

POWER = {"train__ema": "power", "train__lr_schedule": "constant"}
RUN = Path("runs/shapes")


def snapshots(run: Path | str) -> list[Path]:
    return list_steps(Path(run) / "ema")


def same_tensors(ours: Path, theirs: Path) -> bool:
    """Whether all files of tensors in two folders are the same, byte by byte."""
    files = sorted(path.relative_to(theirs) for path in theirs.rglob("*.safetensors"))
    assert files == sorted(path.relative_to(ours) for path in ours.rglob("*.safetensors"))
    return all((ours / name).read_bytes() == (theirs / name).read_bytes() for name in files)


def test_a_run_keeps_two_averages_and_resumes_with_them_exactly(world):
    succeed(*train_words(world, **POWER, train__ema_every=2, train__steps=3))
    assert "resuming" in succeed(*train_words(world, **POWER, train__ema_every=2)).stderr
    succeed(*train_words(world, runs="whole", **POWER, train__ema_every=2))
    assert curve(RUN) == curve("whole/shapes")
    ours, theirs = (list_checkpoints(Path(run, "shapes"))[-1] for run in ("runs", "whole"))
    assert same_tensors(ours, theirs)
    for each in snapshots("whole/shapes"):
        assert same_tensors(RUN / "ema" / each.name, each)
    wide, narrow = (load_file(ours / f"{name}.safetensors") for name in ("ema", "ema-0.05"))
    assert {value.dtype for value in (*wide.values(), *narrow.values())} == {torch.float32}
    assert any(not torch.equal(wide[name], value) for name, value in narrow.items())


def test_snapshots_are_few_and_small_and_can_be_sampled_from(world):
    succeed(*train_words(world, **POWER, train__steps=33, train__save_every=33))
    steps = [path.name for path in snapshots(RUN)]
    assert steps == [f"step-{step:08d}" for step in (*range(3, 34, 3),)]
    (last, before) = snapshots(RUN)[-1], list_checkpoints(RUN)[-1]
    assert find_corruption(last) is None
    parameters = load_file(last / "ema-0.05.safetensors")
    assert {value.dtype for value in parameters.values()} == {torch.float16}
    halved = load_file(last / "ema.safetensors")
    for name, value in load_file(before / "ema.safetensors").items():
        assert torch.equal(halved[name], value.half() if name in parameters else value), name
    succeed("sample", f"--checkpoint={last}", "-n1", "--steps=2", "--out=clips")
    planned = train_words(world, **POWER, train__steps=33, train__save_every=33)
    shown = json.loads(succeed("--json", *planned, "--plan").stdout)
    assert shown["disk"]["snapshots"] == len(steps)
    size = sum(path.stat().st_size for path in last.glob("*.safetensors"))
    assert shown["disk"]["snapshot_bytes"] == pytest.approx(size, rel=0.15)
    assert "11 snapshots" in succeed(*planned, "--plan").stdout


def test_snapshots_after_the_step_that_a_run_goes_on_from_are_deleted(world):
    """They may be of another course; those of `fixed`, which nothing is made of, stay."""
    for name, values in (("runs", POWER), ("fixed", {"train__lr_schedule": "constant"})):
        succeed(*train_words(world, runs=name, train__ema_every=1, **values))
        shutil.rmtree(list_checkpoints(Path(name, "shapes"))[-1])
        again = {"train__ema_every": 4, "train__steps": 4, **values}
        succeed(*train_words(world, runs=name, **again))
    steps = [[int(p.name[5:]) for p in snapshots(f"{name}/shapes")] for name in ("runs", "fixed")]
    assert steps == [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6]]


def test_any_width_is_reconstructed_and_checked(world):
    succeed(*train_words(world, **POWER, train__ema_every=1))
    shown = json.loads(succeed("--json", "convert", RUN, "out", "--ema=0.075", "--check").stdout)
    assert shown["largest_difference"] == 0
    assert shown["profile_error"] < 0.05
    assert "already there" in succeed("convert", RUN, "out", "--ema=0.075").stderr
    assert json.loads(Path("out/meta.json").read_text())["step"] == 6
    succeed("convert", RUN, "out.pt", "--ema=0.05")
    kept = load_file(RUN / "ema/step-00000006/ema-0.05.safetensors")
    for name, value in load_latte("out.pt", heads=2).named_parameters():
        torch.testing.assert_close(value, kept[name].float(), rtol=1e-5, atol=1e-7)
    assert "differ" not in succeed("sample", "--checkpoint=out", "-n1", "--out=clips").stderr
    assert "other weights" in fail("convert", RUN, "out", "--ema=0.1")
    assert "relative widths from" in fail("convert", RUN, "narrow", "--ema=0.001")
    assert "widths are above 0 and below 0.289" in fail("convert", RUN, "wide", "--ema=0.5")
    assert "leave one of them out" in fail("convert", RUN, "narrow", "--ema=0.1", "--to=lora")
    assert not Path("narrow").exists()


def test_errors_on_runs_and_settings_without_power_averages(world):
    assert "has no snapshots of power-function averages" in fail(
        "convert", world.run, "out", "--ema=0.1"
    )
    said = fail(*train_words(world, train__ema="power", train__ema_warmup="none"))
    assert "train.ema_warmup is none, which is for train.ema fixed" in said
    succeed(*train_words(world, train__steps=3))
    assert "train.ema was 'fixed', is 'power'" in fail(*train_words(world, train__ema="power"))


def test_a_sweep_finds_the_best_width(world, clips):
    succeed(*train_words(world, **POWER, train__ema_every=1))
    words = ("eval", "--real=real", f"--checkpoint={RUN}", "--clips=3", "-o", "eval.resamples=0")
    words += ("-o", "eval.metrics=fd-random", "-o", "sample.steps=2", "-o", "data.interval=1")
    shown = json.loads(succeed("--json", *words, "--sweep=ema=0.05,0.1").stdout)
    assert [point["settings"] for point in shown["points"]] == [{"ema": "0.05"}, {"ema": "0.1"}]
    values = {point["metrics"]["fd-random"]["value"] for point in shown["points"]}
    assert len(values) == 2
    (first, second) = (Path(point["checkpoint"]) for point in shown["points"])
    assert (first.name, second.name) == ("step-00000006-0.05", "step-00000006-0.1")
    again = succeed(*words, "--sweep=ema=0.05,0.1").stdout
    assert "0 of 2" in " ".join(again.split()), "nothing is measured twice"
    assert "not the relative width" in fail(*words, "--sweep=ema=wide")
    assert "has no snapshots" in fail(
        *words[:2], f"--checkpoint={world.run}", *words[3:], "--sweep=ema=0.1"
    )


def test_without_warm_up_the_decay_holds_from_the_first_step(world):
    values = {"train__ema_decay": 0.999, "train__steps": 1, "train__lr": 1e-2}
    succeed(*train_words(world, train__ema_warmup="none", **values))
    succeed(*train_words(world, runs="adaptive", **values))
    found = {}
    for runs in ("runs", "adaptive"):
        checkpoint = list_checkpoints(Path(runs, "shapes"))[-1]
        ema, model = (load_file(checkpoint / f"{n}.safetensors") for n in ("ema", "model"))
        found[runs] = ema["final_layer.linear.bias"] / model["final_layer.linear.bias"]
    torch.testing.assert_close(found["runs"], torch.full_like(found["runs"], 1 - 0.999))
    torch.testing.assert_close(found["adaptive"], torch.full_like(found["runs"], 9 / 11))


def test_sharded_processes_keep_the_averages_of_one(world: World, tmp_path: Path):
    values = {**POWER, "train__steps": 3, "train__ema_every": 3}
    sharded = several_words(world, "sharded", train__shard="fsdp", **values)
    more = several_words(world, "sharded", train__shard="fsdp", **values | {"train__steps": 6})
    launched = launch(
        tmp_path, [{"processes": 2, "words": list(map(str, w))} for w in (sharded, more)]
    )
    assert launched.codes == [0, 0], launched.said
    succeed(*several_words(world, **values | {"train__steps": 6}))
    for step in (3, 6):
        for name in ("ema", "ema-0.05"):
            ours, theirs = (
                load_file(Path(runs, f"shapes/ema/step-0000000{step}/{name}.safetensors"))
                for runs in ("sharded", "runs")
            )
            torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=1e-5)
