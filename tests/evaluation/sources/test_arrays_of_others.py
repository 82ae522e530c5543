"""Arrays of clips as other programs write them."""

import zipfile

import numpy as np
import pytest
from helpers.eval_data import QUIET, SIZE, shapes_clip, small

from latte_cli.evaluation.protocol import protocol_from
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.evaluation.sources.videos import ReadRequest
from latte_cli.runtime.errors import DataError

CLIPS = np.stack([shapes_clip(index, 6) for index in range(5)])
LABELS = np.arange(5) % 2


def opened(path):
    config = small()
    return open_source(path, protocol_from(config), config, path.parent / "seen", QUIET)


def read(path, chosen=slice(None)):
    source = opened(path)
    requests = [ReadRequest(video, (range(1, 6, 2),)) for video in source.videos[chosen]]
    return [each.clips[0] for each in source.read(requests)]


def check(path, chosen=slice(None)):
    found = read(path, chosen)
    assert all(clip.flags.c_contiguous for clip in found)
    assert np.array_equal(np.stack(found), CLIPS[chosen, 1:6:2])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", ["clips", "arr_0", "videos"])
def test_names_and_orders(tmp_path, save, order, name):
    save(tmp_path / "a.npz", **{name: np.asarray(CLIPS, order=order)})
    check(tmp_path / "a.npz")
    check(tmp_path / "a.npz", slice(1, 5, 2))
    assert len({video.key for video in opened(tmp_path / "a.npz").videos}) == 5


def test_suffixes_in_capitals_and_npy(tmp_path):
    np.savez(tmp_path / "a.npz", CLIPS)
    (tmp_path / "a.npz").rename(tmp_path / "B.NPZ")
    check(tmp_path / "B.NPZ")
    for order in "CF":
        np.save(tmp_path / "a.npy", np.asarray(CLIPS, order=order))
        check(tmp_path / "a.npy")


@pytest.mark.parametrize("axes", [(0, 1, 4, 2, 3), (0, 4, 1, 2, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_channels_first(tmp_path, axes, order):
    np.savez(tmp_path / "a.npz", np.array(CLIPS.transpose(axes), order=order))
    with pytest.warns(UserWarning, match="is read as"):
        check(tmp_path / "a.npz")


def test_labels_without_names(tmp_path):
    """As np.savez(path, clips, labels) writes them."""
    np.savez(tmp_path / "a.npz", CLIPS, LABELS)
    assert [video.label for video in opened(tmp_path / "a.npz").videos] == [0, 1, 0, 1, 0]
    np.savez(tmp_path / "b.npz", CLIPS, np.zeros((5, 2)))
    assert {video.label for video in opened(tmp_path / "b.npz").videos} == {None}
    np.savez(tmp_path / "c.npz", CLIPS, labels=LABELS)
    assert [video.label for video in opened(tmp_path / "c.npz").videos] == [0, 1, 0, 1, 0]
    np.savez(tmp_path / "d.npz", arr_0=CLIPS, arr_1=CLIPS)
    check(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("arrays", "message", "hint"),
    [
        ({"mu": np.zeros(4), "sigma": np.eye(4)}, "no array of clips: `mu` is float64", "`clips`"),
        ({"a": CLIPS, "b": CLIPS}, "several arrays of clips", "name the array `clips`"),
        ({"arr_0": CLIPS / 255}, "`arr_0` is float64 of shape", "from 0 to 255"),
        ({"arr_0": CLIPS[0]}, r"uint8 of shape \(6, 32, 32, 3\)", r"array\[None\]"),
        ({"arr_0": CLIPS[..., :1]}, "of shape", "height, width, 3"),
        ({"arr_0": CLIPS[:, :3].transpose(0, 1, 4, 2, 3)}, "of shape", "height, width, 3"),
    ],
)
def test_other_arrays_are_refused_with_what_the_file_holds(tmp_path, arrays, message, hint):
    import re

    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message) as refusal:
        opened(tmp_path / "a.npz")
    assert re.search(hint, refusal.value.hint)


@pytest.mark.parametrize("suffix", ["npz", "npy"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_cut_array_is_refused(tmp_path, suffix, order):
    path = tmp_path / f"a.{suffix}"
    (np.savez if suffix == "npz" else np.save)(path, np.asarray(CLIPS, order=order))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged"):
        read(path)


def test_a_folder_with_another_npz_says_to_give_the_file(tmp_path):
    np.savez(tmp_path / "5x6x32x32x3-samples.npz", CLIPS)
    with pytest.raises(DataError) as refusal:
        opened(tmp_path)
    assert refusal.value.hint.endswith("5x6x32x32x3-samples.npz")


def test_frames_of_another_size_are_resized(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        np.asfortranarray(np.kron(CLIPS, np.ones((1, 1, 2, 2, 1), int)).astype(np.uint8)),
    )
    assert read(tmp_path / "a.npz")[0].shape == (3, SIZE, SIZE, 3)


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
@pytest.mark.parametrize(
    "header",
    [b"{'descr': '|u1', 'fortran_order': (", b"{'descr': '|u1'}", b"1 +", b"[" * 110, b"\xff"],
)
def test_damaged_headers_of_arrays_are_refused(tmp_path, name, header):
    np.save(tmp_path / "a.npy", CLIPS)
    content = bytearray((tmp_path / "a.npy").read_bytes())
    content[10 : content.index(b"\n")] = header.ljust(content.index(b"\n") - 10)
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("clips.npy", bytes(content))
    with pytest.raises(DataError, match="damaged"):
        opened(tmp_path / name)


def test_a_member_that_is_marked_as_encrypted_is_damaged(tmp_path):
    np.savez(tmp_path / "a.npz", clips=CLIPS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        opened(tmp_path / "a.npz")
