"""Files of version 0.1 go on working: a preset, latents and a run, kept in `old_files/0.1`.

They were written by version 0.1.0: `latte prepare shapes --count 8 --size 32`, then
`encode-latents` and four steps of `train` under `mine.yaml`.
"""

import json
import shutil
from pathlib import Path

import pytest
from conftest import HERE, succeed

OPTIONS = ("--preset=mine.yaml", "-o", "data.root=data/shapes")
LATENTS = "latents/shapes-32-embedded"
TRAIN = (*OPTIONS, "--run=old", "-o", f"data.latents={LATENTS}")
METRICS = Path("runs/old/metrics.jsonl")
RENAMED = "`train.snr_ceiling` is now called `train.min_snr_gamma`"


@pytest.fixture(autouse=True)
def old(tmp_path, monkeypatch):
    shutil.copytree(HERE / "old_files" / "0.1", tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")


def test_a_preset_with_an_old_key_is_read_and_the_key_is_named():
    shown = succeed("presets", "mine.yaml", "--json")
    value = json.loads(shown.stdout)["train.min_snr_gamma"]
    assert (value["value"], value["from"]) == (2.0, "preset")
    assert RENAMED in shown.stderr


def test_a_preset_without_old_keys_says_nothing():
    assert RENAMED not in succeed("presets", "shapes").stderr


def test_old_latents_are_complete_and_not_encoded_again():
    result = succeed("encode-latents", *OPTIONS, f"--out={LATENTS}", "--json")
    values = json.loads(result.stdout)
    assert (values["videos"], values["encoded_now"]) == (8, 0)
    succeed("encode-latents", *OPTIONS, f"--out={LATENTS}", "--verify")


def test_an_old_run_resumes():
    before = METRICS.read_text()
    succeed("train", *TRAIN, "--steps=6")
    after = METRICS.read_text()
    assert after.startswith(before)
    added = [json.loads(line) for line in after.removeprefix(before).splitlines()]
    assert [row["step"] for row in added] == [5, 6]


def test_an_old_checkpoint_is_sampled_from():
    succeed("sample", "--checkpoint=runs/old/checkpoints/step-00000004", "-n", 2, "--out=clips")
    assert len(Path("clips/samples.jsonl").read_text().splitlines()) == 2
