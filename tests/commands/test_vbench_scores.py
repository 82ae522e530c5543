"""VBench's scores, read and summed up."""

import json

import pytest

from latte_cli.commands import vbench
from latte_cli.runtime.errors import DataError


def test_the_papers_scores_give_the_totals_of_vbenchs_leaderboard():
    """Latte-1 on the leaderboard: quality 79.72, semantic 67.58, total 77.29 (in percent)."""
    found = vbench.totals(vbench.paper_scores()["Latte"])
    assert {name: round(100 * value, 2) for name, value in found.items()} == {
        "quality": 79.71,
        "semantic": 67.58,
        "total": 77.29,
    }
    some = dict(list(vbench.paper_scores()["Latte"].items())[:7])
    assert set(vbench.totals(some)) == {"quality"}


def test_scores_are_read_from_one_file_or_many(tmp_path):
    first = {"subject_consistency": [0.9, [{"video_path": "a.mp4", "video_results": 0.9}]]}
    second = {"color": 0.8, "something_else": [1.0, []]}
    for number, content in enumerate((first, second)):
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
    scores = vbench.read([tmp_path / "0.json", tmp_path / "1.json"]).scores
    assert scores == {"subject_consistency": 0.9, "color": 0.8}
    (tmp_path / "2.json").write_text(json.dumps({"color": 0.7}))
    with pytest.raises(DataError, match=r"color is 0.7000, another file says 0.8000"):
        vbench.read([tmp_path / "1.json", tmp_path / "2.json"])


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"color": "x"}', '{"color": []}'])
def test_files_without_scores_are_errors(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=r"a\.json"):
        vbench.read([tmp_path / "a.json"])
