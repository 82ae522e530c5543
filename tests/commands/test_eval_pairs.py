"""`latte eval --metrics psnr,ssim,lpips`: which videos are compared, and what is said of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import fail, succeed
from helpers.eval_data import flat, frame_folders, mp4_folder, shapes_clip
from PIL import Image

from latte_cli.evaluation import paired
from latte_cli.evaluation.features import extracting
from latte_cli.video_io import write_video


def pairs(*words, metrics="psnr"):
    words = ("eval", "--real=real", "--fake=fake", f"--metrics={metrics}", *words)
    return json.loads(succeed("--json", *words).stdout)


def refused(*words, metrics="psnr"):
    return fail("eval", "--real=real", "--fake=fake", f"--metrics={metrics}", *words)


def black_frames(folder, grey=0):
    folder.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.full((32, 32, 3), grey, np.uint8)).save(folder / f"{number}.png")


def test_frame_folders_with_dots_in_their_names_are_separate_videos():
    """PSNR of 0 and 16 is 24.05 dB: 10 log10(255^2 / 16^2)."""
    for number in (1, 2, 3):
        black_frames(Path("real", f"clip.{number}"))
        black_frames(Path("fake", f"clip.{number}"), grey=16 if number == 1 else 0)
    shown = pairs()
    assert shown["metrics"]["psnr"]["fake"] == 3
    assert shown["metrics"]["psnr"]["value"] == pytest.approx((24.0484 + 100 + 100) / 3, abs=1e-4)
    shutil.rmtree("fake/clip.2")
    assert "clip.2 is only in real" in refused()


def test_a_file_is_paired_with_the_folder_of_its_frames():
    frame_folders(Path("real"), 2, 4)
    shutil.move("real/00000", "real/clip.1")
    shutil.move("real/00001", "real/clip.mp4")
    for index, name in enumerate(("clip.1.mp4", "clip.mp4.avi")):
        write_video(Path("fake", name), shapes_clip(index, 4), 8)
    assert pairs()["metrics"]["psnr"]["value"] > 25, "each with its own"


@pytest.mark.parametrize("side", ["real", "fake"])
def test_two_videos_of_one_name_are_an_error(side):
    for folder in ("real", "fake"):
        mp4_folder(Path(folder), 2, 4)
    shutil.copy(f"{side}/00000-seed0-label0.mp4", f"{side}/00000-seed0-label0.avi")
    said = refused()
    assert f"{side}: 00000-seed0-label0.avi and 00000-seed0-label0.mp4 have the same name" in said


def test_the_result_says_what_was_compared():
    for folder, seed in (("real", 0), ("fake", 1)):
        mp4_folder(Path(folder), 4, 6, seed)
    for path in Path("fake").iterdir():
        path.rename(path.with_name(path.name.replace("seed1", "seed0")))
    Path("real/torn.mp4").write_text("no video")
    shown = pairs(*flat(), metrics="psnr,ssim")
    assert [shown[side]["videos"] for side in ("real", "fake")] == [4, 4]
    assert (shown["real"]["kind"], shown["real"]["unreadable_count"]) == ("folder of videos", 1)
    protocol = shown["protocol"]
    assert (protocol["name"], protocol["real_interval"]) == ("paired", 1)
    assert (protocol["real_compression"], protocol["fake_compression"]) == ("none", "none")
    words = ("eval", "--real=real", "--fake=fake", "--metrics=psnr", *flat())
    people = " ".join(succeed(*words).stdout.split())
    assert "4 videos" in people
    assert "all frames, as they are" in people
    assert "interval" not in people
    assert "4 frames" not in people


def test_pairs_against_other_real_videos_are_not_compared():
    """Pairs have the same names and lengths whatever they show; their pixels tell them apart."""
    for folder, seed in (("real", 0), ("other", 1), ("fake", 2)):
        frame_folders(Path(folder), 3, 4, seed=seed)
    shutil.copytree("real", "moved")
    pairs("--out=a.json")
    pairs("--out=b.json", "--real=other")
    pairs("--out=c.json", "--real=moved", metrics="psnr,ssim")
    said = fail("eval", "a.json", "b.json")
    assert "a.json and b.json cannot be compared" in said
    assert "they differ in real frames of psnr: real and other" in said
    shown = json.loads(succeed("--json", "eval", "a.json", "c.json").stdout)
    assert [row["metric"] for row in shown["metrics"]] == ["psnr"]
    name, hashed = shown["protocol"].split()
    assert (name, len(hashed)) == ("paired", 12)
    assert f"{name} {hashed}" in " ".join(succeed("eval", "a.json", "c.json").stdout.split())


def test_pairs_measured_with_sampled_clips_are_not_compared_across_real_videos():
    for folder, seed in (("real", 0), ("other", 1), ("fake", 2)):
        frame_folders(Path(folder), 4, 8, seed=seed)
    words = (*flat("data.interval=1", "eval.resamples=0"),)
    pairs(*words, "--out=a.json", metrics="fd-random,psnr")
    pairs(*words, "--out=b.json", "--real=other", metrics="fd-random,psnr")
    pairs(*words, "--out=c.json", metrics="fd-random")
    assert "real frames of psnr: real and other" in fail("eval", "a.json", "b.json")
    assert "fd-random" in succeed("eval", "b.json", "c.json").stdout


def test_pairs_measured_with_sampled_clips_replace_their_own_result():
    """Clips are of videos that are long enough, pairs of all."""
    for folder in ("real", "fake"):
        frame_folders(Path(folder), 4, 8)
        black_frames(Path(folder, "short"))
    words = (*flat("data.interval=1", "eval.resamples=0"), "--out=a.json")
    first, again = (pairs(*words, metrics="fd-random,psnr") for _ in range(2))
    assert again["metrics"] == first["metrics"]
    counts = {name: number["fake"] for name, number in first["metrics"].items()}
    assert counts == {"fd-random": 4, "psnr": 5}


class Measured(Exception):
    """Something was described or compared."""


@pytest.fixture
def nothing_measured(monkeypatch):
    """Whatever is refused must be so before anything is described or compared."""

    def measure(*words):
        raise Measured

    monkeypatch.setattr(extracting.FeatureExtraction, "run", measure)
    monkeypatch.setattr(paired, "_mean", measure)


@pytest.mark.parametrize("metrics", ["psnr", "fd-random,psnr"])
def test_clips_of_a_checkpoint_have_no_partners(clips, nothing_measured, metrics):
    words = ("--preset=shapes", "--checkpoint=embedded", "--clips=2", f"--metrics={metrics}")
    said = fail("eval", "--real=real", *words, "-o", "data.interval=1")
    assert "psnr compares videos in pairs, and generated clips have no partners" in said


def test_a_missing_partner_is_an_error_before_anything_is_measured(clips, nothing_measured):
    said = refused(*flat(), metrics="fd-random,psnr")
    assert "is only in fake" in said or "is only in real" in said


def test_other_real_videos_are_an_error_before_pairs_are_compared(nothing_measured, monkeypatch):
    frame_folders(Path("real"), 3, 4)
    shutil.copytree("real", "fake")
    with monkeypatch.context() as free:
        free.setattr(paired, "_mean", lambda *a: 30.0)
        pairs("--out=a.json")
    for folder in ("real", "fake"):
        shutil.rmtree(f"{folder}/00002")
    assert "a.json holds a result against the videos that real held before they changed" in refused(
        "--out=a.json"
    )
