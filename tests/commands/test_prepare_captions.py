"""`latte prepare captions` with tables that do not fit the files beside them."""

import json
from pathlib import Path

import pytest
from conftest import fail, succeed

from latte_cli.config import load_config
from latte_cli.config.locations import Locations
from latte_cli.data.manifest import read_dataset
from latte_cli.sources.shapes import render_clip
from latte_cli.video_io import write_video


@pytest.fixture
def source(tmp_path) -> Path:
    """Three videos without a table."""
    (tmp_path / "in").mkdir()
    for name in "abc":
        write_video(tmp_path / "in" / f"{name}.mp4", render_clip(1, size=32, num_frames=4), 8)
    return tmp_path / "in"


def table(folder: Path, *rows: tuple[str, str]) -> str:
    lines = "".join(f'{video},"{caption}"\n' for video, caption in rows)
    (folder / "table.csv").write_text(f"video,caption\n{lines}")
    return f"--source={folder / 'table.csv'}"


def test_rows_and_files_without_each_other_are_told_and_the_others_are_kept(source):
    words = ("prepare", "captions", "--workers=1", "--out=out")
    rows = (("a.mp4", "x"), ("gone.mp4", "y"), ("b.mp4", " "), ("b.mp4", "z"))
    said = " ".join(succeed(*words, table(source, *rows)).stderr.split())
    assert "1 files beside these videos are in no line and are left out, the first:" in said
    assert f"{source}/c.mp4" in said.replace(" ", "")
    assert "1 lines are invalid and are skipped, the first: line 4: no caption" in said
    assert "out/rejected.jsonl says why 1 was rejected" in said
    dataset = read_dataset(Path("out"))
    assert [(Path(v.path).name, v.captions) for v in dataset.videos] == [
        ("a.mp4", ("x",)),
        ("b.mp4", ("z",)),
    ]
    (rejected,) = map(json.loads, Path("out/rejected.jsonl").read_text().splitlines())
    assert rejected["path"].endswith("gone.mp4")
    assert rejected["reason"] == "no such file"


def test_a_table_of_other_files_is_an_error_and_the_data_set_before_is_kept(source):
    words = ("prepare", "captions", "--workers=1", "--out=out")
    succeed(*words, table(source, ("a.mp4", "x")))
    before = Path("out/manifest.jsonl").read_text()
    said = fail(*words, table(source, ("gone.mp4", "x"), ("lost.mp4", "y")))
    assert "none of 2 files could be read as a video" in said
    assert "rejected.jsonl" in said
    assert Path("out/manifest.jsonl").read_text() == before


def test_a_table_of_empty_captions_is_an_error(source):
    said = fail("prepare", "captions", "--out=out", table(source, ("a.mp4", ""), ("b.mp4", " ")))
    assert "no line names a video; line 2: no caption" in said
    assert not Path("out/manifest.jsonl").exists()


def test_a_caption_of_thousands_of_words_is_kept_whole(source):
    long = " ".join(["word"] * 4000)
    succeed("prepare", "captions", "--workers=1", "--out=out", table(source, ("a.mp4", long)))
    assert read_dataset(Path("out")).videos[0].captions == (long,)


def test_a_table_here_beside_its_videos_is_prepared_and_its_presets_find_it(source, monkeypatch):
    """As the guide has it: without a folder in the table's name, nor in those of its videos."""
    table(source, ("a.mp4", "x"), ("b.mp4", "y"))
    monkeypatch.chdir(source)
    said = succeed("prepare", "captions", "--workers=1", "--source=table.csv").stderr
    assert "c.mp4" in said, "no line names it"
    assert said.endswith("latte encode-latents --preset t2v-256\n")
    for preset in ("t2v", "t2v-256"):
        assert Locations().data(load_config(preset)) == Path("data/captions")
    Path("data/t2v").mkdir()
    assert Locations().data(load_config("t2v-256")) == Path("data/t2v"), "its own is before it"


def test_without_captions_the_hint_prepares_them(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    said = fail("encode-latents", "--preset=t2v-256", "--vae=embedded")
    assert "data/captions: no prepared data set here" in said
    assert "latte prepare captions --source TABLE --out data/captions" in said
