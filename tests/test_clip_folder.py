"""A folder of clips: which settings are the same, and which must not mix."""

import json

import numpy as np
import pytest

from latte_cli.clip_folder import SETTINGS, ClipEntry, ClipFolder
from latte_cli.errors import DataError

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
    made.finish()
    assert "long was" in refused(tmp_path / "parts", PLAIN, "npz", stack=stack)


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
