"""The variables of a launcher: set, empty, not numbers, and contradicting each other."""

import os

import pytest
from conftest import fail, succeed

from latte_cli.runtime import distributed
from latte_cli.runtime.distributed import check_launcher, process_group
from latte_cli.runtime.errors import ConfigError

COUNTS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in (*COUNTS, "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # so that whatever happens to it is undone


def test_empty_variables_count_as_not_set_and_are_removed():
    check_launcher()
    assert not set(COUNTS) & os.environ.keys()
    assert distributed.is_main()
    assert (distributed.world_size(), distributed.local_world_size()) == (1, 1)


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_a_command_runs_although_variables_are_empty(blank, monkeypatch):
    for name in COUNTS:
        monkeypatch.setenv(name, blank)
    assert "shapes" in succeed("presets").stdout


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "abc"}, "RANK is `abc`, not a number"),
        ({"RANK": "-1"}, "RANK is `-1`, not a number"),
        ({"RANK": "1.0", "WORLD_SIZE": "2"}, "RANK is `1.0`, not a number"),
        ({"RANK": "²"}, "RANK is `²`, not a number"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is `0`, not a number from 1 on"),
        ({"WORLD_SIZE": "four"}, "WORLD_SIZE is `four`"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK is not set or empty"),
        ({"RANK": "1"}, "RANK is 1, but WORLD_SIZE is not set or empty"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2, but WORLD_SIZE is 2"),
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "x"}, "LOCAL_RANK is `x`"),
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "5"}, "LOCAL_RANK is 5, but WORLD_SIZE is"),
        ({"RANK": "0", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "2(x3)"}, "is `2(x3)`, not a number"),
    ],
)
@pytest.mark.parametrize("command", ["presets", "prepare"])
def test_variables_that_cannot_be_are_an_error_of_every_command(
    command, variables, message, monkeypatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    words = [command] if command == "presets" else [command, "folder", "--source=."]
    said = fail(*words)
    assert message in said
    assert "torchrun" in said


def test_a_local_rank_alone_selects_a_device(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    check_launcher()
    assert distributed.local_rank() == 3


@pytest.mark.parametrize(
    ("address", "port", "message"),
    [
        ("", "29500", "MASTER_ADDR is not set or empty"),
        ("localhost", "", "MASTER_PORT is not set or empty"),
        ("localhost", "http", "MASTER_PORT is `http`, not a port"),
        ("localhost", "70000", "MASTER_PORT is `70000`, not a port"),
    ],
)
def test_processes_without_a_meeting_point_are_an_error(address, port, message, monkeypatch):
    variables = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": address, "MASTER_PORT": port}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message), process_group("cpu"):
        pass
