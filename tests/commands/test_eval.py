"""`latte eval` through the command line."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import fail, succeed
from helpers.eval_data import flat, frame_folders, npz_file, prepared, shapes_clip

import latte_cli.metrics
from latte_cli.video_io import write_video

WORDS = ("eval", "--real=real", "--fake=fake", *flat())


def evaluate(*words):
    return json.loads(succeed("--json", *WORDS, *words).stdout)


def test_a_number_comes_with_its_protocol_spread_and_real_vs_real(clips, tmp_path):
    shown = evaluate("--metrics=fd-random,direction", "--draws=3", "--out=r.json")
    number = shown["metrics"]["fd-random"]
    assert number["value"] > 0
    assert len(number["draws"]) == 3
    assert number["std"] > 0
    assert number["interval"][0] < number["draws"][0] < number["interval"][1]
    assert (number["real"], number["fake"]) == (8, 6), "the last two are the test split"
    assert number["real_vs_real"]["videos"] == 4
    assert number["real_vs_real"]["same_size"] is False
    assert "not comparable with FVD" in number["note"]
    assert shown["metrics"]["direction"]["value"] > 0.5
    protocol = shown["protocol"]
    assert (protocol["name"], protocol["real_interval"], protocol["frames"]) == ("latte", 2, 4)
    assert set(protocol["networks"]) == {"random3d", "motion"}
    assert shown["fake"]["compression"] == "as given, x264 crf 17, then JPEG 75"
    assert protocol["fake_compression"] == shown["fake"]["compression"]
    written = json.loads((tmp_path / "r.json").read_text())
    assert {k: v for k, v in shown.items() if k not in ("out", "place", "seconds")} == written


def test_the_table_shows_value_protocol_and_deviations(clips):
    result = succeed(*WORDS)
    shown = " ".join(result.stdout.split())
    for words in (
        "metric value",
        "fd-random",
        "protocol latte",
        "not as published",
        "results/fake-",
    ):
        assert words in shown
    said = result.stderr
    assert "fake: 6 clips, published numbers take 2048" in said
    assert said.count("warning: real:") == 1


@pytest.mark.usefixtures("terminal")
def test_the_table_fits_a_narrow_terminal(clips):
    shown = succeed(*WORDS, "--draws=2").stdout
    assert max(map(len, shown.splitlines())) <= 80


def test_every_source_gives_the_same_number_where_pixels_are_the_same(tmp_path):
    """Frames and arrays, packed or not, in a folder or by name; all without compression."""
    npz_file(tmp_path / "real.npz", 6, 8)
    places = {
        "frames": frame_folders(tmp_path / "frames", 5, 4, seed=1),
        "array": npz_file(tmp_path / "array.npz", 5, 4, seed=1),
        "packed": npz_file(tmp_path / "packed.npz", 5, 4, seed=1, save=np.savez_compressed),
        "folder": npz_file(tmp_path / "clips.npz", 5, 4, seed=1).parent,
    }
    values = set()
    for fake in places.values():
        words = ("--real=real.npz", f"--fake={fake}", *flat("eval.protocol=stylegan-v"))
        shown = json.loads(succeed("--json", "eval", *words, "-o", "eval.resamples=0").stdout)
        values.add(shown["metrics"]["fd-random"]["value"])
    assert len(values) == 1
    assert values.pop() > 0


def test_a_checkpoint_is_sampled_on_the_fly(clips, tmp_path):
    words = ("--preset=shapes", "--checkpoint=embedded", "--clips=3", "-o", "sample.steps=1")
    words += ("--real=real", "--draws=3", "-o", "data.interval=1")
    shown = json.loads(succeed("--json", "eval", *words).stdout)
    assert shown["fake"]["kind"] == "checkpoint"
    assert shown["seconds_per_clip"] > 0
    assert set(shown["metrics"]) == {"direction", "fd-random"}, "those of the preset"
    assert not list(tmp_path.rglob("*00000*label*64px*")), "no files in between"
    assert shown["metrics"]["direction"]["std"] is None, "each draw takes all three"
    assert shown["metrics"]["fd-random"]["std"] > 0, "the real clips are others"
    assert "same clips" in succeed("eval", *words).stdout


def test_the_whole_protocol_is_shown_without_data(monkeypatch):
    shown = json.loads(succeed("--json", "eval", "--show-protocol", "--metrics=fd-random").stdout)
    assert (shown["frames"], shown["size"], shown["clips"]) == (16, 256, 2048)
    assert shown["deviations"] == []
    assert len(shown["networks"]["random3d"]) == 64
    words = succeed("eval", "--show-protocol", "--preset=taichi-hd", "--metrics=fd-random").stdout
    other = succeed("eval", "--show-protocol", "--preset=ucf101", "--split=test", "--metrics=is")
    assert "split of the real videos: test, published: all" in " ".join(other.stdout.split())
    assert "not as published" not in words
    for expected in (
        "frame interval of real clips",
        "6",
        "mp4-crf5-bicubic jpeg-75",
        "ddof",
        "hash",
    ):
        assert expected in words
    monkeypatch.setattr(latte_cli.metrics, "load_features", _missing)
    assert "checksums belong to the hash" in " ".join(
        succeed("eval", "--show-protocol").stdout.split()
    )


def _missing(*words, **more):
    from latte_cli.runtime.errors import CheckpointError

    raise CheckpointError("i3d: no weights", hint="give --weights")


class Tiny:
    """A feature network that answers at once: mean colours, before or after the softmax."""

    def __init__(self, name):
        self.per_frame = name == "inception"
        self.weights = SimpleNamespace(sha256=f"{name} " + 60 * "0")

    def __call__(self, clips):
        colours = clips.float().mean(dim=(2, 3)) / 255
        rows = colours.flatten(0, 1) if self.per_frame else colours.mean(dim=1)
        wide = torch.cat([rows, rows**2], dim=1)
        return SimpleNamespace(features=wide, logits=3 * wide)


@pytest.fixture
def all_weights(monkeypatch):
    """No weights are missed, for tests that put other networks in the place of the published."""
    found = "latte_cli.runtime.weight_files.metric_networks.missing_files"
    monkeypatch.setattr(found, lambda *words, **more: [])


def test_published_metrics_are_shown_beside_the_papers(tmp_path, monkeypatch, all_weights):
    """With networks in the place of the published ones, which are not shipped."""
    monkeypatch.setattr(latte_cli.metrics, "load_features", lambda name, *a, **k: Tiny(name))
    real = prepared(tmp_path / "ucf101", 8, 34)
    fake = npz_file(tmp_path / "clips.npz", 12, 16, seed=1)
    small = ("-o", "data.size=32", "-o", "data.interval=2")
    words = ("--preset=ucf101", f"--real={real}", f"--fake={fake}", *small)
    metrics = "--metrics=fvd,kvd,fid,kid,is"
    shown = json.loads(succeed("--json", "eval", *words, metrics, "--out=r.json").stdout)
    assert set(shown["metrics"]) == {"fvd", "kvd", "fid", "kid", "is"}
    assert shown["place"] == {"fvd": 1, "is": 2}
    assert shown["metrics"]["fvd"]["network"] == "i3d"
    assert shown["metrics"]["is"]["real"] == 0
    people = succeed("eval", *words, metrics).stdout
    assert "> this result" in people
    assert "Latte+IMG" in people
    assert "height and width of a frame, pixels: 32, published: 256" in people
    assert "frame interval of real clips: 2, published: 3" in people
    split = "split of the real videos: train, published: all"
    assert split not in people
    other_split = json.loads(succeed("--json", "eval", *words, metrics, "--split=train").stdout)
    assert split in other_split["deviations"], "by the preset's name"
    shown = json.loads(
        succeed("--json", "eval", *words[1:], metrics, "-o", "data.split=train").stdout
    )
    assert split in shown["deviations"], "by that of the real videos"
    clips_only = json.loads(
        succeed("--json", "eval", *words, "--metrics=fid", "-o", "eval.fid_frames=clips").stdout
    )
    assert clips_only["metrics"]["fid"]["value"] != shown["metrics"]["fid"]["value"]


def test_clips_too_short_for_fvd_are_an_error_before_weights_are_opened(clips, monkeypatch):
    monkeypatch.setattr(latte_cli.metrics, "load_features", _missing)
    assert "clips of 4 frames, fvd or kvd needs at least 9" in fail(*WORDS, "--metrics=fvd")
    assert "fvd: i3d_rgb_scratch" in fail(*WORDS, "--metrics=fvd", "-o", "data.frames=9")


def test_missing_clips_are_an_error_before_weights_are_opened(clips, monkeypatch):
    monkeypatch.setattr(latte_cli.metrics, "load_features", _missing)
    assert "nowhere" in fail(*WORDS, "--metrics=fvd", "--fake=nowhere", "-o", "data.frames=9")


def test_paired_folders_are_compared_frame_by_frame(clips, tmp_path):
    shutil.copytree(tmp_path / "fake", tmp_path / "same")
    words = ("eval", "--real=fake", "--fake=same", "--metrics=psnr,ssim")
    shown = json.loads(succeed("--json", *words).stdout)["metrics"]
    assert (shown["psnr"]["value"], shown["ssim"]["value"]) == (100, 1)
    assert shown["psnr"]["fake"] == 6
    noisy = shapes_clip(0, 6, seed=1).astype(int) + np.random.default_rng(0).integers(
        -40, 40, (6, 32, 32, 3)
    )
    write_video(
        tmp_path / "same" / "00000-seed1-label0.mp4", noisy.clip(0, 255).astype(np.uint8), 8
    )
    shown = json.loads(succeed("--json", *words).stdout)["metrics"]
    assert 80 < shown["psnr"]["value"] < 100
    assert shown["psnr"]["parts_std"] > 10
    both = json.loads(
        succeed(
            "--json",
            *WORDS[:1],
            "--real=fake",
            "--fake=same",
            *flat(),
            "--metrics=psnr,fd-random",
            "-o",
            "data.interval=1",
        ).stdout
    )
    assert set(both["metrics"]) == {"fd-random", "psnr"}
    (tmp_path / "same" / "00001-seed1-label1.mp4").unlink()
    assert "00001-seed1-label1 is only in fake" in fail(*words)
    write_video(tmp_path / "same" / "00001-seed1-label1.mp4", shapes_clip(1, 5), 8)
    assert "the two videos of this name differ, 6 frames of 32 x 32 and 5" in fail(*words)


def test_lpips_compares_pairs_with_its_weights(clips, monkeypatch, all_weights):
    """The network's own numbers are tested apart; here a plain one stands for it."""

    def distance(a, b):
        return (a.float() - b.float()).abs().mean(dim=(2, 3, 4)) / 255

    network = SimpleNamespace(distance=distance)
    monkeypatch.setattr(latte_cli.metrics, "load_lpips", lambda *a, **k: network)
    shutil.copytree("fake", "same")
    words = ("eval", "--real=fake", "--metrics=lpips")
    shown = json.loads(succeed("--json", *words, "--fake=same").stdout)
    assert shown["metrics"]["lpips"]["value"] == 0
    monkeypatch.setattr(latte_cli.metrics, "load_lpips", _missing)
    assert "i3d: no weights" in fail(*words, "--fake=same")


def test_long_parts_show_how_far_they_are(clips, monkeypatch):
    monkeypatch.setattr("latte_cli.runtime.console.PLAIN_EVERY_S", 0.0)
    said = succeed(*WORDS, "-o", "eval.resamples=3").stderr
    for shown in ("scanning: 6/6", "extracting features of fake", "interval of fd-random: 3/3"):
        assert shown in said
