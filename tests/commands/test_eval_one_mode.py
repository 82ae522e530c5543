"""`latte eval` does one thing at a time, and says what it was given that is none of them."""

import json
import shlex
from pathlib import Path

import pytest
from conftest import fail, succeed

from latte_cli.text.vbench import video_name


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--sweep=steps=3", "--curve=r1"], "--curve and --sweep"),
        (["--curve=r1", "--fake=up"], "--curve and --fake"),
        (["a.json", "b.json", "--fake=up"], "result files and --fake"),
        (["a.json", "b.json", "--self-test"], "result files and --self-test"),
        (["--vbench=x", "--vbench-results=y"], "--vbench and --vbench-results"),
        (["--show-protocol", "--sweep=steps=3"], "--show-protocol and --sweep"),
    ],
)
def test_two_ways_to_evaluate_are_refused(words, told):
    assert f"{told} at once" in fail("eval", "--preset=shapes", *words)


@pytest.mark.parametrize("mode", [[], ["--vbench-results=y"], ["--fake=up"]])
def test_prompts_without_a_folder_of_vbench_are_told(mode):
    said = fail("eval", "--vbench-prompts=list.json", *mode)
    assert "--vbench-prompts is for --vbench" in said


def test_folders_in_the_place_of_result_files_are_told():
    Path("clips").mkdir()
    said = fail("eval", "clips", "clips")
    assert "clips: a folder, not a result file" in said
    assert "--fake clips" in said
    said = fail("eval", "--vbench-results=clips")
    assert "clips: a folder, not a result file hint: VBench writes *_eval_results.json" in said


def test_vbenchs_commands_can_be_pasted(tmp_path, monkeypatch):
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
    told = json.loads(succeed("--json", *words).stdout)["commands"]
    assert any(len(line) > 80 for line in told)
    assert lines[-len(told) :] == told
    assert shlex.split(told[-1])[-1] == "color"


@pytest.mark.parametrize("score", ["NaN", "Infinity", "[NaN, []]"])
def test_a_score_that_is_no_number_is_told(score):
    Path("s.json").write_text(f'{{"color": 0.5, "subject_consistency": {score}}}')
    said = fail("eval", "--vbench-results=s.json")
    assert "s.json: subject_consistency is " in said
    assert "which is not a score" in said
