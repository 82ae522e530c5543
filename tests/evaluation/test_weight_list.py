"""`latte eval --list-weights`: each file that metrics need, and whether it is here."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import fail, succeed

from latte_cli.evaluation import weight_list
from latte_cli.evaluation.metric_table import METRICS
from latte_cli.runtime.files import sha256_of
from latte_cli.runtime.weight_files.metric_networks import (
    C3D,
    I3D_CHECKPOINT,
    I3D_STATE,
    INCEPTION,
    INSTEAD,
    NEEDED,
    missing_files,
)
from latte_cli.runtime.weight_files.published import WeightFolders, git_blob


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "given").mkdir()
    return WeightFolders(tmp_path / "given", tmp_path / "cache", download=False)


def states(folders, *metrics):
    return {f.file: f.state for f in weight_list.list_metric_weights(folders, metrics).files}


def test_every_file_of_every_metric_with_weights_is_listed(folders):
    listed = weight_list.list_metric_weights(folders)
    needed = {file.name for files in NEEDED.values() for file in files}
    assert {f.file for f in listed.files if not f.instead} == needed
    assert {f.file for f in listed.files if f.state == "missing"} == needed
    of_networks = {m for f in listed.files for m in f.metrics}
    assert {m for m in METRICS if (METRICS[m].network or m) in NEEDED} == of_networks
    assert all(f.source.startswith("https://") for f in listed.files)
    assert set(states(folders, "fid", "kid")) == {INCEPTION.name}
    assert not states(folders, "direction", "psnr")


def test_files_that_are_here_are_checked(folders):
    wrong, unknown = folders.given / INCEPTION.names[1], folders.given / C3D.name
    wrong.write_bytes(b"other")
    unknown.write_bytes(b"some weights")
    listed = {f.file: f for f in weight_list.list_metric_weights(folders).files}
    assert listed[INCEPTION.name].state == "wrong"
    assert "not the published" in listed[INCEPTION.name].problem
    found = listed[C3D.name]
    assert (found.state, found.path, found.size) == ("here", unknown, 12)
    assert found.sha256 == sha256_of(unknown)
    assert found.published == ""


def test_a_file_that_replaces_others_makes_them_unneeded(folders, monkeypatch):
    content = b"converted"
    state = replace(I3D_STATE, git_blob=git_blob(content))
    monkeypatch.setitem(INSTEAD, "i3d", (state,))
    assert states(folders, "fvd") == {I3D_CHECKPOINT.name: "missing", state.name: "not needed"}
    (folders.given / state.name).write_bytes(content)
    assert states(folders, "fvd") == {I3D_CHECKPOINT.name: "not needed", state.name: "here"}
    assert not missing_files("i3d", folders)


def test_the_command_lists_names_sources_and_hashes_unfolded(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lines = succeed("eval", "--list-weights").stdout.splitlines()
    for files in NEEDED.values():
        for file in files:
            assert f"  from  {file.url}" in lines
            assert any(file.name in line and "missing" in line for line in lines)
    assert f"  hash  sha256 {INCEPTION.sha256}" in lines
    assert any(line.endswith(str(tmp_path / "latte" / "weights")) for line in lines)


def test_the_command_takes_metrics_a_folder_and_json():
    Path("mine").mkdir()
    words = ("--json", "eval", "--list-weights", "--metrics=lpips", "--weights=mine")
    shown = json.loads(succeed(*words).stdout)
    assert {m for each in shown["files"] for m in each["metrics"]} == {"lpips"}
    assert shown["looked_for_in"][0] == "mine"
    assert "at once" in fail("eval", "--list-weights", "--self-test")
    assert "has no effect on --list-weights" in fail("eval", "--list-weights", "--out=x.json")
    assert "no such folder of weights" in fail("eval", "--list-weights", "--weights=none")
