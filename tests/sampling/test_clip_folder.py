"""A folder of clips: which settings are the same, and which must not mix."""

import json

import numpy as np
import pytest

from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import read_json_lines, sha256_of
from latte_cli.sampling.clip_folder import SETTINGS, ClipEntry, ClipFolder
from latte_cli.sampling.clip_stack import write_stack

ENTRIES = [ClipEntry(f"{i:05d}-seed0", {"index": i, "seed": 0}) for i in range(2)]
CLIP = np.full((2, 16, 16, 3), 90, np.uint8)
PLAIN = {"steps": 3, "cache": None}
LONG = {"frames": 64, "window": 16, "overlap": 8, "method": "window"}

# As `latte t2v` writes it.
TOLD = {
    "model": "latte-1",
    "weights_sha256": "a1",
    "vae_sha256": "b2",
    "scheduler_sha256": "c3",
    "text_encoder_fingerprint": "d4",
    "steps": 3,
    "precision": "bfloat16",
}


def folder(path, settings, fmt="gif", **options):
    return ClipFolder(path, ENTRIES, settings, fmt, 8.0, **options)


def begun(path, settings, fmt="gif", **options):
    """A folder with the first of two clips."""
    made = folder(path, settings, fmt, **options)
    made.begin()
    made.write(ENTRIES[0], CLIP)
    return made


def refused(path, settings, fmt="gif", **options):
    """What is told of a folder that holds other clips."""
    with pytest.raises(DataError) as caught:
        folder(path, settings, fmt, **options)
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize(
    "more", [{"long": LONG}, {"image_sha256": "a1"}, {"long": LONG, "image_sha256": "a1"}]
)
def test_what_is_set_in_one_run_alone_is_a_difference_either_way(tmp_path, more):
    begun(tmp_path / "more", {**PLAIN, **more})
    said = refused(tmp_path / "more", PLAIN)
    assert all(f"{key} was {value}" in said for key, value in more.items())
    begun(tmp_path / "plain", PLAIN)
    said = refused(tmp_path / "plain", {**PLAIN, **more})
    assert all(f"{key} was None" in said for key in more)
    assert folder(tmp_path / "more", {**PLAIN, **more}).missing() == ENTRIES[1:]


def test_a_stack_tells_what_it_was_drawn_with_to_runs_without_it(tmp_path):
    stack = tmp_path / "clips.npz"
    made = begun(tmp_path / "parts", {**PLAIN, "long": LONG}, "npz", stack=stack)
    made.write(ENTRIES[1], CLIP)
    left = tmp_path / "parts"
    assert f"{left} holds clips drawn with other settings: long was" in refused(
        left, PLAIN, "npz", stack=stack
    )
    made.finish()
    assert f"{stack} holds clips drawn with other settings: long was" in refused(
        left, PLAIN, "npz", stack=stack
    )


def test_what_is_none_is_as_if_it_were_not_told(tmp_path):
    begun(tmp_path, {**PLAIN, "long": None})
    assert folder(tmp_path, {**PLAIN, "image_sha256": None}).missing() == ENTRIES[1:]


def test_the_name_of_a_model_is_told_but_its_weights_are_compared(tmp_path):
    begun(tmp_path, TOLD)
    assert folder(tmp_path, {**TOLD, "model": "./latte-1"}).missing() == ENTRIES[1:]
    assert json.loads((tmp_path / SETTINGS).read_text())["model"] == "latte-1"
    for key in (key for key in TOLD if key not in ("model", "steps")):
        assert f"{key} was {TOLD[key]}" in refused(tmp_path, {**TOLD, key: "other"})


def test_clips_of_which_the_weights_are_not_told_are_not_gone_on_with(tmp_path):
    begun(tmp_path, {key: value for key, value in TOLD.items() if key != "weights_sha256"})
    assert "weights_sha256 was None" in refused(tmp_path, TOLD)


def text_entries(*prompts):
    return [ClipEntry(f"{i:05d}-seed0", {"index": i, "prompt": p}) for i, p in enumerate(prompts)]


def old_stack(path, entries):
    """An npz file that does not tell what its clips were drawn from."""
    write_stack(
        path,
        [CLIP] * len(entries),
        [e.name for e in entries],
        [e.about for e in entries],
        {**PLAIN, "format": "npz"},
    )
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays.files if name != "abouts"}
    np.savez(path, **kept)


