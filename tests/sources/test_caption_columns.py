"""Columns of published data sets, columns that the user names, and Parquet."""

import importlib.util
import json
from pathlib import Path

import pytest
from conftest import fail, invoke, succeed
from helpers.trees import touch, with_warnings

from latte_cli.data.manifest import read_dataset
from latte_cli.runtime.errors import ConfigError, DataError
from latte_cli.sources import captions
from latte_cli.sources.shapes import render_clip
from latte_cli.sources.tables.columns import ColumnChoice
from latte_cli.video_io import write_video


def rows_of(table, choice=None):
    """Path below the table's folder, and all captions, of each video; warnings."""
    choice = choice or ColumnChoice()
    (videos, _), warned = with_warnings(lambda source: captions.find(source, choice), table)
    rows = [(str(v.path.relative_to(table.parent)), v.caption, *v.more_captions) for v in videos]
    return rows, warned


def written(folder: Path, name: str, rows: list[dict[str, object]]) -> Path:
    path = folder / name
    if path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        cells = [list(rows[0]), *(list(row.values()) for row in rows)]
        path.write_text("".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in cells))
    return path


PUBLISHED = {  # files, columns of the first row with its values, and what is found
    "WebVid": (
        ["videos/000001_000050/21179416.mp4"],
        {"videoid": 21179416, "contentUrl": "https://a.net/v/21179416/preview/stock-footage-a.mp4",
         "duration": "PT00H00M11S", "page_dir": "000001_000050", "name": "Aerial shot of winter."},
        ("videos/000001_000050/21179416.mp4", "Aerial shot of winter."),
    ),
    "WebVid as a list of files": (
        ["videos/31353427.mp4"],
        {"caption": "Merida, Mexico", "video_name": "31353427.mp4"},
        ("videos/31353427.mp4", "Merida, Mexico"),
    ),
    "OpenVid": (
        ["video/--_S9IDQPLg_41.mp4"],
        {"video": "--_S9IDQPLg_41.mp4", "caption": "a man", "aesthetic score": 5.1,
         "motion score": 1.2, "temporal consistency score": 0.9, "camera motion": "static",
         "frame": 96, "fps": 24.0, "seconds": 4.0},
        ("video/--_S9IDQPLg_41.mp4", "a man"),
    ),
    "MiraData": (
        ["video/clip_video/000000000/0.12.mp4"],
        {"clip_id": "0.12", "source": "gaming", "video_url": "https://www.youtube.com/watch?v=x",
         "video_id": "x", "file_path": "clip_video/000000000/0.12.mp4", "short_caption": "a car",
         "dense_caption": "a long drive", "background_caption": "no", "main_object_caption": "no",
         "style_caption": "no", "camera_caption": "no"},
        ("video/clip_video/000000000/0.12.mp4", "a car", "a long drive"),
    ),
    "Pexels with titles": (
        ["clips/3326-hd.mp4"],
        {"thumbnail": "https://images.pexels.com/videos/3326/a.jpeg",
         "video": "https://player.vimeo.com/external/a/3326-hd.mp4?s=1", "title": "Waves"},
        ("clips/3326-hd.mp4", "Waves"),
    ),
    "Pexels with addresses of content": (
        ["857195.mp4"],
        {"thumbnail_loc": "https://a.com/a.jpeg", "title": "Beach", "description": "A beach",
         "content_loc": "https://player.vimeo.com/external/857195.mp4"},
        ("857195.mp4", "A beach"),
    ),
    "Pexels with paths": (
        ["pexels/a b.mp4"],
        {"path": "pexels\\a b.mp4", "cap": "Two dogs", "num_frames": 100, "fps": 30},
        ("pexels/a b.mp4", "Two dogs"),
    ),
    "Vimeo, as ids": (
        ["vimeo/76979871.mp4"],
        {"video_id": "76979871", "caption": "A monster"},
        ("vimeo/76979871.mp4", "A monster"),
    ),
    "plain": (["a.mp4"], {"Video": "a.mp4", "Caption": "x"}, ("a.mp4", "x")),
    "plain files": (["a.mp4"], {"file_path": "a.mp4", "prompt": "x"}, ("a.mp4", "x")),
    "names of files": (["a.mp4"], {"name": "a.mp4", "text": "x"}, ("a.mp4", "x")),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("title", PUBLISHED)
def test_published_data_sets_are_read_by_their_own_columns(tmp_path, title, suffix):
    files, row, expected = PUBLISHED[title]
    touch(tmp_path, *files)
    rows, warned = rows_of(written(tmp_path, f"t{suffix}", [row]))
    assert rows == [expected]
    assert not [text for text in warned if "first is read" in text or "invalid" in text]


def test_columns_that_the_user_names_are_read(tmp_path):
    row = {"video": "no.mp4", "clip": "a.mp4", "caption": "no", "gpt": "one", "blip": "two"}
    choice = ColumnChoice("clip", ("gpt", "blip"))
    for suffix in (".csv", ".jsonl", ".json", ".parquet"):
        if suffix == ".json":
            table = tmp_path / "t.json"
            table.write_text(json.dumps({name: [value] for name, value in row.items()}))
        else:
            table = written(tmp_path, f"t{suffix}", [row])
        assert rows_of(table, choice)[0] == [("a.mp4", "one", "two")]
        assert rows_of(table, ColumnChoice(captions=("gpt",)))[0] == [("no.mp4", "one")]


def test_an_empty_caption_is_left_out_beside_another(tmp_path):
    table = written(tmp_path, "t.jsonl", [{"video": "a.mp4", "caption": ["", "x", None]}])
    assert rows_of(table)[0] == [("a.mp4", "x")]
    table = written(tmp_path, "t.csv", [{"video": "a.mp4", "long": " ", "short": "x"}])
    assert rows_of(table, ColumnChoice(captions=("long", "short")))[0] == [("a.mp4", "x")]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("choice", [ColumnChoice("Clip"), ColumnChoice(None, ("Clip",))])
def test_a_column_that_is_not_there_is_an_error_that_lists_the_columns(tmp_path, suffix, choice):
    row = {"video": "a.mp4", "caption": "x"}
    if suffix == ".json":
        table = tmp_path / "t.json"
        table.write_text(json.dumps([row]))
    else:
        table = written(tmp_path, f"t{suffix}", [row])
    with pytest.raises(DataError, match="no column `Clip`; found: video, caption") as caught:
        captions.find(table, choice)
    assert "--video-column" in caught.value.hint


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_missing_columns_are_an_error_that_lists_the_columns(tmp_path, suffix):
    table = written(tmp_path, f"t{suffix}", [{"video": "a.mp4", "note": "x"}])
    with pytest.raises(DataError, match="no column `caption`; found: video, note") as caught:
        captions.find(table)
    assert "--caption-column" in caught.value.hint
    lines = written(tmp_path, "t.jsonl", [{"video": "a.mp4", "note": "x"}])
    with pytest.raises(DataError, match="line 1: no caption; found: video, note"):
        captions.find(lines)
    content = tmp_path / "t.json"
    content.write_text(json.dumps({"movie": ["a.mp4"], "words": ["x"], "note": [1, 2]}))
    with pytest.raises(DataError, match="no list of videos and captions; found: movie, words, no"):
        captions.find(content, ColumnChoice("clip"))


def test_parquet_of_several_captions_labels_and_splits(tmp_path):
    rows = [
        {"video": "a.mp4", "caption": ["x", "y"], "label": 1, "split": "val"},
        {"video": "b.mp4", "caption": None, "label": None, "split": None},
        {"video": "c.mp4", "caption": ["z"], "label": None, "split": None},
    ]
    table = written(tmp_path, "t.parquet", rows)
    (found, classes), warned = with_warnings(captions.find, table)
    assert [(v.caption, v.more_captions, v.label, v.split) for v in found] == [
        ("x", ("y",), 1, "test"),
        ("z", (), None, "train"),
    ]
    assert classes == ["0", "1"]
    assert f"{table}: 1 lines are invalid and are skipped, the first: row 2: no caption" in warned


def test_damaged_parquet_is_an_error(tmp_path):
    table = written(tmp_path, "t.parquet", [{"video": "a.mp4", "caption": "x"}])
    content = table.read_bytes()
    for damaged in (
        b"",
        b"video,caption\n",
        content[:-20],
        content[:10] + bytes(30) + content[40:],
    ):
        table.write_bytes(damaged)
        with pytest.raises(DataError, match="no intact Parquet file") as caught:
            captions.find(table)
        assert caught.value.hint


def test_without_pyarrow_parquet_is_an_error_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    spec = importlib.util.find_spec
    monkeypatch.setattr(
        "latte_cli.sources.tables.parquet.find_spec",
        lambda name: None if name == "pyarrow" else spec(name),
    )
    said = fail("prepare", "captions", f"--source={tmp_path / 't.parquet'}")
    assert "t.parquet: reading Parquet needs the package pyarrow" in said
    assert "pip install 'latte-cli[parquet]'" in said
    assert not (tmp_path / "data").exists()


def test_columns_are_chosen_on_the_command_line(tmp_path):
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", render_clip(1, size=32, num_frames=4), 8)
    rows = [{"movie": f"{name}.mp4", "gpt": f"one {name}", "blip": "two"} for name in "ab"]
    table = written(tmp_path, "t.csv", rows)
    words = ("prepare", "captions", f"--source={table}", "--workers=1", "--out=out")
    assert "no column `video`; found: movie, gpt, blip" in fail(*words)
    assert "no column `nope`; found: movie" in fail(*words, "--video-column=nope")
    chosen = ("--video-column=movie", "--caption-column=gpt", "--caption-column=blip")
    succeed(*words, *chosen)
    videos = read_dataset(tmp_path / "out").videos
    assert [v.captions for v in videos] == [("one a", "two"), ("one b", "two")]
    said = fail("prepare", "folder", f"--source={tmp_path}", "--video-column=clip")
    assert "--video-column is for captions, and has no effect on folder" in said
    table.unlink()
    (tmp_path / "a.txt").write_text("x")
    assert "have no effect" in fail("prepare", "captions", f"--source={tmp_path}", *chosen)
    with pytest.raises(ConfigError):
        captions.find(tmp_path, ColumnChoice("clip"))


def test_a_table_of_parquet_is_taken_for_captions(tmp_path):
    table = written(tmp_path, "t.parquet", [{"video": "a.mp4", "caption": "x"}])
    assert f"prepare captions --source {table}" in " ".join(invoke("prepare", table).stderr.split())
