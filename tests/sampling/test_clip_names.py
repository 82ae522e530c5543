"""Names of clips: people read the class, programs the label, and older folders go on."""

import json

import numpy as np
import pytest
from conftest import fail, succeed, tiny
from helpers.sampling import sample, sampled
from PIL import Image

from latte_cli.sampling.pictures.grid import with_caption
from latte_cli.sampling.sample_requests import ClipRequest, clip_entry, name_for_file


def test_a_clip_is_named_after_its_class():
    entry = clip_entry(ClipRequest(3, 7, 1), ["a", "Playing Guitar/solo"])
    assert (entry.name, entry.caption) == (
        "00003-seed7-label1-Playing-Guitar-solo",
        "Playing Guitar/solo",
    )
    assert clip_entry(ClipRequest(3, 7, 2), ["a"]).name == "00003-seed7-label2"
    assert clip_entry(ClipRequest(3, 7)).name == "00003-seed7"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("135deg", "135deg"),
        ("../../etc", "etc"),
        ("a  b\n*?", "a-b"),
        ("Élan e\u0301té", "Élan-été"),
        ("…", ""),
        ("é" * 100, "é" * 30),
        (r"\udcff", "udcff"),
    ],
)
def test_names_of_classes_are_safe_in_files(name, part):
    assert name_for_file(name) == part
    assert len(name_for_file(name).encode()) <= 60


def rename_as_before(folder):
    """Give clips the names of earlier versions, in the list, too."""
    for path in folder.glob("*-label*"):
        path.rename(folder / f"{path.stem.rpartition('-')[0]}{path.suffix}")
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    for row in rows:
        row["name"] = row["name"].rpartition("-")[0]
        row["file"] = f"{row['name']}.mp4"
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_folder_of_earlier_names_goes_on_with_them(world, tmp_path):
    sampled(world, "-n", 2, "--out=s")
    rename_as_before(tmp_path / "s")
    before = {path.name: path.read_bytes() for path in (tmp_path / "s").glob("*.mp4")}
    assert sorted(before) == ["00000-seed0-label0.mp4", "00001-seed0-label1.mp4"]
    assert sampled(world, "-n", 3, "--out=s")["sampled_now"] == 1
    now = {path.name: path.read_bytes() for path in (tmp_path / "s").glob("*.mp4")}
    assert now.items() >= before.items()
    assert now.keys() - before.keys() == {"00002-seed0-label2.mp4"}
    assert sampled(world, "-n", 2, "--out=s")["sampled_now"] == 0
    assert "other settings" in fail(*sample(world, "-n", 3, "--out=s", "--guidance=2"))


def test_an_npz_file_of_earlier_names_goes_on_with_them(world, tmp_path):
    sampled(world, "-n", 2, "--out=s.npz")
    with np.load(tmp_path / "s.npz") as arrays:
        stored = dict(arrays)
    stored["names"] = np.array([name.rpartition("-")[0] for name in stored["names"]])
    np.savez(tmp_path / "s.npz", **stored)
    assert sampled(world, "-n", 2, "--out=s.npz")["sampled_now"] == 0


def test_labels_are_read_from_names_with_and_without_classes(world, tmp_path):
    for folder in ("new", "old"):
        sampled(world, "-n", 4, "--seed=1", f"--out={folder}")
    rename_as_before(tmp_path / "old")
    words = ("--metrics=direction", *tiny(eval__clips=4), f"--data-root={world.root / 'data'}")
    results = [
        json.loads(succeed("--json", "eval", "-p", "shapes", "--fake", name, *words).stdout)
        for name in ("new", "old")
    ]
    new, old = (result["metrics"]["direction"]["value"] for result in results)
    assert new == old
    words = ("--metrics=psnr", "-o", "data.size=32", "-o", "data.frames=4")
    paired = succeed("--json", "eval", "new", "old", *words)
    assert json.loads(paired.stdout)["metrics"]["psnr"]["value"] == 100, "the same clips"


def test_a_caption_takes_a_line_and_is_cut_where_the_picture_ends():
    picture = np.zeros((64, 200, 3), np.uint8)
    assert with_caption(picture, "") is picture
    short, long = (with_caption(picture, text) for text in ("a cat", "word " * 100))
    assert short.shape == long.shape == (64 + 16, 200, 3)
    assert np.array_equal(short[16:], picture)
    assert short[:16].min() < 128 < short[:16].max(), "text on white"


def test_the_picture_of_a_folder_names_each_row(world, tmp_path):
    sampled(world, "-n", 2, "--label=3", "--label=5", "--out=s")
    with Image.open(tmp_path / "s/grid.png") as grid:
        rows = np.asarray(grid.convert("L"))
    lines = [rows[2 + 50 * row : 16 + 50 * row] for row in range(2)]
    assert all(line.min() < 128 for line in lines)
    assert not np.array_equal(*lines), "135deg, 225deg"
