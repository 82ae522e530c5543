from pathlib import Path

import pytest
from helpers.small import small_config

from latte_cli.config import load_config
from latte_cli.evaluation.protocol import protocol_from
from latte_cli.evaluation.results.result import ClipSetFacts, Number, RealVsReal, Result
from latte_cli.reporting.charts import charts_for, evaluation_charts
from latte_cli.reporting.curves import Curve
from latte_cli.reporting.run_files import MeasuredResult, RunFiles
from latte_cli.reporting.run_tables import events_of, papers_tables, settings_of


def run_of(name: str, **fvd_by_step: float) -> RunFiles:
    """A run on UCF101 with an FVD by step, keys as `at_100`, each with a spread of 2."""
    config = load_config("ucf101")
    clips = ClipSetFacts("data/ucf101", "prepared data set", 13320)
    results = []
    for key, value in fvd_by_step.items():
        number = Number(
            "fvd",
            value,
            2048,
            2048,
            std=2.0,
            interval=(value - 4, value + 4),
            real_vs_real=RealVsReal(31.0, 2048, True),
            protocol_hash="abc",
        )
        result = Result(protocol_from(config), clips, clips, {"fvd": number})
        results.append(MeasuredResult(Path(f"{key}.json"), result, int(key[3:])))
    return RunFiles(Path(name), config, results=results)


def test_the_newest_numbers_stand_among_the_papers():
    """Section 4.2: Latte+IMG 202.23, VDT 225.7, PVDM 343.6 on UCF101."""
    runs = [run_of("a", at_100=900.0, at_2000=300.0), run_of("b", at_100=210.0)]
    (table,) = papers_tables(runs)
    column = table["header"].index("ucf101")
    names = [row[0] for row in table["rows"]]
    values = [row[column] for row in table["rows"]]
    assert names[:5] == ["Latte+IMG", "b, step 100", "VDT", "W.A.L.T", "a, step 2\u202f000"]
    assert values[:3] == ["202.23", "210 ± 2", "225.7"]
    assert table["own"] == [1, 4]


def test_a_metric_has_a_line_a_run_and_the_papers_values():
    chart, *others = evaluation_charts([run_of("a", at_200=300.0, at_100=900.0)], [{}])
    assert not others
    assert chart["lines"][0]["points"] == [(100, 900, 896, 904), (200, 300, 296, 304)]
    marks = {mark["name"]: mark["value"] for mark in chart["marks"]}
    assert marks == {"real vs real": 31.0, "paper: Latte": 477.97, "paper: Latte+IMG": 202.23}


def test_logged_numbers_stand_in_for_deleted_results():
    logged = {"eval_fvd": Curve([100], [500.0]), "loss": Curve([100], [0.1])}
    (chart,) = evaluation_charts([run_of("a")], [logged])
    assert chart["lines"] == [
        {"run": 0, "protocol": "as logged", "points": [(100, 500.0, None, None)]}
    ]


def test_a_key_that_no_chart_names_gets_its_own():
    charts = charts_for([{"loss": Curve([1], [1.0]), "spin_rate": Curve([1], [2.0])}])
    assert [chart["title"] for chart in charts] == ["Training loss", "spin rate"]


def test_settings_beside_the_presets_and_the_papers():
    found, compared_with = settings_of(load_config("ucf101", ["train.lr=3e-4", "data.size=128"]))
    by_key = {each.key: each for each in found}
    assert "ucf101" in compared_with
    assert (by_key["train.lr"].value, by_key["train.lr"].preset) == ("0.0003", "0.0001")
    assert by_key["train.lr"].paper == "0.0001"
    assert by_key["data.size"].paper == "256"
    assert (by_key["model.size"].preset, by_key["model.size"].paper) == (None, None)
    changed = [each.preset is not None or each.paper is not None for each in found]
    assert changed == sorted(changed, reverse=True)  # what differs comes first


@pytest.mark.parametrize("name", ["shapes", "own"])
def test_a_preset_of_the_users_own_is_compared_with_the_paper_alone(name):
    config = small_config(train__lr=1.0).model_copy(update={"name": name})
    (lr,) = [each for each in settings_of(config)[0] if each.key == "train.lr"]
    assert (lr.preset is None) == (name == "own")
    assert lr.paper == "0.0001"


def test_events_are_in_order_and_the_first_start_is_none():
    run = RunFiles(
        Path("run"),
        bad_steps=[{"step": 9, "why": "the loss is nan"}, {"step": 12, "back_to": 5}],
        starts=[{"step": 0, "time": "then"}, {"step": 10, "time": "later"}],
    )
    assert [(each["step"], each["kind"]) for each in events_of(run)] == [
        (9, "spike"),
        (10, "restart"),
        (12, "return"),
    ]
