"""VBench's prompts, and the check of a folder for it."""

import pytest
from conftest import VBENCH_PROMPTS

from latte_cli.runtime.errors import DataError
from latte_cli.text.vbench import (
    SUITE_OF_DIMENSION,
    check_folder,
    read_suites,
    vbench_commands,
    video_name,
)


@pytest.mark.skipif(not VBENCH_PROMPTS.is_file(), reason="needs VBench's list of prompts")
def test_vbench_has_sixteen_dimensions_on_946_prompts():
    assert len(SUITE_OF_DIMENSION) == 16
    suites = read_suites(VBENCH_PROMPTS)
    counts = {suite: len(prompts) for suite, prompts in suites.items()}
    assert counts["subject_consistency"] == 72
    assert counts["temporal_flickering"] == 75
    assert sum(counts.values()) == 946
    unique = {prompt for prompts in suites.values() for prompt in prompts}
    assert len(unique) == 944, "two prompts are in two suites"
    assert max(map(len, unique)) == 210
    assert not any("/" in prompt for prompt in unique)


SUITES = {
    "subject_consistency": ("a person swimming in ocean", "a person giving a presentation"),
    "temporal_flickering": ("In a still frame, a stop sign", "a toilet, frozen in time"),
    "color": ("a red bicycle", "a green bicycle", "a blue bicycle"),
}


def suite_folder(root, suite, count=5):
    folder = root / suite
    folder.mkdir(parents=True)
    for prompt in SUITES[suite]:
        for index in range(count):
            (folder / video_name(prompt, index)).touch()
    return folder


def test_a_complete_suite_has_nothing_missing(tmp_path):
    suite_folder(tmp_path, "subject_consistency")
    checks = {check.suite: check for check in check_folder(tmp_path, SUITES)}
    assert checks["subject_consistency"].complete == 2
    assert not checks["subject_consistency"].missing
    assert not checks["subject_consistency"].wrong
    assert not checks["color"].present
    lines = vbench_commands(list(checks.values()))
    dimensions = [line.rsplit(" ", 1)[1] for line in lines if line.startswith("vbench evaluate")]
    assert dimensions == ["subject_consistency", "motion_smoothness", "dynamic_degree"]


def test_flickering_takes_25_videos_of_a_prompt_and_a_filter(tmp_path):
    suite_folder(tmp_path, "temporal_flickering")
    checks = check_folder(tmp_path, SUITES)
    (check,) = [check for check in checks if check.suite == "temporal_flickering"]
    assert (check.complete, len(check.missing)) == (0, 2 * 20)
    assert any("static_filter.py" in line for line in vbench_commands(checks))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a person swimming in ocean-5.mp4", "number 5, numbers go from 0 to 4"),
        ("A person swimming in ocean-0.mp4", "did you mean `a person swimming in ocean`"),
        ("a person swimming in the ocean-0.mp4", "did you mean `a person swimming in ocean`"),
        ("a person swimming in ocean.mp4", "no number at the end"),
        ("a person swimming in ocean-0.gif", "all must be of one type"),
        ("notes.txt", "not a video"),
        ("something else entirely-0.mp4", "no such prompt here"),
    ],
)
def test_names_that_vbench_would_not_find_get_a_reason(tmp_path, name, why):
    folder = suite_folder(tmp_path, "subject_consistency")
    (folder / name).touch()
    (check,) = [check for check in check_folder(tmp_path, SUITES) if check.wrong]
    assert why in check.wrong[name]
    flat = {
        name: why for check in check_folder(folder, SUITES) for name, why in check.wrong.items()
    }
    assert name in flat


def test_a_flat_folder_holds_several_suites(tmp_path):
    for suite in ("subject_consistency", "color"):
        for path in suite_folder(tmp_path / "apart", suite).iterdir():
            path.rename(tmp_path / path.name)
    (tmp_path / "x-0.mp4").touch()
    for path in sorted((tmp_path / "apart").iterdir()):
        path.rmdir()
    (tmp_path / "apart").rmdir()
    checks = {check.suite: check for check in check_folder(tmp_path, SUITES)}
    assert [name for check in checks.values() for name in check.wrong] == ["x-0.mp4"]
    assert (checks["subject_consistency"].complete, checks["color"].complete) == (2, 3)


def test_folders_without_videos_are_errors(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        check_folder(tmp_path / "none", SUITES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no videos"):
        check_folder(tmp_path / "empty", SUITES)