def test_a_stack_that_tells_no_prompts_is_gone_on_with_only_where_names_tell_all(tmp_path):
    stack = tmp_path / "clips.npz"
    old_stack(stack, ENTRIES[:1])
    assert folder(tmp_path / "parts", PLAIN, "npz", stack=stack).missing() == ENTRIES[1:]
    texts = text_entries("a dog", "the sea")
    old_stack(stack, texts[:1])
    with pytest.raises(DataError, match="prompt of 00000-seed0 is not told"):
        ClipFolder(tmp_path / "parts", texts, PLAIN, "npz", 8.0, stack=stack)


def test_the_list_of_a_folder_tells_the_prompts_that_its_old_stack_does_not(tmp_path):
    texts = text_entries("a dog", "the sea")
    made = ClipFolder(tmp_path, texts, PLAIN, "npz", 8.0)
    made.begin()
    for entry in texts:
        made.write(entry, CLIP)
    made.finish()
    old_stack(made.stack, texts)
    assert ClipFolder(tmp_path, texts, PLAIN, "npz", 8.0).missing() == []
    with pytest.raises(DataError, match="prompt of 00001-seed0 was the sea"):
        ClipFolder(tmp_path, text_entries("a dog", "a car"), PLAIN, "npz", 8.0)


def finished(path, fmt="gif"):
    made = begun(path, PLAIN, fmt)
    made.write(ENTRIES[1], CLIP)
    made.finish()
    return folder(path, PLAIN, fmt)


def test_a_file_that_is_not_what_the_list_tells_is_missing_until_it_is_drawn_anew(tmp_path):
    assert finished(tmp_path).missing() == []
    first, second = finished(tmp_path).paths
    second.write_bytes(second.read_bytes()[:-1] + b"?")
    made = folder(tmp_path, PLAIN)
    assert (made.missing(), made.damaged) == (ENTRIES[1:], (ENTRIES[1].name,))
    made.begin()
    # Other bytes than the list told: written elsewhere, or by another version of a library.
    made.write(ENTRIES[1], CLIP // 2)
    assert made.missing() == []
    assert folder(tmp_path, PLAIN).missing() == [], "whoever comes later does not draw it again"
    made.finish()
    told = [row["sha256"] for row in read_json_lines(tmp_path / "samples.jsonl")]
    assert told == [sha256_of(first), sha256_of(second)]


def test_an_empty_file_is_missing_whatever_is_told_of_it(tmp_path):
    made = begun(tmp_path / "begun", PLAIN)
    made.paths[0].write_bytes(b"")
    assert folder(tmp_path / "begun", PLAIN).missing() == ENTRIES
    made = finished(tmp_path / "finished")
    made.paths[0].write_bytes(b"")
    made.finish()  # as versions before did, which took it for whole
    assert folder(tmp_path / "finished", PLAIN).missing() == ENTRIES[:1]


def test_a_file_of_which_nothing_is_told_is_left_alone(tmp_path):
    made = begun(tmp_path, PLAIN)
    made.paths[0].write_bytes(b"not ours")
    (tmp_path / "notes.txt").touch()  # not even a clip
    made = folder(tmp_path, PLAIN)
    assert (made.missing(), made.damaged) == (ENTRIES[1:], ())


@pytest.mark.parametrize("hurt", ["emptied", "lost", "changed", "more"])
def test_a_folder_of_pictures_that_is_not_whole_is_missing(tmp_path, hurt):
    made = finished(tmp_path, "png")
    pictures = sorted(made.paths[0].glob("*.png"))
    for picture in pictures if hurt == "emptied" else pictures[:1]:
        if hurt in ("emptied", "lost"):
            picture.unlink()
        elif hurt == "changed":
            picture.write_bytes(b"x")
        else:
            picture.with_name("00099.png").write_bytes(picture.read_bytes())
    made = folder(tmp_path, PLAIN, "png")
    assert made.missing() == ENTRIES[:1]
    made.write(ENTRIES[0], CLIP)
    assert made.missing() == []
    made.finish()
    assert folder(tmp_path, PLAIN, "png").missing() == []


def test_hidden_files_that_a_desktop_leaves_among_pictures_are_no_damage(tmp_path):
    (finished(tmp_path, "png").paths[0] / ".DS_Store").touch()
    assert folder(tmp_path, PLAIN, "png").missing() == []


def test_what_is_to_be_drawn_is_off_the_list_until_it_is_there(tmp_path):
    """Else a clip drawn anew by a run that was interrupted would be taken for damaged."""
    finished(tmp_path).paths[1].unlink()
    folder(tmp_path, PLAIN).begin()
    assert [row["name"] for row in read_json_lines(tmp_path / "samples.jsonl")] == ["00000-seed0"]
