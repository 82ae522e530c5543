"""`latte sample` of many clips: the same for any number of processes, resumed, listed."""

import itertools
import json
import os
import subprocess
import sys

import av
import numpy as np
import pytest
from conftest import fail, stamps
from helpers.sampling import sample, sampled

from latte_cli.commands import sample as sample_command
from latte_cli.data.manifest import read_dataset
from latte_cli.runtime.files import sha256_of
from latte_cli.sampling.generation import Generator
from latte_cli.sampling.sample_requests import proportional_order


def rows(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_two_processes_write_the_same_bytes_as_one(world, tmp_path):
    words = [str(word) for word in sample(world, "-n", 7, "--format=npz")]
    here = {**os.environ, "OMP_NUM_THREADS": "1", "LATTE_RUNS": ""}
    alone = [sys.executable, "-m", "latte_cli", *words, "--out=one"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    together = [sys.executable, *torchrun, "-m", "latte_cli", "--json", *words, "--out=two"]
    subprocess.run(alone, env=here, check=True, capture_output=True)
    shown = subprocess.run(together, env=here, check=True, capture_output=True, text=True)
    assert json.loads(shown.stdout)["clips"] == 7, "only the main process prints"
    one, two = tmp_path / "one", tmp_path / "two"
    assert (one / "clips.npz").read_bytes() == (two / "clips.npz").read_bytes()
    assert (one / "samples.jsonl").read_bytes() == (two / "samples.jsonl").read_bytes()
    assert (one / "grid.png").read_bytes() == (two / "grid.png").read_bytes()


def test_clips_sampled_before_an_interruption_are_kept(world, tmp_path, monkeypatch):
    sampled(world, "-n", 6, "--format=npz", "--out=whole")
    clips, calls = Generator.clips, itertools.count()

    def interrupted(self, *values):
        if next(calls) == 2:
            raise OSError("pulled the plug")
        return clips(self, *values)

    monkeypatch.setattr(Generator, "clips", interrupted)
    fail(*sample(world, "-n", 6, "--format=npz", "--out=s"))
    assert not (tmp_path / "s/clips.npz").exists()
    monkeypatch.setattr(Generator, "clips", clips)
    result = sampled(world, "-n", 6, "--format=npz", "--out=s")
    assert result["sampled_now"] == 2
    whole = (tmp_path / "whole/clips.npz").read_bytes()
    assert (tmp_path / "s/clips.npz").read_bytes() == whole
    assert sampled(world, "-n", 6, "--format=npz", "--out=s")["sampled_now"] == 0


def test_more_clips_of_the_same_run_are_added(world, tmp_path):
    sampled(world, "-n", 8, "--format=npz", "--out=at-once")
    sampled(world, "-n", 4, "--format=npz", "--out=s")
    assert sampled(world, "-n", 8, "--format=npz", "--out=s")["sampled_now"] == 4
    at_once = (tmp_path / "at-once/clips.npz").read_bytes()
    assert (tmp_path / "s/clips.npz").read_bytes() == at_once


def test_a_missing_clip_is_sampled_in_the_same_batch_as_before(world, tmp_path):
    """Rounding depends on the batch."""
    sampled(world, "-n", 4, "--format=png", "--out=s", sample__batch=4)
    before = rows(tmp_path / "s")
    gone = tmp_path / "s/00002-seed0-label2-090deg"
    for path in gone.iterdir():
        path.unlink()
    gone.rmdir()
    assert sampled(world, "-n", 4, "--format=png", "--out=s", sample__batch=4)["sampled_now"] == 1
    assert rows(tmp_path / "s") == before


@pytest.mark.parametrize("fmt", ["mp4", "png", "npz"])
def test_a_command_with_nothing_to_do_writes_nothing(world, tmp_path, fmt):
    sampled(world, "-n", 2, f"--format={fmt}", "--out=s")
    before = stamps(tmp_path / "s")
    assert sampled(world, "-n", 2, f"--format={fmt}", "--out=s")["sampled_now"] == 0
    assert stamps(tmp_path / "s") == before


def test_a_damaged_clip_is_sampled_in_the_same_batch_as_before(world, tmp_path):
    sampled(world, "-n", 4, "--format=png", "--out=s", sample__batch=4)
    before = {path: path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file()}
    (tmp_path / "s/00002-seed0-label2-090deg/00001.png").unlink()
    assert sampled(world, "-n", 4, "--format=png", "--out=s", sample__batch=4)["sampled_now"] == 1
    assert {path: path.read_bytes() for path in before} == before


def test_samples_jsonl_lists_each_clip_with_its_checksum(world, tmp_path):
    sampled(world, "-n", 3, "--seed=7", "--label=5", "--label=1", "--out=s")
    listed = rows(tmp_path / "s")
    assert [row["file"] for row in listed] == [
        "00000-seed7-label5-225deg.mp4",
        "00001-seed7-label1-045deg.mp4",
        "00002-seed7-label5-225deg.mp4",
    ]
    assert [(row["index"], row["seed"], row["label"]) for row in listed] == [
        (0, 7, 5),
        (1, 7, 1),
        (2, 7, 5),
    ]
    for row in listed:
        assert row["sha256"] == sha256_of(tmp_path / "s" / row["file"])
        assert row["settings"]["steps"] == 4
        assert (row["settings"]["codec"], row["settings"]["crf"]) == ("libx264 yuv420p", 5)
    with av.open(str(tmp_path / "s" / listed[1]["file"])) as container:
        result = json.loads(container.metadata["comment"])
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert (result["index"], result["label"], result["sampler"]) == (1, 1, "ddim")
    assert (result["codec"], result["crf"]) == ("libx264 yuv420p", 5)


def test_labels_follow_the_data_set(world, tmp_path):
    data = f"--data-root={world.root / 'data'}"
    sampled(world, "-n", 6, "--labels=data", data, "--out=s")
    videos = read_dataset(world.root / "data/shapes").of_split("train")
    counts = np.bincount([video.label for video in videos], minlength=8)
    expected = list(itertools.islice(proportional_order(counts.tolist()), 6))
    assert [row["label"] for row in rows(tmp_path / "s")] == expected
    output = fail(*sample(world, "-n", 6, "--labels=data", f"--data-root={tmp_path}"))
    assert "no prepared data set" in output


@pytest.mark.parametrize("counts", [[5, 3, 2], [1, 0, 9], [7], [2, 2, 2, 2], [100, 1, 10]])
def test_a_full_round_of_labels_has_exact_proportions(counts):
    """Sainte-Lague's method gives each party its votes where there are as many seats as votes."""
    taken = list(itertools.islice(proportional_order(counts), sum(counts)))
    assert np.bincount(taken, minlength=len(counts)).tolist() == counts
    for number in range(1, sum(counts)):
        part = np.bincount(taken[:number], minlength=len(counts))
        assert np.abs(part - np.array(counts) * number / sum(counts)).max() < 1.5


def test_all_labels_are_taken_in_turn(world, tmp_path):
    sampled(world, "-n", 9, "--labels=all", "--out=s", "--steps=1")
    assert [row["label"] for row in rows(tmp_path / "s")] == [*range(8), 0]


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (("-n", 1, "--seed=1"), ("-n", 1, "--seed=2"), "not among the 1 requested"),
        (("-n", 2, "--label=1"), ("-n", 2, "--label=2"), "not among the 2 requested"),
        (("-n", 1), ("-n", 1, "--steps=3"), "steps 4 against 3"),
        (("-n", 1), ("-n", 1, "--format=gif"), "format mp4 against gif"),
        (("-n", 1, "--format=npz"), ("-n", 1, "--format=mp4"), "format npz against mp4"),
        (
            ("-n", 1, "--long=6"),
            ("-n", 1),
            "long frames 6, window 4, overlap",
        ),
        (("-n", 1), ("-n", 1, "--long=6"), "long none against frames 6"),
        (("-n", 1), ("-n", 1, "-o", "sample.precision=bf16"), "precision float32 against bfloat16"),
    ],
)
def test_a_folder_of_another_run_fails_at_once_and_is_unchanged(
    world, tmp_path, monkeypatch, first, then, message
):
    sampled(world, *first, "--out=s")
    before = {path: path.read_bytes() for path in (tmp_path / "s").iterdir()}
    monkeypatch.setattr(sample_command, "load_generator", None)  # fails if the network is loaded
    assert message in fail(*sample(world, *then, "--out=s"))
    assert {path: path.read_bytes() for path in (tmp_path / "s").iterdir()} == before


