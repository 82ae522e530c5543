"""A schedule that was calibrated at the trained size fits that size, told or not."""

import json

import numpy as np
import pytest
from conftest import succeed
from helpers.pipelines import write_pipeline

SMALL = ("--frames", 4, "--steps", 8, "--precision", "float32", "--speed", "2x")


@pytest.mark.parametrize("decoder", ["frame", "temporal"])
def test_the_trained_size_may_be_told(tmp_path, monkeypatch, decoder):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    folder = write_pipeline(tmp_path / "pipeline")
    assert json.loads(succeed("--json", "calibrate", "--model", folder, *SMALL).stdout)["speeds"]
    words = ("t2v", "two dogs run", *SMALL, "--model", folder, "--vae-decoder", decoder)
    same = succeed(*words, "--size", 64, "-o", "a.npz")
    assert np.load("a.npz")["clips"].shape[2:4] == (64, 64)
    assert "warning" not in same.stderr
    other = " ".join(succeed(*words, "--size", 32, "-o", "b.npz").stderr.split())
    assert "size as trained, not 32x32" in other
