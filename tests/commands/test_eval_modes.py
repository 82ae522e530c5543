"""`latte eval`: its modes exclude each other; the self-test and VBench."""

import json
import shlex
from pathlib import Path

import pytest
from conftest import fail, succeed
from helpers.eval_data import flat

import latte_cli.metrics
from latte_cli.text.vbench import video_name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--sweep=steps=3", "--curve=r1"], "--curve and --sweep"),
        (["--curve=r1", "--fake=up"], "--curve and --fake"),
        (["a.json", "b.json", "--fake=up"], "result files and --fake"),
        (["a.json", "b.json", "--self-test"], "result files and --self-test"),
        (["--vbench=x", "--vbench-results=y"], "--vbench and --vbench-results"),
        (["--show-protocol", "--sweep=steps=3"], "--show-protocol and --sweep"),
    ],
)
def test_two_modes_at_once_are_an_error(words, expected):
    assert f"{expected} at once" in fail("eval", "--preset=shapes", *words)


@pytest.mark.parametrize("mode", [[], ["--vbench-results=y"], ["--fake=up"]])
def test_vbench_prompts_without_a_folder_are_an_error(mode):
    said = fail("eval", "--vbench-prompts=list.json", *mode)
    assert "--vbench-prompts is for --vbench" in said


def test_folders_instead_of_result_files_are_an_error():
    Path("clips").mkdir()
    said = fail("eval", "--vbench-results=clips")
    assert "clips: a folder, not a result file hint: VBench writes *_eval_results.json" in said


def test_vbench_commands_can_be_pasted(tmp_path, monkeypatch):
    """Each on a line of its own, however narrow the terminal and long the folder's name."""
    monkeypatch.setenv("COLUMNS", "80")
    prompts = ("a red bicycle", "a green bicycle")
    dimensions = ["temporal_flickering", "color"]
    rows = [{"prompt_en": prompt, "dimension": dimensions} for prompt in prompts]
    for suite, count in zip(dimensions, (25, 5), strict=True):
        folder = tmp_path / "videos of a long night" / suite
        folder.mkdir(parents=True)
        for index in range(count):
            for prompt in prompts:
                (folder / video_name(prompt, index)).touch()
    Path("list.json").write_text(json.dumps(rows))
    words = ("eval", "--vbench=videos of a long night", "--vbench-prompts=list.json")
    lines = succeed(*words).stdout.splitlines()
    commands = json.loads(succeed("--json", *words).stdout)["commands"]
    assert any(len(line) > 80 for line in commands)
    assert lines[-len(commands) :] == commands
    assert shlex.split(commands[-1])[-1] == "color"


@pytest.mark.parametrize("score", ["NaN", "Infinity", "[NaN, []]"])
def test_a_score_that_is_not_finite_is_an_error(score):
    Path("s.json").write_text(f'{{"color": 0.5, "subject_consistency": {score}}}')
    said = fail("eval", "--vbench-results=s.json")
    assert "s.json: subject_consistency is " in said
    assert "which is not a score" in said


def _missing(*words, **more):
    from latte_cli.runtime.errors import CheckpointError

    raise CheckpointError("i3d: no weights", hint="give --weights")


def test_the_self_test_lists_its_checks(clips, monkeypatch):
    from latte_cli.evaluation import self_test

    monkeypatch.setattr(latte_cli.metrics, "load_features", _missing)
    monkeypatch.setattr(self_test, "_FRECHET", self_test._FRECHET[:2])  # the small ones
    monkeypatch.setattr(self_test, "known_answers", lambda device: [])  # seconds of convolutions
    words = ("eval", "--self-test", "--real=real", *flat("eval.clips=3"))
    shown = json.loads(succeed("--json", *words).stdout)
    states = [check["passed"] for check in shown["checks"]]
    assert states.count(None) == 1
    assert False not in states
    assert {each["name"] for each in shown["compression"]} >= {"none", "JPEG 75", "mp4 crf 5"}
    monkeypatch.setattr(self_test, "polynomial_mmd", lambda a, b: 1.0)
    assert "checks failed: KVD and KID" in fail("eval", "--self-test")


def test_a_folder_of_vbench_is_checked(tmp_path):
    from latte_cli.text.vbench import video_name

    prompts = ("a red bicycle", "a green bicycle")
    rows = [{"prompt_en": prompt, "dimension": ["color"]} for prompt in prompts]
    folder = tmp_path / "videos" / "color"
    folder.mkdir(parents=True)
    for prompt in prompts:
        for index in range(5):
            (folder / video_name(prompt, index)).touch()
    assert "holds no list of VBench's prompts" in fail("eval", "--vbench=videos")
    (tmp_path / "list.json").write_text(json.dumps(rows))
    shown = succeed("eval", "--vbench=videos", "--vbench-prompts=list.json").stdout
    assert "vbench evaluate --videos_path videos/color --dimension color" in shown
    next(folder.iterdir()).unlink()
    (tmp_path / "list.json").rename(tmp_path / "videos" / "vbench_full_info.json")
    assert "1 videos are missing and 0 have wrong names" in fail("eval", "--vbench=videos")


def test_vbenchs_scores_are_shown_beside_the_papers(tmp_path):
    from latte_cli.commands.vbench import paper_scores

    Path("s.json").write_text(json.dumps({k: [v, []] for k, v in paper_scores()["Latte"].items()}))
    shown = json.loads(succeed("--json", "eval", "--vbench-results=s.json").stdout)
    assert round(100 * shown["total"], 2) == 77.29
    people = succeed("eval", "--vbench-results=s.json").stdout
    assert "CogVideo" in people
    assert "77.29" in people
