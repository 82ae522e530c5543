"""Evaluation of networks that take text: prompts from captions, directions and colors asked for."""

import json
import shutil
from pathlib import Path

import pytest
from commands.pipelines import WIDTH, write_pipeline
from conftest import fail, succeed, tiny
from helpers.runs import evaluated, rows

from latte_cli.cli.checks import check_pipeline
from latte_cli.evaluation.sources import prompted
from latte_cli.sources.shapes import color_in, direction_in, render_clip, sentences
from latte_cli.video_io import write_video

ASKED = [("red", "circle", "up"), ("blue", "square", "down and left"), ("green", "circle", "left")]
TEXT = {
    **{"model__condition": "text", "model__num_classes": "null", "model__text_width": WIDTH},
    **{"train__validate_clips": 0, "train__preview_every": "null", "text__clean": "false"},
    **{"eval__metrics": "direction,color", "eval__clips": 8, "eval__resamples": 0},
    **{"sample__steps": 2, "train__lr_schedule": "constant"},
}


@pytest.fixture(scope="module")
def captioned(tmp_path_factory) -> Path:
    """Five videos with captions of `shapes`, three of them held out, and a text encoder."""
    root = tmp_path_factory.mktemp("captioned")
    table = []
    for index in range(5):
        write_video(root / "in" / f"{index}.mp4", render_clip(index, size=32, num_frames=12), 8)
        words = sentences(*ASKED[index % 3])
        split = "train" if index < 2 else "test"
        table += [{"video": f"{index}.mp4", "caption": text, "split": split} for text in words[:2]]
    (root / "in" / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    write_pipeline(root / "pipeline")
    succeed("prepare", "captions", f"--source={root / 'in'}", f"--out={root / 'data'}")
    succeed("encode-latents", "--preset=shapes", *words_of(root))
    return root


def words_of(root: Path, **values: object) -> list[str]:
    paths = {"data__root": root / "data", "data__latents": root / "latents",
             "data__texts": root / "texts", "text__path": root / "pipeline"}  # fmt: skip
    return tiny(**{**TEXT, **paths, **values})


@pytest.fixture(scope="module")
def run(captioned, tmp_path_factory) -> Path:
    """A run with an evaluation at every third of its six steps."""
    root = tmp_path_factory.mktemp("runs")
    features = f"--features-root={root / 'features'}"
    words = words_of(captioned, train__eval_every=3)
    succeed("train", "--preset=shapes", f"--runs-root={root}", features, *words)
    return root / "shapes"


def test_a_run_takes_nothing_but_the_text_encoder_from_its_folder(run, captioned):
    """As `text.path` may name a folder that holds no more."""
    parts = [captioned / "pipeline" / name for name in ("scheduler", "transformer", "vae")]
    away = [part.rename(captioned / f"{part.name}-away") for part in parts]
    try:
        check_pipeline(str(run / "checkpoints" / "step-00000006"))
    finally:
        for part, place in zip(parts, away, strict=True):
            place.rename(part)


def test_a_run_evaluates_itself_on_held_out_captions(run, monkeypatch):
    found = evaluated(run)
    assert list(found) == [3, 6]
    assert all(0 <= value <= 1 for numbers in found.values() for value in numbers.values())
    assert {"direction", "color"} == found[6].keys()
    last = next(row for row in rows(run) if "eval_color" in row)
    assert (last["eval_direction"], last["eval_color"]) == tuple(found[3].values())
    details = json.loads(next((run / "eval").glob("step-00000006-*")).read_text())
    assert len(details["metrics"]["color"]["details"]["by clip"]) == 8
    assert (run / "best.json").is_file()


def evaluate(captioned, run, *more, features=None):
    options = (f"--checkpoint={run}", f"--real={captioned / 'data'}", *more)
    root = run.parent / "features" if features is None else features
    return succeed("--json", "eval", *options, f"--features-root={root}")


def test_eval_of_the_checkpoint_is_the_same_and_needs_no_text_encoder(
    captioned, run, tmp_path, monkeypatch
):
    """The captions are encoded; without those the encoder is loaded, for the same clips."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prompted, "encoded_captions", None)
    shown = json.loads(evaluate(captioned, run, features=tmp_path / "features").stdout)
    values = {name: number["value"] for name, number in shown["metrics"].items()}
    assert values == evaluated(run)[6]
    assert shown["fake"]["kind"] == "checkpoint"
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    said = evaluate(
        captioned,
        run,
        *("-o", f"data.texts={tmp_path / 'none'}", "-o", "text.precision=bf16"),
        features=tmp_path / "others",
    )
    assert "reading the text encoder" in said.stderr
    again = json.loads(said.stdout)["metrics"]
    assert {name: number["value"] for name, number in again.items()} == values


def test_prompts_are_held_out_captions_one_of_every_video_first(captioned):
    from latte_cli.config import load_config
    from latte_cli.evaluation.sources.prompts import Captions

    config = load_config("shapes", ["sample.prompts=[a red dog]"])
    prompts = Captions(str(captioned / "data")).prompts(config)
    first, second = (
        [(color_in(t), direction_in(t)) for t in p] for p in (prompts[:3], prompts[3:])
    )
    assert sorted(first) == sorted([("green", 4), ("red", 6), ("blue", 3)])
    assert first == second
    assert len(set(prompts)) == 6, "two wordings each"
    assert Captions("nowhere").prompts(config) == ("a red dog",)


def test_without_captions_or_prompts_there_is_nothing_to_generate(captioned, run, tmp_path):
    clips = tmp_path / "clips"
    shutil.copytree(captioned / "in", clips)
    said = fail("eval", f"--checkpoint={run}", f"--real={clips}")
    assert "no captions, from which" in said
    assert "sample.prompts" in said


def test_clips_of_t2v_in_a_folder_are_measured_by_their_prompts(captioned, run, tmp_path):
    lines = tmp_path / "prompts.txt"
    lines.write_text("a red circle moving up\na blue square moves left\n")
    fast = ("--steps=2", "--guidance=1", f"--out={tmp_path / 'clips'}")
    succeed("t2v", "--prompts", lines, f"--model={run}", *fast)
    real = f"--real={captioned / 'data'}"
    options = ("--metrics=direction,color", "-o", "data.frames=4", "-o", "data.size=32")
    shown = succeed(
        "--json", "eval", real, f"--fake={tmp_path / 'clips'}", *options, "--interval=1",
        f"--features-root={tmp_path / 'features'}", f"--out={tmp_path / 'result.json'}",
    ).stdout  # fmt: skip
    verdicts = json.loads(shown)["metrics"]["color"]["details"]["by clip"]
    assert set(verdicts) == {"00000-seed0.mp4", "00001-seed0.mp4"}


def test_metrics_that_ask_for_what_a_network_is_not_told_are_early_errors(world, captioned, run):
    real = f"--real={world.root / 'data' / 'shapes'}"
    said = fail("eval", "--preset=shapes", "--checkpoint=embedded", real, "--metrics=color")
    assert "color needs clips with captions, and this network takes no text" in said
    said = fail("eval", f"--checkpoint={run}", real, "--sweep=cache=off,pab")
    assert "evaluated without a cache" in said
