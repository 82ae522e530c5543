"""Results side by side: which can be compared, and what is shown of them."""

import json
from dataclasses import replace

import pytest

from latte_cli.config import load_config
from latte_cli.evaluation.protocol import protocol_from
from latte_cli.evaluation.results.comparing import Comparison, check_comparable
from latte_cli.evaluation.results.result import ClipSetFacts, Number, Result, read_result
from latte_cli.runtime.errors import DataError

PROTOCOL = protocol_from(load_config("skytimelapse"))
NAMES = ("a.json", "b.json")


def result(metric, real=20, fake=20, content="the same", value=1.0):
    """Of one number, measured on so many clips."""
    number = Number(metric, value, real, fake, (value,), protocol_hash=PROTOCOL.hash)
    clip_sets = (
        ClipSetFacts("real", "folder", 20, content=content),
        ClipSetFacts("fake", "folder", fake),
    )
    return Result(PROTOCOL, *clip_sets, {metric: number})


@pytest.mark.parametrize("metric", ["fvd", "fid", "fd-random", "is"])
def test_biased_metrics_are_compared_at_equal_numbers_of_clips_only(metric):
    """Of two equal Gaussians the distance is 4 % of their variance at 2048 clips, more at fewer."""
    pair = [result(metric, fake=460), result(metric, fake=20)]
    with pytest.raises(DataError, match="they differ in fake clips: 460 and 20") as told:
        check_comparable(NAMES, pair)
    assert "--clips" in told.value.hint
    assert check_comparable(NAMES, [pair[0], pair[0]]) == (metric,)


def test_results_of_different_numbers_of_real_clips_are_not_compared():
    with pytest.raises(DataError, match="they differ in real clips: 20 and 30"):
        check_comparable(NAMES, [result("fvd"), result("fvd", real=30)])


@pytest.mark.parametrize("metric", ["kvd", "kid", "direction", "psnr", "ssim", "lpips"])
def test_unbiased_metrics_are_compared_over_different_numbers_of_clips(metric):
    pair = [result(metric, fake=460), result(metric, fake=20)]
    assert check_comparable(NAMES, pair) == (metric,)


def test_a_comparison_shows_the_numbers_of_clips():
    pair = [result("kvd", fake=460), result("kvd", fake=20, value=2.0)]
    comparison = Comparison(NAMES, pair, ("kvd",))
    (table,), (values,) = comparison.tables(), comparison.as_values()["metrics"]
    assert table.rows == [
        ("kvd", "1", "2 (spread unknown)"),
        ("  real, fake clips", "20, 460", "20, 20"),
    ]
    assert values["real"] == {"a.json": 20, "b.json": 20}
    assert values["fake"] == {"a.json": 460, "b.json": 20}
    alone = [result("direction", real=0)] * 2
    assert Comparison(NAMES, alone, ("direction",)).tables()[0].rows[1][1] == "-, 20"


@pytest.mark.parametrize("metric", ["direction", "is"])
def test_metrics_of_fakes_alone_are_compared_across_real_videos(metric):
    pair = [result(metric, real=0), result(metric, real=0, content="others")]
    assert check_comparable(NAMES, pair) == (metric,)
    both = [replace(each, numbers={**each.numbers, **result("kvd").numbers}) for each in pair]
    with pytest.raises(DataError, match="real videos: real and real"):
        check_comparable(NAMES, both)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("metrics", "kvd", "value"), "1"),
        (("metrics", "kvd", "draws"), [None]),
        (("metrics", "kvd", "real_vs_real"), {"value": []}),
        (("real", "videos"), "20"),
        (("protocol", "frames"), [16]),
        (("seconds_per_clip",), [1]),
        (("notes",), 3),
        (("metrics",), []),
    ],
)
def test_values_of_other_types_in_a_file_are_refused(tmp_path, keys, value):
    path = tmp_path / "result.json"
    values = json.loads(json.dumps(result("kvd").as_values()))
    path.write_text(json.dumps(values))
    assert read_result(path) == result("kvd")
    *sections, last = keys
    inner = values
    for section in sections:
        inner = inner[section]
    inner[last] = value
    path.write_text(json.dumps(values))
    with pytest.raises(DataError) as error:
        read_result(path)
    assert error.value.hint
