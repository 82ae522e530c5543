"""`latte init`: a preset from a base, from what `prepare` found, and for the memory at hand."""

import json
import shlex
from pathlib import Path

import pytest
from conftest import fail, succeed, tiny

from latte_cli.commands import init
from latte_cli.config import load_config
from latte_cli.data.manifest import VideoRecord, write_dataset
from latte_cli.training.planning.measurement import Measurement


@pytest.fixture(autouse=True)
def memory(monkeypatch):
    """Of each machine: 100 bytes, of which a step takes 10 and each clip 10 more."""

    def measured(*_):
        return Measurement("2026-01-01T00:00:00+00:00", 1, 1, 1.0, 1.0, [(0, 10), (1, 20)])

    monkeypatch.setattr(init, "read_measurement", lambda _: None)
    monkeypatch.setattr(init, "measure_memory", measured)
    monkeypatch.setattr(init, "memory_limit", lambda _: 1000)


def prepared(name="cats", labels=(0, 1), classes=("big", "small"), **values):
    """A prepared data set of a few videos that are not there."""
    given = {"frames": 40, "fps": 25.0, "width": 320, "height": 240} | values
    videos = [
        VideoRecord(
            path=f"{n}.mp4", label=label, caption=None, split="train", bytes=1, sha256="0" * 64,
            **given,
        )
        for n, label in enumerate(labels)
    ]  # fmt: skip
    write_dataset(Path("data") / name, videos, [], classes)


def written(*words):
    """The preset that is written, and its text without line breaks."""
    shown = json.loads(succeed("--json", "init", *words).stdout)
    text = Path(shown["out"]).read_text()
    return load_config(shown["out"]), " ".join(text.replace("#", "").split())


def test_it_takes_classes_rate_and_names_from_the_data_set():
    prepared()
    config, text = written()
    assert (config.name, config.data.names) == ("cats", ("cats",))
    assert (config.model.condition, config.model.num_classes) == ("class", 2)
    assert (config.data.size, config.data.frames, config.data.interval) == (64, 16, 1)
    assert config.sample.fps == 25
    base = load_config("folder")
    assert config.model.model_dump(exclude={"condition", "num_classes"}) == base.model.model_dump(
        exclude={"condition", "num_classes"}
    )
    assert "base: folder" in text
    for words in ("2 videos of 320 x 240 at 25 fps, 2 classes", "big, small", "320 x 240"):
        assert words in text


@pytest.mark.parametrize(
    ("video", "size", "frames"),
    [
        ({"width": 56, "height": 200}, 48, 16),
        ({"width": 9, "height": 9}, 16, 16),
        ({"frames": 9}, 64, 9),
        ({"frames": 1}, 64, 1),
    ],
)
def test_small_and_short_videos_are_neither_enlarged_nor_left_out(video, size, frames):
    prepared(**video)
    config, _ = written()
    assert (config.data.size, config.data.frames) == (size, frames)


def test_a_clip_is_taken_at_a_smaller_interval_before_it_loses_frames():
    prepared("ucf101", frames=20)
    config, _ = written("mine", "--base=ucf101")
    assert (config.data.frames, config.data.interval, config.sample.fps) == (16, 1, 25)


def test_videos_without_labels_make_an_unconditional_network_of_any_base():
    prepared("ucf101", labels=(0, None))
    config, text = written()
    assert config.name == "my-ucf101"
    assert (config.model.condition, config.model.num_classes) == ("none", None)
    assert "not every video has a label" in text
    assert "base: ucf101" in text


@pytest.mark.parametrize(
    ("limit", "accumulate", "said"),
    [
        (1000, 1, "91 clips fit into"),
        (100, 2, "8 clips fit into"),
        (60, 4, "4 clips fit into"),
        (11, 16, "not one clip fits into"),
    ],
)
def test_the_batch_is_split_until_it_fits_into_memory(monkeypatch, limit, accumulate, said):
    monkeypatch.setattr(init, "memory_limit", lambda _: limit)
    config, text = written("cats")
    assert (config.train.batch_size, config.train.accumulate) == (16, accumulate)
    assert said in text


def test_overrides_win_over_what_is_found():
    prepared()
    config, _ = written("-o", "data.size=32", "-o", "model.num_classes=7", "-o", "train.lr=0.5")
    assert (config.data.size, config.model.num_classes, config.train.lr) == (32, 7, 0.5)


def test_without_a_data_set_the_first_command_prepares_it():
    result = succeed("init", "cats")
    assert "latte prepare folder --source VIDEOS --out data/cats" in result.stderr
    assert load_config("cats").data.names == ("cats",)


def test_a_file_that_is_there_is_kept_and_names_that_ship_are_refused():
    succeed("init", "cats")
    before = Path("cats.yaml").read_bytes()
    said = fail("init", "cats")
    assert "cats.yaml is there already" in said
    assert "latte init cats --out cats-2.yaml" in said
    assert Path("cats.yaml").read_bytes() == before
    succeed("init", "cats", "--overwrite", "-o", "train.lr=0.5")
    assert load_config("cats").train.lr == 0.5
    said = fail("init", "folder")
    assert "`folder` is a preset that ships" in said
    assert "my-folder" in said
    assert "`a b` is not a name" in fail("init", "a b")
    assert not Path("folder.yaml").exists()


def test_a_base_of_ones_own_is_found_from_where_the_file_is():
    Path("mine.yaml").write_text("base: folder\ntrain: {steps: 77}\n")
    for words in (("a", "--base=mine"), ("b", "--base=mine.yaml", "--out=deep/b.yaml")):
        assert written(*words)[0].train.steps == 77
    assert "base: mine" in Path("a.yaml").read_text()
    assert "base: ../mine.yaml" in Path("deep/b.yaml").read_text()


def test_of_several_data_sets_one_must_be_named():
    prepared("cats")
    prepared("dogs")
    said = fail("init", "mine")
    assert "several prepared data sets: cats, dogs" in said
    assert "--data data/cats" in said
    assert written("mine", "--data=data/dogs")[0].data.names == ("dogs",)
    assert written("dogs")[0].data.names == ("dogs",)
    assert "no prepared data set here" in fail("init", "mice", "--data=data/mice")


def test_the_commands_that_it_prints_run_as_they_are():
    succeed("prepare", "shapes", "--count=8", "--size=32", "--out=data/mine")
    said = succeed("init", "mine", "--base=shapes", *tiny(train__steps=2)).stderr
    commands = [line.strip() for line in said.splitlines() if line.strip().startswith("latte ")]
    assert [shlex.split(line)[1] for line in commands] == ["encode-latents", "train", "sample"]
    for line in commands:
        succeed(*shlex.split(line)[1:])
    assert Path("runs/mine").is_dir()
    assert len(list(Path("samples/mine").rglob("*.mp4"))) == 8
    said = succeed("init", "mine", "--base=shapes", "--overwrite", *tiny()).stderr
    assert "latte train -p mine --plan" in said
    assert "encode-latents" not in said
