"""A folder of clips: which runs may share it, damaged files, its lists."""

import json

import numpy as np
import pytest

from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import read_json_lines, sha256_of
from latte_cli.sampling.clip_folder import ClipEntry, ClipFolder
from latte_cli.sampling.clip_list import SETTINGS
from latte_cli.sampling.clip_stack import write_stack

ENTRIES = [ClipEntry(f"{i:05d}-seed0", {"index": i, "seed": 0}) for i in range(2)]
CLIP = np.full((2, 16, 16, 3), 90, np.uint8)
PLAIN = {"steps": 3, "cache": None}
LONG = {"frames": 64, "window": 16, "overlap": 8, "method": "window"}

# As `latte t2v` writes it.
T2V_SETTINGS = {
    "model": "latte-1",
    "weights_sha256": "a1",
    "vae_sha256": "b2",
    "scheduler_sha256": "c3",
    "text_encoder_fingerprint": "d4",
    "steps": 3,
    "precision": "bfloat16",
}


def open_folder(path, settings, fmt="gif", **options):
    return ClipFolder(path, ENTRIES, settings, fmt, 8.0, **options)


def begin(path, settings, fmt="gif", **options):
    """A folder with the first of two clips."""
    folder = open_folder(path, settings, fmt, **options)
    folder.begin()
    folder.write(ENTRIES[0], CLIP)
    return folder


def error_of(path, settings, fmt="gif", **options):
    """The message on a folder that holds other clips."""
    with pytest.raises(DataError) as caught:
        open_folder(path, settings, fmt, **options)
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize(
    ("more", "then", "now"),
    [
        ({"long": LONG}, "long frames 64, window 16", "long none against frames 64"),
        ({"image_sha256": "a1"}, "--image against none", "--image now, none then"),
        ({"eta": 0.5}, "eta 0.5 against none", "eta none against 0.5"),
    ],
)
def test_a_setting_of_only_one_run_is_a_difference_either_way(tmp_path, more, then, now):
    begin(tmp_path / "more", {**PLAIN, **more})
    assert then in error_of(tmp_path / "more", PLAIN)
    begin(tmp_path / "plain", PLAIN)
    assert now in error_of(tmp_path / "plain", {**PLAIN, **more})
    assert open_folder(tmp_path / "more", {**PLAIN, **more}).missing() == ENTRIES[1:]


def test_a_stack_records_its_settings(tmp_path):
    stack = tmp_path / "clips.npz"
    folder = begin(tmp_path / "parts", {**PLAIN, "long": LONG}, "npz", stack=stack)
    folder.write(ENTRIES[1], CLIP)
    left = tmp_path / "parts"
    assert f"{stack} holds clips sampled with other settings: long frames" in error_of(
        left, PLAIN, "npz", stack=stack
    )
    folder.finish()
    assert f"{stack} holds clips sampled with other settings: long frames" in error_of(
        left, PLAIN, "npz", stack=stack
    )


def test_a_setting_of_none_equals_a_missing_one(tmp_path):
    begin(tmp_path, {**PLAIN, "long": None})
    assert open_folder(tmp_path, {**PLAIN, "image_sha256": None}).missing() == ENTRIES[1:]


def test_models_are_compared_by_weights_not_by_name(tmp_path):
    begin(tmp_path, T2V_SETTINGS)
    assert open_folder(tmp_path, {**T2V_SETTINGS, "model": "./latte-1"}).missing() == ENTRIES[1:]
    assert json.loads((tmp_path / SETTINGS).read_text())["model"] == "latte-1"
    for key, said in {
        "weights_sha256": "other weights against those of latte-1 as they are now",
        "vae_sha256": "another autoencoder",
        "scheduler_sha256": "other settings of the scheduler",
        "text_encoder_fingerprint": "another text encoder",
        "precision": "precision bfloat16 against other",
    }.items():
        assert error_of(tmp_path, {**T2V_SETTINGS, key: "other"}).endswith(f"settings: {said}")


def test_clips_without_a_checksum_of_the_weights_are_of_another_run(tmp_path):
    begin(tmp_path, {key: value for key, value in T2V_SETTINGS.items() if key != "weights_sha256"})
    assert "other weights" in error_of(tmp_path, T2V_SETTINGS)


def text_entries(*prompts):
    return [ClipEntry(f"{i:05d}-seed0", {"index": i, "prompt": p}) for i, p in enumerate(prompts)]


def old_stack(path, entries):
    """An npz file without the metadata of its clips, as of earlier versions."""
    write_stack(
        path,
        [CLIP] * len(entries),
        [e.name for e in entries],
        [e.metadata for e in entries],
        {**PLAIN, "format": "npz"},
    )
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays.files if name != "abouts"}
    np.savez(path, **kept)


def test_an_old_stack_is_continued_unless_its_clips_have_prompts(tmp_path):
    stack = tmp_path / "clips.npz"
    old_stack(stack, ENTRIES[:1])
    assert open_folder(tmp_path / "parts", PLAIN, "npz", stack=stack).missing() == ENTRIES[1:]
    texts = text_entries("a dog", "the sea")
    old_stack(stack, texts[:1])
    with pytest.raises(DataError, match="prompt of 00000-seed0 is not recorded"):
        ClipFolder(tmp_path / "parts", texts, PLAIN, "npz", 8.0, stack=stack)


