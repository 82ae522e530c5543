"""`latte demo`: the whole workflow in small."""

import json

import pytest
import typer
from commands.pipelines import write_pipeline
from conftest import fail, succeed
from PIL import Image

from latte_cli.cli import app
from latte_cli.commands import demo
from latte_cli.config import locations
from latte_cli.video_io import read_video


@pytest.fixture
def small(monkeypatch, tmp_path_factory):
    """A demo of a few videos, clips and denoising steps, with a tiny text-to-video pipeline."""
    assets = tmp_path_factory.mktemp("assets")
    write_pipeline(assets / "t2v-shapes")
    (assets / "t2v-shapes" / "sampling.json").write_text('{"steps": 2, "guidance": 2}')
    monkeypatch.setattr(locations, "EMBEDDED_PIPELINE", str(assets / "t2v-shapes"))
    monkeypatch.setattr(demo, "_VIDEOS", 80)
    monkeypatch.setattr(demo, "_EVAL_CLIPS", 8)
    monkeypatch.setattr(demo, "_EVAL_STEPS", 6)


def check_folders(said):
    """Every step has all of its folders inside the demo's."""
    steps = [line.split()[2:] for line in said.splitlines() if line.startswith("$ latte ")]
    assert len(steps) == 10
    for name, *words in steps:
        command = typer.main.get_command(app).commands[name]
        roots = {opt for param in command.params for opt in param.opts if opt.endswith("-root")}
        given = dict(word.split("=") for word in words if word.startswith("--") and "=" in word)
        assert roots <= given.keys(), name
        assert all(given[root].startswith("latte-demo/") for root in roots)


def test_demo_runs_the_whole_workflow_whatever_else_is_in_the_folder(small, tmp_path):
    succeed("prepare", "shapes", "--count=16", "--size=32", "--seed=1")
    result = succeed("--json", "demo", "--steps=30")
    shown = json.loads(result.stdout)
    assert shown["videos"] == 80
    assert shown["steps"] == 30
    assert shown["reconstruction_psnr_db"] >= 28
    assert shown["loss_last_tenth"] < shown["loss_first_tenth"]
    assert set(shown["seconds_by_part"]) == {
        "prepare",
        "encode",
        "train",
        "sample fresh",
        "sample shipped",
        "eval fresh",
        "eval shipped",
        "sample in 4 steps",
        "report",
        "t2v",
    }
    for command in ("prepare shapes", "encode-latents", "train", "sample", "eval", "report", "t2v"):
        assert f"$ latte {command}" in result.stderr, "each step is a command to copy"
    check_folders(result.stderr)
    assert read_video(shown["video"]).shape == (8, 5 * 66 + 2, 8 * 66 + 2, 3)
    with Image.open(shown["picture"]) as picture:
        assert picture.size == (8 * 64 + 4 + 104, 10 * 66 + 2)
    for folder in ("shipped", "shipped-4-steps"):
        assert len(list((tmp_path / "latte-demo/samples" / folder).glob("*.mp4"))) == 8

    assert read_video(tmp_path / "latte-demo/sentence.mp4").shape == (4, 64, 64, 3)
    assert shown["sentence_clip"] == "latte-demo/sentence.mp4"

    report = (tmp_path / shown["report"]).read_text()
    assert "latte-demo/samples/step-00000030" in report
    assert "latte-demo/results/step-00000030.json" in report

    assert set(shown["moves_as_asked"]) == {"fresh", "shipped"}
    far = {kind: float(words.split()[0]) for kind, words in shown["distance_from_real"].items()}
    assert far["fresh"] > far["shipped"] > 0
    assert far["real"] > 0, "real vs real"
    assert {path.name for path in tmp_path.iterdir()} == {"data", "latte-demo"}

    again = json.loads(succeed("--json", "demo", "--steps=30").stdout)
    assert again["loss_last_tenth"] == shown["loss_last_tenth"], "nothing is done twice"


def test_output_folder_below_a_file_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    assert "file is a file, not a folder" in fail("demo", "--out=file/demo")