@pytest.mark.parametrize("name", ["s.gif", "s.npz"])
def test_a_file_of_another_run_fails_at_once_and_is_unchanged(world, tmp_path, monkeypatch, name):
    sampled(world, "-n", 1, f"--out={name}")
    before = (tmp_path / name).read_bytes()
    monkeypatch.setattr(sample_command, "load_generator", None)  # fails if the network is loaded
    for then in ("steps 4 against 3", "seed 0 against 1"):
        key, value = then.split()[0], then.split()[-1]
        said = fail(*sample(world, "-n", 1, f"--{key}={value}", f"--out={name}"))
        assert then in said or "not among the 1 requested: 00000-seed0" in said
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("words", [(), ("--format=npz",), ("--out=s.npz",)])
def test_fewer_of_the_same_clips_are_already_there(world, tmp_path, words):
    words = (*words, "--out=s") if "-o" not in words else words
    sampled(world, "-n", 3, *words)
    before = stamps(tmp_path)
    result = sampled(world, "-n", 2, *words)
    assert (result["clips"], result["sampled_now"]) == (2, 0)
    assert stamps(tmp_path) == before


def test_one_of_fewer_clips_that_is_damaged_fails_and_nothing_is_lost(world, tmp_path):
    sampled(world, "-n", 3, "--out=s")
    (tmp_path / "s/00000-seed0-label0-000deg.mp4").write_bytes(b"")
    before = stamps(tmp_path)
    said = fail(*sample(world, "-n", 2, "--out=s"))
    assert "1 clips that are not among the 2 requested: 00002-seed0-label2-090deg" in said
    assert stamps(tmp_path) == before
    assert sampled(world, "-n", 3, "--out=s")["sampled_now"] == 1


