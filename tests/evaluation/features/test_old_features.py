"""Features of version 0.1 are found again and not computed anew, where their frames are the same.

`old_files/0.1/features` and `eval-result.json` were written by version 0.1.0 on a CPU: `latte eval`
with the options below on the data set of `old_files/0.1`.
"""

import json
import os
import shutil
import zipfile

import pytest
import torch
from conftest import HERE, succeed
from helpers import random_network_0_1
from helpers.eval_data import QUIET, mp4_folder, npz_file, small

from latte_cli.evaluation.protocol import protocol_from
from latte_cli.evaluation.sources.opening import open_source

OLD = HERE / "old_files" / "0.1"
OPTIONS = ["--preset=shapes", "--checkpoint=embedded", "--real=data/shapes", "--split=all"]
OPTIONS += ["--metrics=fd-random,direction", "--clips=5", "--draws=2"]
OPTIONS += ["-o", "sample.steps=1", "-o", "sample.batch=2"]


@pytest.mark.filterwarnings("ignore:.*published numbers take 2048")
def test_features_of_version_0_1_are_reused(tmp_path, monkeypatch):
    """No real video is left to read: every row must be in the folder. Fakes are compressed anew."""
    shutil.copytree(OLD / "features", tmp_path / "features")
    shutil.copytree(OLD / "data", tmp_path / "data", ignore=shutil.ignore_patterns("*.mp4"))
    before = sorted((tmp_path / "features").glob("*/part-*"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "latte_cli.evaluation.sources.generated.pick_device", lambda: torch.device("cpu")
    )
    monkeypatch.setattr(
        "latte_cli.evaluation.features.extractors.RandomNetwork", random_network_0_1.RandomNetwork
    )
    succeed("eval", *OPTIONS, "--out=result.json")
    found = json.loads((tmp_path / "result.json").read_text())
    known = json.loads((OLD / "eval-result.json").read_text())
    ours, theirs = (each["protocol"] for each in (found, known))
    assert {key for key in ours if ours[key] != theirs[key]} == {
        "fake_compression",
        "hash",
        "networks",
    }
    assert found["real"]["content"] == known["real"]["content"]
    assert found["fake"]["content"] == known["fake"]["content"]
    assert found["metrics"].keys() == known["metrics"].keys()
    real_vs_real = found["metrics"]["fd-random"]["real_vs_real"]["value"]
    assert real_vs_real == pytest.approx(known["metrics"]["fd-random"]["floor"]["value"], rel=1e-5)
    for metric, number in known["metrics"].items():
        assert len(found["metrics"][metric]["draws"]) == len(number["draws"])
        assert found["metrics"][metric]["protocol_hash"] != number["protocol_hash"]
    after = sorted((tmp_path / "features").glob("*/part-*"))
    assert len(after) == len(before) + 2, "of the fakes, by two networks"
    assert set(before) < set(after)


def test_keys_of_folders_and_arrays_are_those_of_version_0_1(tmp_path):
    """Where a file lies, its size and time, and of an array the checksum of its clips."""
    folder, array = mp4_folder(tmp_path / "f", 1), npz_file(tmp_path / "f.npz", 2)
    video = next(folder.iterdir())
    for path in (video, array):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    with zipfile.ZipFile(array) as archive:
        checksum = archive.getinfo("clips.npy").CRC
    size, time_ns = array.stat().st_size, 1_700_000_000_000_000_000
    assert _keys(folder) == [f"{video}-[[{video.stat().st_size}, {time_ns}]]"]
    assert _keys(array) == [f"{array}-{size}-{time_ns}-{checksum:08x}-{n}" for n in (0, 1)]


def _keys(path):
    config = small()
    source = open_source(path, protocol_from(config), config, path.parent / "seen", QUIET)
    return [video.key for video in source.videos]
