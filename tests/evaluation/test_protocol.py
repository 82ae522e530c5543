"""Protocols and the choice of clips, against the rules of the published scripts."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from latte_cli.config import load_config
from latte_cli.evaluation.plan import hash_number, last_offset, video_order, window
from latte_cli.evaluation.protocol import differences, protocol_from, protocol_from_values
from latte_cli.runtime.errors import ConfigError, DataError

GOLDENS = json.loads((Path(__file__).parent / "goldens" / "clip_selection.json").read_text())
WINDOWS = {name: rule for name, rule in GOLDENS.items() if name.startswith("F")}


def protocol(*overrides, preset="skytimelapse"):
    return protocol_from(load_config(preset, overrides))


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_follow_the_published_rule(name):
    length, frames, interval = (int(part[1:]) for part in name.split("_"))
    rule = WINDOWS[name]
    if rule is None:
        assert last_offset(length, frames, interval) is None
        assert window(length, frames, interval) is None
        return
    assert last_offset(length, frames, interval) == rule["offset_max"]
    assert list(window(length, frames, interval)) == rule["first"]
    drawn = [window(length, frames, interval, "random", t) for t in range(rule["offset_max"] + 1)]
    assert list(drawn[-1]) == rule["last"]
    assert {w[0] for w in drawn} == set(range(rule["offset_max"] + 1)), "every offset, evenly"


def test_draws_are_the_same_on_every_machine_and_differ_by_seed_and_draw():
    """The program sha256sum gives these digits for 0, real and a with zero bytes between them."""
    assert f"{hash_number(0, 'real', 'a'):064x}"[:16] == "ddb65b37ffc28149"
    names = [f"video {n}" for n in range(50)]
    first = video_order(names, "random", 0, 0, "real")
    assert sorted(first) == list(range(50))
    assert first == video_order(names, "random", 0, 0, "real")
    assert first != video_order(names, "random", 0, 1, "real")
    assert first != video_order(names, "random", 1, 0, "real")
    fewer = video_order(names[:25], "random", 0, 0, "real")
    assert fewer == [index for index in first if index < 25], "others do not change the order"
    assert video_order(names[::-1], "first by name", 0) == sorted(
        range(50), key=lambda index: names[::-1][index]
    )


def test_latte_differs_from_stylegan_v_in_what_the_published_script_changes():
    latte, stylegan = protocol(), protocol("eval.protocol=stylegan-v")
    found = {f.name for f in fields(latte) if getattr(latte, f.name) != getattr(stylegan, f.name)}
    assert found == {
        "name",
        "draw",
        "real_interval",
        "crop",
        "real_compression",
        "fake_compression",
    }
    assert (latte.real_interval, stylegan.real_interval) == (3, 1)
    assert (latte.fake_interval, stylegan.fake_interval) == (1, 1)
    assert (latte.frames, latte.size, latte.clips, latte.ddof) == (16, 256, 2048, 0)


def test_the_real_interval_is_the_training_interval_by_default():
    assert protocol("data.interval=4").real_interval == 4
    assert protocol("data.interval=4", "eval.interval=2").real_interval == 2
    assert protocol(preset="taichi-hd").real_interval == 6
    assert protocol(preset="ucf101").split == "all", "the split trained on"


def test_every_field_is_part_of_the_hash_and_of_the_differences():
    ours = protocol().with_networks({"i3d": "ab" * 32})
    for field in fields(ours):
        value = getattr(ours, field.name)
        other = {"i3d": "cd" * 32} if field.name == "networks" else f"{value}x"
        theirs = replace(ours, **{field.name: other})
        assert theirs.hash != ours.hash
        (told,) = differences(ours, theirs)
        assert " and " in told
    assert differences(ours, ours) == []
    shown = dict(ours.rows())
    assert shown["hash"] == ours.hash
    assert shown["weights of i3d"] == "ab" * 32
    assert len(shown) == len(fields(ours)) + 1


def test_a_protocol_goes_through_a_file_unchanged():
    ours = protocol().with_networks({"i3d": "ab" * 32})
    values = json.loads(json.dumps(ours.as_values()))
    assert values["hash"] == ours.hash
    assert protocol_from_values(values, "x") == ours
    assert protocol_from_values(values, "x").hash == ours.hash
    with pytest.raises(DataError, match="another version"):
        protocol_from_values({**values, "mirror": True}, "x")


def test_deviations_from_the_published_protocol_are_listed():
    assert protocol().deviations() == []
    assert protocol("data.frames=8", "eval.clips=64").deviations() == [
        "frames of a clip: 8, published: 16",
        "clips of each set, at most: 64, published: 2048",
    ]


@pytest.mark.parametrize(
    ("dataset", "interval", "split"),
    [
        ("faceforensics", 3, "train"),
        ("skytimelapse", 3, "train"),
        ("ucf101", 3, "all"),
        ("taichi-hd", 6, "train"),
    ],
)
def test_another_interval_or_split_than_published_is_a_deviation(dataset, interval, split):
    """Real clips at 3, Taichi-HD's at 6; of the training split, UCF101's of both (section 4.1)."""
    assert protocol(preset=dataset).deviations(dataset) == []
    other = protocol("eval.interval=1", "data.split=test", preset=dataset)
    assert other.deviations(dataset) == [
        f"frame interval of real clips: 1, published: {interval}",
        f"split of the real videos: test, published: {split}",
    ]
    assert other.deviations() == [
        "frame interval of real clips: 1, published: 3 or 6",
        "split of the real videos: test, published: train or all",
    ], "of which data set is not known"
    stylegan = ("eval.protocol=stylegan-v", "eval.interval=8")
    assert protocol(*stylegan, preset=dataset).deviations(dataset) == [
        "frame interval of real clips: 8, published: 1"
    ]


def test_the_split_of_another_data_set_is_a_deviation():
    assert protocol("data.split=all").deviations("faceforensics") == [
        "split of the real videos: all, published: train"
    ]
    assert protocol("data.interval=6").deviations("taichi-hd") == []
    assert len(protocol("data.interval=6").deviations("skytimelapse")) == 1


@pytest.mark.parametrize(
    ("preset", "name", "expected"),
    [
        ("skytimelapse", "latte", "785bf6e1e74b"),
        ("skytimelapse", "stylegan-v", "d771182f8af5"),
        ("ucf101", "latte", "8854300aec4f"),
        ("taichi-hd", "latte", "d51c441a2153"),
    ],
)
def test_hashes_in_result_files_stay_what_they_are(preset, name, expected):
    """Results that people have stay comparable with new ones, unless frames have changed."""
    assert protocol(f"eval.protocol={name}", preset=preset).hash == expected


def test_unknown_metrics_are_an_error():
    config = load_config("skytimelapse", ["eval.metrics=fvd, fid,fvd"])
    assert config.eval.metrics == ("fvd", "fid")
    with pytest.raises(ConfigError, match="no metric named `fdv`"):
        load_config("skytimelapse", ["eval.metrics=fdv"])