def test_clips_without_settings_fail(world, tmp_path):
    sampled(world, "-n", 1, "--out=s")
    (tmp_path / "s/settings.json").unlink()
    assert "clips of unknown settings" in fail(*sample(world, "-n", 1, "--out=s"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format=webm",), "--format webm is unknown"),
        (("--out=clip.avi",), "clips cannot be written as `.avi`"),
        (("--out=clip.mp4", "-n", 2), "clip.mp4 is one file, but there are 2 clips"),
        (("--out=clip.png",), "one picture, but a clip has 4 frames"),
        (("-o", "clip.mp4", "--out=s"), "several output paths"),
        (("--labels=none",), "--labels none is unknown"),
        (("--labels=all", "--label=1"), "exclude each other"),
        (("--long=3",), "--long 3 is no more than the 4 frames"),
        (("--long=9", "--overlap=4"), "--overlap 4 in windows of 4 frames"),
        (("--long=9", "--long-method=fifo", "--sampler=ddpm"), "deterministic single-step"),
        (("--image=none.png",), "none.png: no such file"),
        (("--image=none.png", "--frames=1"), "none.png: no such file"),
        (("-o", "data.size=36"), "must be a multiple of"),
    ],
)
def test_invalid_options_fail(world, tmp_path, words, message):
    assert message in fail(*sample(world, *words))
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".mp4", ".npz", ".png")]
