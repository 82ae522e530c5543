"""What the commands do, from Python: the same clips, runs, results and errors."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import TINY, succeed

import latte_cli
from latte_cli import evaluate, load, sample, show, train
from latte_cli.checkpoints.folder import list_checkpoints
from latte_cli.runtime.errors import CheckpointError, ConfigError, ExistsError, ShapeError
from latte_cli.video_io import read_video

SMALL = [f"{key}={value}" for key, value in TINY.items()]


@pytest.fixture(scope="module")
def pipeline(world):
    return load(world.run)


def test_a_pipeline_makes_the_clips_of_the_command(world, pipeline, tmp_path):
    words = ("--checkpoint", world.run, "-n3", "--label=5", "--label=090deg", "--seed=7")
    succeed("sample", *words, "--steps=3", "--guidance=2", "-o", "clips.npz")
    of_command = np.load(tmp_path / "clips.npz")["clips"]
    clips = pipeline([5, "090deg"], n=3, seed=7, steps=3, guidance=2)
    assert clips.shape == (3, 4, 32, 32, 3)
    assert np.array_equal(clips, of_command)


def test_one_clip_for_each_label_by_number_or_name(pipeline):
    assert pipeline.class_names[2] == "090deg"
    by_name = pipeline(["090deg", "000deg"], steps=2)
    assert np.array_equal(by_name, pipeline(np.array([2, 0]), steps=2))
    assert np.array_equal(by_name[:1], pipeline(np.int64(2), steps=2))
    assert len(pipeline("090deg", steps=2)) == len(pipeline(steps=2)) == 1
    assert len(pipeline(steps=2, frames=6)[0]) == 6


def test_a_pipeline_shows_its_checkpoint_and_not_its_network(world, pipeline):
    assert str(list_checkpoints(world.run)[-1]) in repr(pipeline)
    assert "Linear" not in repr(pipeline)


def test_runs_are_found_where_the_environment_says(world, monkeypatch):
    monkeypatch.setenv("LATTE_RUNS", str(world.root / "runs"))
    assert load(preset="shapes", overrides=SMALL).checkpoint == list_checkpoints(world.run)[-1]


def test_errors_are_raised_with_their_hint(pipeline, tmp_path):
    with pytest.raises(ConfigError, match="label") as caught:
        pipeline(9)
    assert caught.value.hint
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == [f"hint: {caught.value.hint}"]
    with pytest.raises(CheckpointError, match="no such file or folder"):
        load(tmp_path / "missing")
    with pytest.raises(ConfigError, match="unknown"):
        sample(preset="shapes", overrides=["train.lrr=1"])
    with pytest.raises(ConfigError, match="steps"):  # of wrong usage, as the parser finds it
        sample(preset="shapes", steps=0)


def test_sample_makes_only_what_is_missing(world, tmp_path):
    made = sample(world.run, ["000deg", 3], n=2, out="made", steps=2)
    assert [path.name for path in made.paths] == [
        "00000-seed0-label0-000deg.mp4",
        "00001-seed0-label3-135deg.mp4",
    ]
    assert made.sampled_now == 2
    assert sample(world.run, ["000deg", 3], n=2, out="made", steps=2).sampled_now == 0
    with pytest.raises(ExistsError) as caught:
        sample(world.run, ["000deg", 3], n=2, out="made", steps=3)
    assert "overwrite" in caught.value.hint
    assert sample(world.run, n=2, out="made", steps=3, overwrite=True).sampled_now == 2


def test_train_and_evaluate_return_what_the_commands_print(world, monkeypatch, tmp_path, capsys):
    for name in ("data", "latents"):
        monkeypatch.setenv(f"LATTE_{name.upper()}", str(world.root / name))
    result = train("shapes", SMALL, run="mine", steps=2)
    assert (result.run.name, result.step) == ("mine", 2)
    assert train("shapes", SMALL, run="mine", steps=3).step == 3, "it resumes"
    short = ["eval.protocol=stylegan-v", "eval.resamples=0", *SMALL]
    outcome = evaluate(
        result.run, preset="shapes", metrics=["fd-random"], clips=4, overrides=short, out="r.json"
    )
    assert outcome.result.numbers["fd-random"].value > 0
    assert (tmp_path / "r.json").is_file()
    assert capsys.readouterr().out == "", "nothing but what is asked for"


def test_an_interrupted_training_is_saved(world, monkeypatch):
    """As by a notebook's stop button: the file `stop` asks for the same."""
    for name in ("data", "latents"):
        monkeypatch.setenv(f"LATTE_{name.upper()}", str(world.root / name))
    run = train("shapes", SMALL, steps=1).run
    (run / "stop").touch()
    with pytest.raises(KeyboardInterrupt, match=r"saved .*step-"):
        train("shapes", SMALL, steps=10_000)


def test_show_makes_a_video_that_needs_no_file(tmp_path):
    levels = np.random.default_rng(0).integers(0, 255, (3, 4, 1, 1, 3), np.uint8)
    clips = np.broadcast_to(levels, (3, 4, 16, 16, 3))  # plain colors survive compression
    video = show(clips, columns=2)
    assert (video.clips, video.frames, video.width, video.height) == (3, 4, 38, 38)
    html = video._repr_html_()
    assert html.startswith('<video src="data:video/mp4;base64,')
    assert "autoplay loop muted" in html
    (tmp_path / "shown.mp4").write_bytes(video.mp4)
    shown = read_video(tmp_path / "shown.mp4")
    assert shown.shape == (4, 38, 38, 3)
    inside = shown[:, 5:15, 5:15].astype(int)
    assert abs(inside - clips[0, :, 3:13, 3:13]).max() < 16, "the first clip, compressed"
    assert show(tmp_path / "shown.mp4").width == 38
    assert show(clips[0]).clips == 1


@pytest.mark.parametrize("wrong", [np.zeros((4, 16, 16, 3)), np.zeros((16, 16, 3), np.uint8), []])
def test_show_says_what_it_takes(wrong):
    with pytest.raises(ShapeError) as caught:
        show(wrong)
    assert "pipeline" in caught.value.hint


def test_names_are_known_before_anything_heavy_is_imported():
    script = (
        "import sys, latte_cli; assert {'load', 'show'} <= set(dir(latte_cli));"
        "from latte_cli import load, sample, show, train, evaluate;"
        "print([m for m in ('torch', 'diffusers', 'transformers', 'av') if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"
    assert all(getattr(latte_cli, name).__doc__ for name in latte_cli.__all__ if name[0] != "_")
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        latte_cli.lode  # noqa: B018


def test_a_plain_script_is_not_run_again_by_worker_processes(tmp_path):
    """Processes that are spawned run the main script, unless it guards itself: theirs need not."""
    (tmp_path / "script.py").write_text(
        "print('once', flush=True)\n"
        "from latte_cli.cli import run_command\n"
        "print(run_command('prepare', 'shapes', '--count=8', '--size=32').accepted)\n"
    )
    ran = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True)
    assert ran.stdout.split() == ["once", "8"], ran.stderr