def test_prompts_of_an_old_stack_are_read_from_samples_jsonl(tmp_path):
    texts = text_entries("a dog", "the sea")
    folder = ClipFolder(tmp_path, texts, PLAIN, "npz", 8.0)
    folder.begin()
    for entry in texts:
        folder.write(entry, CLIP)
    folder.finish()
    old_stack(folder.stack, texts)
    assert ClipFolder(tmp_path, texts, PLAIN, "npz", 8.0).missing() == []
    with pytest.raises(DataError, match="00001-seed0 has prompt `the sea` against `a car`"):
        ClipFolder(tmp_path, text_entries("a dog", "a car"), PLAIN, "npz", 8.0)


def finished(path, fmt="gif"):
    folder = begin(path, PLAIN, fmt)
    folder.write(ENTRIES[1], CLIP)
    folder.finish()
    return open_folder(path, PLAIN, fmt)


def test_a_file_that_is_not_as_listed_is_missing_until_sampled_again(tmp_path):
    assert finished(tmp_path).missing() == []
    first, second = finished(tmp_path).paths
    second.write_bytes(second.read_bytes()[:-1] + b"?")
    folder = open_folder(tmp_path, PLAIN)
    assert (folder.missing(), folder.damaged) == (ENTRIES[1:], (ENTRIES[1].name,))
    folder.begin()
    # Other bytes than listed, as another version of a library may write.
    folder.write(ENTRIES[1], CLIP // 2)
    assert folder.missing() == []
    assert open_folder(tmp_path, PLAIN).missing() == [], "later processes do not sample it again"
    folder.finish()
    listed = [row["sha256"] for row in read_json_lines(tmp_path / "samples.jsonl")]
    assert listed == [sha256_of(first), sha256_of(second)]


def test_an_empty_file_is_missing_listed_or_not(tmp_path):
    folder = begin(tmp_path / "begun", PLAIN)
    folder.paths[0].write_bytes(b"")
    assert open_folder(tmp_path / "begun", PLAIN).missing() == ENTRIES
    folder = finished(tmp_path / "finished")
    folder.paths[0].write_bytes(b"")
    folder.finish()  # as earlier versions did
    assert open_folder(tmp_path / "finished", PLAIN).missing() == ENTRIES[:1]


def test_a_file_that_is_not_listed_is_kept(tmp_path):
    folder = begin(tmp_path, PLAIN)
    folder.paths[0].write_bytes(b"not ours")
    (tmp_path / "notes.txt").touch()  # not even a clip
    folder = open_folder(tmp_path, PLAIN)
    assert (folder.missing(), folder.damaged) == (ENTRIES[1:], ())


@pytest.mark.parametrize("hurt", ["emptied", "lost", "changed", "more"])
def test_a_damaged_folder_of_pictures_is_missing(tmp_path, hurt):
    folder = finished(tmp_path, "png")
    pictures = sorted(folder.paths[0].glob("*.png"))
    for picture in pictures if hurt == "emptied" else pictures[:1]:
        if hurt in ("emptied", "lost"):
            picture.unlink()
        elif hurt == "changed":
            picture.write_bytes(b"x")
        else:
            picture.with_name("00099.png").write_bytes(picture.read_bytes())
    folder = open_folder(tmp_path, PLAIN, "png")
    assert folder.missing() == ENTRIES[:1]
    folder.write(ENTRIES[0], CLIP)
    assert folder.missing() == []
    folder.finish()
    assert open_folder(tmp_path, PLAIN, "png").missing() == []


def test_hidden_files_among_pictures_are_no_damage(tmp_path):
    (finished(tmp_path, "png").paths[0] / ".DS_Store").touch()
    assert open_folder(tmp_path, PLAIN, "png").missing() == []


def test_missing_clips_are_removed_from_the_list(tmp_path):
    """Otherwise a clip that an interrupted run sampled again would be found damaged."""
    finished(tmp_path).paths[1].unlink()
    open_folder(tmp_path, PLAIN).begin()
    assert [row["name"] for row in read_json_lines(tmp_path / "samples.jsonl")] == ["00000-seed0"]


def test_clips_of_two_qualities_do_not_mix(tmp_path):
    """Versions before the published quality wrote crf 17, and did not record it."""
    begin(tmp_path / "s", PLAIN, "mp4")
    settings = json.loads((tmp_path / "s" / SETTINGS).read_text())
    assert (settings["codec"], settings["crf"]) == ("libx264 yuv420p", 5)
    assert open_folder(tmp_path / "s", PLAIN, "mp4").missing() == ENTRIES[1:]
    old = {key: value for key, value in settings.items() if key not in ("codec", "crf")}
    (tmp_path / "s" / SETTINGS).write_text(json.dumps(old))
    said = error_of(tmp_path / "s", PLAIN, "mp4")
    assert said.endswith("sampled with other settings: crf 17 against 5")
