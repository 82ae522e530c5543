"""`latte eval`: where results lie, and that none takes the place of another's."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import fail, succeed
from helpers.eval_data import flat, frame_folders, npz_file

from latte_cli.evaluation.features import extracting
from latte_cli.runtime.weight_files import published


def evaluate(*words):
    return json.loads(succeed("--json", "eval", *words).stdout)


def test_features_are_not_reused_for_another_folder():
    """Archives leave the same names, sizes and times to the second."""
    npz_file(Path("real.npz"), 6, 8)
    shape = (6, 4, 32, 32, 3)
    kinds = {"noise": np.random.default_rng(0).integers(0, 255, shape), "grey": np.full(shape, 99)}
    for name, clips in kinds.items():
        Path(name).mkdir()
        np.savez(Path(name, "clips.npz"), clips=clips.astype(np.uint8))
        os.utime(Path(name, "clips.npz"), (1_700_000_000, 1_700_000_000))
    words = ("--real=real.npz", *flat("eval.resamples=0"))
    noise, grey, fresh = (
        evaluate(*words, f"--fake={fake}", f"--features-root={root}")["metrics"]["fd-random"]
        for fake, root in (("noise", "features"), ("grey", "features"), ("grey", "fresh"))
    )
    assert grey == fresh
    assert grey["value"] != noise["value"]


def test_every_fake_has_a_result_file_of_its_own(world, clips):
    shutil.copytree(world.root / "runs" / "shapes", "runs/a")
    shutil.copytree("runs/a", "runs/b")
    words = ("--real=real", "--clips=2", "--metrics=fd-random", "-o", "eval.resamples=0")
    step = "checkpoints/step-00000003"
    drawn = [
        evaluate(*words, f"--checkpoint=runs/{run}/{step}", "-o", f"sample.{setting}")["out"]
        for run, setting in (("a", "steps=1"), ("b", "steps=1"), ("a", "steps=2"), ("a", "steps=1"))
    ]
    assert len(set(drawn)) == 3
    assert drawn[3] == drawn[0], "the same once more"
    for out in drawn:
        assert Path(out).name.startswith("step-00000003-against-real-")
    for place in ("x/fake", "y/fake"):
        shutil.copytree("fake", place)
    here = [
        evaluate(*flat(), "--real=real", f"--fake={fake}", f"--metrics={metrics}")["out"]
        for fake, metrics in (
            ("x/fake", "fd-random"),
            ("y/fake", "fd-random"),
            ("./x/../x/fake", "fd-random"),
            ("x/fake", "direction,fd-random"),
            ("x/fake", "fd-random,direction"),
        )
    ]
    assert len(set(here)) == 3
    assert (here[2], here[4]) == (here[0], here[3])


def test_a_result_with_more_metrics_is_not_replaced(clips):
    for name in ("real", "fake"):
        shutil.rmtree(name)
        frame_folders(Path(name), 3, 4)
    words = ("--real=real", "--fake=fake", "--out=a.json")
    evaluate(*words, "--metrics=psnr")
    said = fail("eval", *words, "--metrics=ssim")
    assert "a.json also holds psnr, which --metrics does not name now" in said
    assert "--metrics ssim,psnr" in said
    assert set(evaluate(*words, "--metrics=ssim,psnr")["metrics"]) == {"ssim", "psnr"}
    outs = {
        evaluate(*words[:2], f"--metrics={metric}")["out"] for metric in ("psnr", "ssim", "psnr")
    }
    assert len(outs) == 2


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("real", "real: a folder, not a result file"),
        ("/proc/results/a.json", "/proc/results/a.json: cannot be written"),
        ("file/a.json", "file/a.json: cannot be written"),
    ],
)
def test_an_unwritable_result_is_an_error_before_anything_is_measured(
    clips, monkeypatch, out, expected
):
    monkeypatch.setattr(extracting.FeatureExtraction, "run", lambda *words: 1 / 0)
    Path("file").touch()
    before = set(Path().rglob("*"))
    assert expected in fail("eval", "--real=real", "--fake=fake", *flat(), f"--out={out}")
    assert set(Path().rglob("*")) == before


@pytest.mark.parametrize("mode", ["--show-protocol", "--self-test"])
def test_nothing_is_downloaded_when_nothing_is_measured(monkeypatch, mode):
    from latte_cli.commands import self_test

    asked = []
    monkeypatch.setattr(published, "urlopen", lambda url, **k: asked.append(url))
    monkeypatch.setattr(self_test, "arithmetic", lambda: [])
    monkeypatch.setattr(self_test, "networks", lambda: [])
    monkeypatch.setattr(self_test, "against_itself", lambda: [])
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    shown = " ".join(succeed("eval", mode).stdout.split())
    assert "model.ckpt" in shown or "i3d_rgb_scratch" in shown
    assert "nothing is downloaded unasked" in shown
    assert asked == []
    assert not Path("cache").exists()
