"""Videos, data sets and latents that lie in a bucket: prepared and encoded as on the local disk."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import fail, succeed, tiny
from helpers.runs import curve
from helpers.stub_s3 import URL, empty, running_s3


@pytest.fixture(scope="module")
def server():
    with running_s3() as running:
        yield running


@pytest.fixture
def s3(server, tmp_path, monkeypatch):
    return empty(server, tmp_path, monkeypatch)


def same_losses(one: str, other: str) -> bool:
    return [row["loss"] for row in curve(one)] == [row["loss"] for row in curve(other)]


def test_everything_in_a_bucket_gives_the_losses_of_the_disk(world, s3, tmp_path, monkeypatch):
    """And another machine, whose cache is empty, goes on from what lies in the bucket."""
    videos = s3.put(world.root / "data" / "shapes" / "videos", "videos")
    few = ["--preset=shapes", "-o", "data.size=32", "-o", "data.split=all"]
    roots = [f"--data-root={URL}/data", f"--latents-root={URL}/latents"]
    succeed("prepare", "folder", f"--source={videos}", roots[0])
    manifest = s3.files("data/folder")["manifest.jsonl"].decode().splitlines()
    assert len(manifest) == 16
    assert json.loads(manifest[0])["path"].startswith(f"{videos}/")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    words = [*few, "-o", f"data.root={URL}/data/folder"]
    succeed("encode-latents", *words, roots[1])
    names = s3.files("latents/folder-32-embedded")
    assert {"meta.json", "index.jsonl"} < names.keys()
    assert sum(name.endswith(".safetensors") for name in names) == 1

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a third machine"))
    values = tiny(data__split="all", model__condition="none", model__num_classes="null")
    succeed("train", *words, *values, roots[1])
    shutil.copytree(world.root / "data" / "shapes" / "videos", "videos")
    succeed("prepare", "folder", "--source=videos", "--out=data/here")
    here = [*few, "-o", "data.root=data/here"]
    succeed("encode-latents", *here)
    succeed("train", *here, *values, "--run=here")
    assert same_losses("runs/shapes", "runs/here")


def test_a_second_prepare_fetches_what_has_changed(world, s3):
    videos = s3.put(world.root / "data" / "shapes" / "videos", "videos")
    succeed("prepare", "folder", f"--source={videos}", "--out=data")
    s3.asked.clear()
    result = succeed("prepare", "folder", f"--source={videos}", "--out=data")
    assert "16 of 16 videos were checked before" in result.stderr
    assert not s3.reads(".mp4")


def test_videos_that_the_cache_may_not_hold_are_refused_before_any_is_fetched(
    world, s3, monkeypatch
):
    videos = s3.put(world.root / "data" / "shapes" / "videos", "videos")
    monkeypatch.setenv("LATTE_CACHE_GB", "0.00001")
    said = fail("prepare", "folder", f"--source={videos}", "--out=data")
    assert "more than the cache may hold" in said
    assert "LATTE_CACHE_GB=1 allows it" in said
    assert not s3.reads(".mp4")
    assert not Path("data").exists()


def test_a_source_without_files_is_named(s3):
    said = fail("prepare", "folder", f"--source={URL}/nothing", "--out=data")
    assert f"{URL}/nothing: nothing is there" in said


def test_latents_that_another_machine_encoded_are_not_encoded_again(
    world, s3, tmp_path, monkeypatch
):
    root = s3.put(world.root / "latents", "latents")
    words = ["--preset=shapes", "--size=32", f"--data={world.root / 'data' / 'shapes'}"]
    said = fail("encode-latents", *words, f"--latents-root={root}")
    assert "holds 1 shards that this machine has not encoded" in said


def test_a_url_where_only_a_path_is_taken_is_refused():
    said = fail("sample", "--preset=shapes", "--out=s3://bucket/clips")
    assert "s3://bucket/clips: a URL, where a path is needed" in said
    assert not Path("s3:").exists()
