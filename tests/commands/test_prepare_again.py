"""`latte prepare` on an existing data set, and with unusual names."""

import json
import os
import shlex

from conftest import fail, invoke, succeed

from latte_cli.data.manifest import read_dataset
from latte_cli.sources import shapes
from latte_cli.video_io import write_video


def write_clips(folder, *numbers):
    for number in numbers:
        write_video(folder / f"{number}.mp4", shapes.render_clip(number, num_frames=4), 8)


def prepare(*words):
    """The result, and the messages on one line."""
    done = succeed("--json", "prepare", "folder", *words)
    return json.loads(done.stdout), " ".join(done.stderr.split())


def test_a_class_whose_name_is_not_utf8_is_escaped(tmp_path):
    write_clips(tmp_path / "in" / "cat", 0)
    (tmp_path / "in" / os.fsdecode(b"\xff")).mkdir()
    (tmp_path / "in" / os.fsdecode(b"\xff") / "1.mp4").touch()
    shown, _ = prepare("--source=in", "--labels", "--out=d")
    assert (shown["accepted"], shown["rejected"]) == (1, 1)
    assert read_dataset(tmp_path / "d").classes == ("cat", r"\udcff")


def test_output_of_other_commands_is_not_a_source(tmp_path):
    write_clips(tmp_path, 0)
    assert prepare("--source=.")[0]["accepted"] == 1
    succeed("encode-latents", "--preset=folder", "--size=32", "--preview=1")
    shown, said = prepare("--source=.")
    assert shown["accepted"] == 1
    assert "latents/folder-32-embedded/previews: made by latte itself, skipped" in said


def test_an_empty_source_is_not_the_current_folder(tmp_path):
    write_clips(tmp_path, 0)
    refused = invoke("prepare", "folder", "--source=")
    assert refused.exit_code == 2
    assert "is empty" in refused.stderr
    assert not (tmp_path / "data").exists()


def test_videos_lost_from_the_manifest_are_reported_with_both_sources(tmp_path):
    write_clips(tmp_path / "s1", 0, 1)
    write_clips(tmp_path / "s2", 2)
    assert "no longer" not in prepare("--source=s1", "--out=d")[1]
    assert "no longer" not in prepare("--source=s1", "--out=d")[1]
    _, said = prepare("--source=s2", "--out=d")
    lost = "d: 2 earlier videos are no longer in the manifest"
    assert f"{lost}; it was made from {tmp_path}/s1, now from {tmp_path}/s2" in said
    write_clips(tmp_path / "s2", 3)
    assert "no longer" not in prepare("--source=s2", "--out=d")[1], "more of them are no loss"
    (tmp_path / "s2" / "2.mp4").unlink()
    _, said = prepare("--source=s2", "--out=d")
    assert "1 earlier video is no longer in the manifest d holds 1 video." in said


def test_lost_videos_of_an_older_manifest_are_reported(tmp_path):
    """Its metadata name no source; a damaged line counts as none."""
    write_clips(tmp_path / "s1", 0)
    prepare("--source=s1", "--out=d")
    (tmp_path / "d" / "meta.json").write_text('{"classes": []}\n')
    with (tmp_path / "d" / "manifest.jsonl").open("a") as manifest:
        manifest.write('{"path": \n{"path": "/gone.mp4"}\n')
    _, said = prepare("--source=s1", "--out=d")
    assert "d: 1 earlier video is no longer in the manifest" in said
    assert "made from" not in said


def test_the_training_command_is_printed_for_latents_in_another_folder(tmp_path):
    write_clips(tmp_path / "in", 0)
    prepare("--source=in", "--out=data/my own")
    encode = ("encode-latents", "--preset=folder", "--size=32", "--no-flip")
    _, words = succeed(*encode, "--data=data/my own").stderr.split("  latte ")
    assert words == (
        "train --preset folder -o 'data.root=data/my own' -o data.size=32 -o data.flip=false\n"
    )
    assert "as long as a clip" in fail(*shlex.split(words)), "the latents are found"
    _, words = succeed(*encode, "--data=data/my own", "--out=l").stderr.split("  latte ")
    assert words.endswith("-o data.flip=false -o data.latents=l\n")
    assert "as long as a clip" in fail(*shlex.split(words))


def test_the_training_command_needs_no_values_for_latents_in_the_default_folder(tmp_path):
    write_clips(tmp_path / "in", 0)
    prepare("--source=in")
    encode = ("encode-latents", "--preset=folder")
    for more in ((), ("--data=data/folder",), ("--out=latents/folder-64-embedded",)):
        assert succeed(*encode, *more).stderr.endswith("  latte train --preset folder\n")


def test_files_that_are_left_out_are_reported(tmp_path):
    write_clips(tmp_path / "in", 0)
    for name in ("a.m5p", "b.M5P", "notes.txt", "more.zip"):
        (tmp_path / "in" / name).touch()
    shown, _ = prepare("--source=in")
    assert shown["left_out"] == {".m5p": 2, ".txt": 1, ".zip": 1}
