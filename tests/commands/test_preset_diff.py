"""`latte presets NAME --diff OTHER`."""

import json
from pathlib import Path

import pytest
from conftest import fail, succeed

from latte_cli.config import flatten, load_config
from latte_cli.config.locations import Locations


def difference(*words: str) -> dict[str, object]:
    return json.loads(succeed("--json", "presets", *words).stdout)


def test_the_difference_is_every_value_that_two_presets_do_not_share():
    found = difference("ucf101", "--diff", "skytimelapse")
    assert (found["preset"], found["other"]) == ("ucf101", "skytimelapse")
    ours, theirs = (flatten(load_config(n).model_dump()) for n in ("ucf101", "skytimelapse"))
    keys = [key for key in ours if ours[key] != theirs[key] and "." in key]
    assert list(found["differs"]) == keys
    assert found["differs"]["model.num_classes"] == {"value": 101, "other": None}


def test_paper_is_the_preset_at_the_end_of_the_bases():
    found = difference("studies/interval-8", "--diff", "paper")
    assert found["other"] == "faceforensics"
    assert found["differs"]["data.interval"] == {"value": 8, "other": 3}
    assert found["differs"]["data.num_images"] == {"value": 0, "other": 8}
    said = fail("presets", "shapes", "--diff=paper")
    assert "shapes builds on no other preset" in said
    assert "`latte presets shapes --diff OTHER`" in said


@pytest.mark.parametrize("data_set", ["faceforensics", "skytimelapse", "taichi-hd", "ucf101"])
def test_a_fast_preset_changes_how_a_network_learns_and_nothing_of_the_data(data_set):
    found = difference(f"{data_set}-fast", "--diff", "paper")
    assert found["other"] == data_set
    sections = {key.partition(".")[0] for key in found["differs"]} - {"sample"}
    assert sections == {"diffusion", "model", "train"}
    assert Locations().data(load_config(f"{data_set}-fast")).name == data_set
    assert found["differs"]["diffusion.objective"] == {"value": "flow", "other": "eps"}
    assert found["differs"]["train.optimizer"] == {"value": "muon", "other": "adamw"}


def test_the_table_has_both_presets_as_columns():
    lines = [
        line.split()
        for line in succeed("presets", "studies/variant-2", "--diff=studies/base").stdout.split(
            "\n"
        )
    ]
    assert ["key", "studies/variant-2", "studies/base"] in lines
    assert ["model.variant", "2", "1"] in lines


def test_overrides_and_files_of_one_s_own_are_compared():
    Path("mine.yaml").write_text("base: ucf101\nname: mine\ntrain:\n  lr: 3e-4\n")
    found = difference("mine.yaml", "--diff=paper", "-o", "train.ema=power")
    assert found["other"] == "ucf101"
    assert found["differs"] == {
        "train.lr": {"value": 3e-4, "other": 1e-4},
        "train.ema": {"value": "power", "other": "fixed"},
    }
    assert difference("ucf101", "--diff=ucf101")["differs"] == {}
    assert "have the same values" in succeed("presets", "ucf101", "--diff=ucf101").stderr


def test_a_comparison_takes_two_presets():
    assert "none is named" in fail("presets", "--diff=paper")
    assert "--models is given as well" in fail("presets", "ucf101", "--models", "--diff=paper")
    assert "did you mean `ucf101`" in fail("presets", "shapes", "--diff=ucf")
