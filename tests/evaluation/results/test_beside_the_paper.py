"""The paper's tables, VBench's scores and folder."""

import json

import pytest
from conftest import VBENCH_PROMPTS

from latte_cli.evaluation.results.paper import DATASETS, YOURS, dataset_of, paper_table
from latte_cli.evaluation.results.vbench_scores import paper_scores, read_scores, totals
from latte_cli.runtime.errors import DataError
from latte_cli.text.vbench import (
    SUITE_OF_DIMENSION,
    check_folder,
    commands,
    read_suites,
    video_name,
)


def test_a_value_takes_its_place_in_the_papers_table():
    table = paper_table("fvd", "skytimelapse", 57.0)
    names = [name for name, _ in table.rows]
    assert names[:4] == ["Latte+IMG", "PVDM", YOURS, "Latte"], "42.67, 55.41, 57.0, 59.82"
    assert table.place == 3
    assert names[-2:] == ["VDT", "W.A.L.T"], "without a value for that data set"
    assert dict(table.rows)[YOURS] == (None, 57.0, None, None)
    assert dict(table.rows)["Latte"] == (34.00, 59.82, 477.97, 159.60)
    assert len(DATASETS) == 4


def test_a_higher_inception_score_is_better():
    assert paper_table("is", "ucf101", 80.0).place == 1
    assert paper_table("is", "ucf101", 50.0).place == 2
    assert paper_table("fid", "faceforensics", 3.0).place == 1


def test_there_is_no_table_where_the_paper_has_no_value():
    assert paper_table("fid", "ucf101", 1.0) is None
    assert paper_table("fvd", "shapes", 1.0) is None
    assert paper_table("direction", "ucf101", 1.0) is None


def test_the_data_set_is_the_presets_or_that_of_the_real_videos():
    assert dataset_of("ucf101", "data/faceforensics") == "ucf101"
    assert dataset_of("studies-base", "data/faceforensics") == "faceforensics"
    assert dataset_of("shapes", "videos") == ""


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


def test_the_papers_scores_add_up_to_those_of_vbenchs_board():
    """Latte-1 there: quality 79.72, semantic 67.58, total 77.29 (in percent)."""
    found = totals(paper_scores()["Latte"])
    assert {name: round(100 * value, 2) for name, value in found.items()} == {
        "quality": 79.71,
        "semantic": 67.58,
        "total": 77.29,
    }
    some = dict(list(paper_scores()["Latte"].items())[:7])
    assert set(totals(some)) == {"quality"}


def test_scores_are_read_from_one_file_or_many(tmp_path):
    first = {"subject_consistency": [0.9, [{"video_path": "a.mp4", "video_results": 0.9}]]}
    second = {"color": 0.8, "something_else": [1.0, []]}
    for number, content in enumerate((first, second)):
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
    scores = read_scores([tmp_path / "0.json", tmp_path / "1.json"])
    assert scores == {"subject_consistency": 0.9, "color": 0.8}
    (tmp_path / "2.json").write_text(json.dumps({"color": 0.7}))
    with pytest.raises(DataError, match=r"color is 0.7000, another file says 0.8000"):
        read_scores([tmp_path / "1.json", tmp_path / "2.json"])


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"color": "x"}', '{"color": []}'])
def test_files_that_are_no_scores_are_told(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=r"a\.json"):
        read_scores([tmp_path / "a.json"])


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


def test_a_whole_suite_is_whole(tmp_path):
    suite_folder(tmp_path, "subject_consistency")
    checks = {check.suite: check for check in check_folder(tmp_path, SUITES)}
    assert checks["subject_consistency"].complete == 2
    assert not checks["subject_consistency"].missing
    assert not checks["subject_consistency"].wrong
    assert not checks["color"].is_there
    lines = commands(list(checks.values()))
    asked = [line.rsplit(" ", 1)[1] for line in lines if line.startswith("vbench evaluate")]
    assert asked == ["subject_consistency", "motion_smoothness", "dynamic_degree"]


def test_flickering_takes_25_videos_of_a_prompt_and_a_filter(tmp_path):
    suite_folder(tmp_path, "temporal_flickering")
    checks = check_folder(tmp_path, SUITES)
    (check,) = [check for check in checks if check.suite == "temporal_flickering"]
    assert (check.complete, len(check.missing)) == (0, 2 * 20)
    assert any("static_filter.py" in line for line in commands(checks))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a person swimming in ocean-5.mp4", "number 5, they go from 0 to 4"),
        ("A person swimming in ocean-0.mp4", "did you mean `a person swimming in ocean`"),
        ("a person swimming in the ocean-0.mp4", "did you mean `a person swimming in ocean`"),
        ("a person swimming in ocean.mp4", "no number at the end"),
        ("a person swimming in ocean-0.gif", "all must be of one type"),
        ("notes.txt", "no video"),
        ("something else entirely-0.mp4", "no such prompt here"),
    ],
)
def test_names_that_vbench_would_not_find_are_told(tmp_path, name, why):
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


def test_places_without_videos_are_told(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        check_folder(tmp_path / "none", SUITES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no videos"):
        check_folder(tmp_path / "empty", SUITES)
