"""`latte doctor`: every line is ok, a warning or an error, and says what to do."""

import json
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from conftest import invoke, succeed

from latte_cli.config import preset_names
from latte_cli.config.locations import asset
from latte_cli.diagnosis import machine, videos, weights
from latte_cli.diagnosis.finding import Finding, run_check
from latte_cli.runtime.files import sha256_of


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def findings(*words):
    shown = json.loads(succeed("--json", "doctor", *words).stdout)
    return {each["what"]: each for each in shown["findings"]}


def test_it_looks_at_everything_and_says_what_to_do():
    result = invoke("--json", "doctor")
    assert result.exit_code == 0, result.stdout
    shown = json.loads(result.stdout)
    found = shown["findings"]
    assert {each["part"] for each in found} == {"machine", "videos", "weights", "presets"}
    assert {each["what"] for each in found} >= {
        *("Python", "torch", "device", "bf16", "matrix units", "memory", "disk"),
        *("ffmpeg", "PyAV", "decord", "archives", "autoencoder", "text to video", "cache"),
        *("fvd, kvd", "fid, kid", "is", "lpips"),
        *(name for name in preset_names() if "/" not in name),
    }
    assert all(bool(each["mend"]) == (each["status"] != "ok") for each in found)
    counted = [sum(each["status"] == kind for each in found) for kind in ("error", "warning")]
    assert [shown["errors"], shown["warnings"]] == counted
    assert not list(Path().iterdir()), "nothing is left behind"


def test_the_table_has_the_mend_below_what_was_found():
    result = succeed("doctor")
    lines = result.stdout.splitlines()
    row = next(n for n, line in enumerate(lines) if line.startswith("warning  folder "))
    assert "lacks prepared videos, latents" in lines[row]
    assert lines[row + 1].strip() == "→ latte prepare folder --source VIDEOS --out data/folder"
    assert "0 errors" in result.stderr


def test_presets_say_what_is_still_missing(world):
    Path("mine.yaml").write_text("base: shapes\ndata: {size: 32, names: shapes}\n")
    Path("wrong.yaml").write_text("base: shapes\ntrain: {lrr: 1}\n")
    Path("other.yaml").write_text("services: {}\n")
    result = invoke("--json", "doctor", *world.roots)
    assert result.exit_code == 1, "wrong.yaml is an error"
    found = {each["what"]: each for each in json.loads(result.stdout)["findings"]}
    assert (found["mine"]["status"], found["mine"]["found"]) == ("ok", "can be trained")
    assert "wrong.yaml, line 2: unknown key `train.lrr`" in found["wrong"]["found"]
    assert "other" not in found
    assert "can be sampled from" in found["shapes"]["found"]
    assert found["shapes"]["found"].endswith("lacks latents")
    assert found["shapes"]["mend"] == "latte encode-latents -p shapes"
    assert "autoencoder stabilityai/sd-vae-ft-ema" in found["ucf101"]["found"]


def test_a_broken_ffmpeg_is_an_error_and_the_other_checks_go_on(monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", shutil.which("false") or sys.executable)
    result = invoke("--json", "doctor")
    found = {each["what"]: each for each in json.loads(result.stdout)["findings"]}
    assert result.exit_code == 1
    assert found["videos"]["status"] == "error"
    assert found["shapes"]["status"] == "warning"


def test_a_check_that_fails_is_a_finding_without_the_name_of_the_home():
    def fails():
        raise OSError(f"{Path.home()}/x is gone")

    (finding,) = run_check("machine", "x", fails)
    assert finding == Finding("machine", "x", "error", "OSError: ~/x is gone", finding.mend)
    assert finding.mend


def test_a_decoder_that_returns_other_frames_is_an_error():
    frames = np.zeros((3, 4, 4, 3), np.uint8)
    assert videos._decoded("PyAV", "1", frames, lambda: frames + 5).status == "ok"
    assert videos._decoded("PyAV", "1", frames, lambda: frames[1:]).status == "error"
    assert videos._decoded("PyAV", "1", frames, lambda: frames + 90).status == "error"
    broken = videos._decoded("decord", "1", frames, lambda: 1 / 0)
    assert (broken.status, "decord" in broken.mend) == ("error", True)


@pytest.mark.parametrize(("free", "status"), [(2e8, "error"), (5e9, "warning"), (5e10, "ok")])
def test_little_room_on_the_disk_is_reported(monkeypatch, free, status):
    usage = namedtuple("Usage", "free")(free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    found = list(machine.check_disks({"runs": Path("runs/deep")}))
    assert found[0].status == status
    assert bool(found[0].mend) == (status != "ok")


def test_libraries_of_other_versions_than_declared_are_errors(monkeypatch):
    declared = ["numpy>=99", "einops", "nothing-of-this-name>=1", "pytest>=99; extra == 'test'"]
    monkeypatch.setattr(machine.metadata, "requires", lambda _: declared)
    wrong = [finding for finding in machine.check_python() if finding.status == "error"]
    assert [finding.found.partition(",")[0].partition(" is ")[0] for finding in wrong] == [
        "numpy",
        "nothing-of-this-name",
    ]
    assert '"numpy>=99"' in wrong[0].mend


def test_weights_that_ship_are_shown_with_their_checksum():
    found = {each.what: each for each in weights.check_shipped()}
    checksum = sha256_of(asset("shapes-fast") / "ema.safetensors")
    assert checksum[:16] in found["shipped shapes-fast"].found
