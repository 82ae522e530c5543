"""`latte train` on videos with labels: the network learns them unless told otherwise."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import World, fail, invoke, succeed, tiny

from latte_cli.checkpoints.folder import list_checkpoints, read_checkpoint_config
from latte_cli.video_io import write_video

RUN = Path("runs/folder")
AS_FOLDER = {"train__steps": 2, "data__flip": "false", "train__preview_every": 0}


def train(world: World, *words: object, **values: object) -> list[object]:
    """`latte train --preset folder` on latents of eight classes."""
    latents = ("-o", f"data.latents={world.latents}")
    return ["train", "--preset=folder", *tiny(**AS_FOLDER), *latents, *words, *overrides(values)]


def overrides(values: dict[str, object]) -> list[str]:
    return [w for k, v in values.items() for w in ("-o", f"{k.replace('__', '.')}={v}")]


def learned(run: Path = RUN) -> tuple[str, int | None]:
    """The conditioning that a run's newest checkpoint records."""
    model = read_checkpoint_config(list_checkpoints(run)[-1]).model
    return model.condition, model.num_classes


def unlabel(world: World, tmp_path: Path, count: int) -> Path:
    """Latents whose first videos have no label."""
    latents = Path(shutil.copytree(world.latents, tmp_path / "unlabelled"))
    lines = [json.loads(line) for line in (latents / "index.jsonl").read_text().splitlines()]
    for line in lines[:count]:
        line["label"] = None
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (latents / "index.jsonl").write_text(text)
    return latents


def test_labels_of_a_folder_are_learned_and_known_by_name():
    frames = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), np.uint8)
    for name in ("cat", "dog"):
        for number in range(2):
            write_video(Path(f"pets/{name}/{number}.mp4"), frames // (number + 1), 8)
    succeed("prepare", "folder", "--labels", "--source=pets")
    size = ("-o", "data.size=32", "-o", "data.flip=false")
    succeed("encode-latents", "--preset=folder", *size)
    said = succeed("train", "--preset=folder", *tiny(**AS_FOLDER)).stderr
    assert "the videos have 2 classes (cat, dog): the network is class-conditional" in said
    assert learned() == ("class", 2)
    preset, steps = "--preset=folder", "--steps=2"
    succeed("sample", preset, "-n", 1, "--label=dog", steps, "--out=a")
    path = f"--checkpoint={list_checkpoints(RUN)[-1]}"
    for out, words in (("b", ()), ("c", (preset, *tiny()))):
        succeed("sample", *words, path, "-n", 1, "--label=dog", steps, f"--out={out}")
        assert list(Path(out).glob("*label1*"))
    said = fail("sample", preset, "-n", 1, "--label=dgo", steps, "--out=d")
    assert "did you mean `dog`" in said


def test_the_same_command_resumes(world):
    succeed(*train(world))
    assert learned() == ("class", 8)
    said = succeed(*train(world, "--steps=3")).stderr
    assert "resuming from" in said
    assert learned() == ("class", 8)


def test_a_data_set_that_has_changed_since_it_was_encoded_is_told(world, tmp_path):
    """It is trained on as it was then."""
    data = shutil.copytree(world.root / "data" / "shapes", tmp_path / "data" / "folder")
    shutil.copytree(world.latents, tmp_path / "latents" / "folder-32-embedded")
    manifest = data / "manifest.jsonl"
    first, *others = map(json.loads, manifest.read_text().splitlines())
    rows = [{**first, "label": (first["label"] + 1) % 8}, *others]
    rows.append({**others[0], "path": "videos/new.mp4", "sha256": "0" * 64})
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = " ".join(succeed("train", "--preset=folder", *tiny(**AS_FOLDER)).stderr.split())
    assert "(videos without latents: 1, with other labels: 1)" in said


def test_an_override_leaves_the_labels_out_and_a_note_says_so(world):
    said = " ".join(succeed(*train(world, model__condition="none")).stderr.split())
    assert learned() == ("none", None)
    assert "-o model.condition=class -o model.num_classes=8" in said


@pytest.mark.parametrize("given", [{"model__condition": "class"}, {"model__num_classes": 8}])
def test_half_of_the_override_is_enough(world, given):
    succeed(*train(world, **given))
    assert learned() == ("class", 8)


def test_a_number_of_classes_that_is_too_small_is_an_error_with_the_whole_override(world):
    said = fail(*train(world, model__num_classes=3))
    assert "hint: -o model.condition=class -o model.num_classes=8" in said
    said = " ".join(succeed(*train(world, model__num_classes=9)).stderr.split())
    assert "the videos have 8 classes, model.num_classes is 9" in said


def test_a_run_that_began_without_labels_goes_on_without(world):
    """As runs of earlier versions did."""
    succeed(*train(world, model__condition="none"))
    said = " ".join(succeed(*train(world, "--steps=3")).stderr.split())
    assert "resuming from" in said
    assert "runs/folder began without labels, and goes on without" in said
    assert learned() == ("none", None)
    succeed(*train(world, "--run=new"))
    assert learned(Path("runs/new")) == ("class", 8)


@pytest.mark.parametrize("count", [1, 16])
def test_videos_without_labels_train_an_unconditional_network(world, tmp_path, count):
    latents = unlabel(world, tmp_path, count)
    said = succeed(*train(world, data__latents=latents)).stderr
    assert learned() == ("none", None)
    assert ("1 videos have none" in said) == (count == 1)
    result = invoke(*train(world, "--run=b", data__latents=latents, model__condition="class"))
    assert result.exit_code == 1
    assert "-o model.condition=none -o model.num_classes=null" in result.stderr


def test_the_plan_is_of_the_same_network(world, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shown = json.loads(succeed("--json", *train(world, "--plan")).stdout)
    without = train(world, "--plan", model__condition="none")
    other = json.loads(succeed("--json", *without).stdout)
    assert shown["parameters"] - other["parameters"] == 9 * 32


def test_a_class_network_without_the_number_of_classes_is_an_error_elsewhere(world):
    path = list_checkpoints(world.run)[-1] / "ema.safetensors"
    words = ("-o", "model.condition=class", f"--checkpoint={path}", "-n", 1)
    said = fail("sample", "--preset=folder", *words)
    assert "-o model.condition=class -o model.num_classes=8" in said
