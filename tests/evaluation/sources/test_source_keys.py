"""Keys of clips, and labels of arrays that do not fit."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.eval_data import QUIET, frame_folders, mp4_folder, npz_file, prepared, small

from latte_cli.evaluation.protocol import protocol_from
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.runtime.errors import DataError

UNPACKED = (1_700_000_000, 1_700_000_000)
"""Times as archives leave them, to the second."""


def opened(path):
    config = small()
    return open_source(path, protocol_from(config), config, path.parent / "seen", QUIET)


def keys(path):
    return [video.key for video in opened(path).videos]


@pytest.mark.parametrize("make", [npz_file, mp4_folder, frame_folders])
def test_clips_of_two_folders_have_different_keys(tmp_path, make):
    """Names, sizes and times may all be the same where archives were unpacked."""
    name = "f.npz" if make is npz_file else "f"
    first, second = tmp_path / "a" / name, tmp_path / "b" / name
    first.parent.mkdir()
    make(first, 3)
    shutil.copytree(first.parent, second.parent)
    for path in (*first.parent.rglob("*"), *second.parent.rglob("*")):
        os.utime(path, UNPACKED)
    assert len(set(keys(first)) | set(keys(second))) == 6
    assert keys(first) == keys(first)


@pytest.mark.parametrize("make", [npz_file, mp4_folder])
def test_keys_do_not_depend_on_the_path_that_leads_to_a_file(tmp_path, monkeypatch, make):
    name, link = ("f.npz", "g.npz") if make is npz_file else ("f", "g")
    make(tmp_path / name, 2)
    (tmp_path / link).symlink_to(name)
    monkeypatch.chdir(tmp_path)
    assert keys(tmp_path / name) == keys(Path(link))


def test_a_replaced_array_has_other_keys(tmp_path):
    """An array that is not packed is of one size, whatever it holds."""
    path, found = tmp_path / "f.npz", []
    for seed in (0, 1):
        npz_file(path, 3, seed=seed)
        os.utime(path, UNPACKED)
        found += keys(path)
    assert len(set(found)) == 6


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array(["cat"] * 6), r"`labels` is <U3 of shape \(6,\)"),
        (np.arange(5), r"`labels` is int64 of shape \(5,\)"),
        (np.zeros((6, 1), int), r"of shape \(6, 1\)"),
        (np.zeros(6), "`labels` is float64"),
        (np.int64(3), r"of shape \(\)"),
    ],
)
def test_labels_that_do_not_fit_the_clips_are_an_error(tmp_path, labels, message):
    np.savez(tmp_path / "f.npz", clips=np.zeros((6, 4, 32, 32, 3), np.uint8), labels=labels)
    with pytest.raises(DataError, match=message) as refusal:
        opened(tmp_path / "f.npz")
    assert "a whole number for each of the 6 clips" in refusal.value.hint


def test_a_changed_mask_changes_the_key(tmp_path):
    manifest = prepared(tmp_path / "faces", 3) / "manifest.jsonl"
    first, *_ = manifest.read_text().splitlines()
    manifest.write_text(json.dumps({**json.loads(first), "mask": "mask.mp4"}))
    mask = tmp_path / "faces/mask.mp4"
    mask.write_bytes(b"one mask")
    os.utime(mask, UNPACKED)
    before = keys(manifest.parent)
    assert before == keys(manifest.parent)
    mask.write_bytes(b"another!")
    assert before != keys(manifest.parent)
