"""Crops by a mask video, and the frames that come of them."""

import numpy as np
import pytest

from latte_cli.data.checking import Job, check_video
from latte_cli.data.frames import Box, face_box, fill_gaps, prepare_frame, prepared_frames
from latte_cli.data.manifest import Dataset, SourceVideo, VideoRecord
from latte_cli.runtime.errors import VideoError
from latte_cli.video_io import read_video, write_video


def mask_with(*regions, height=48, width=64, dark=0):
    """A white picture with dark rectangles (top, bottom, left, right)."""
    mask = np.full((height, width, 3), 255, np.uint8)
    for top, bottom, left, right in regions:
        mask[top:bottom, left:right] = dark
    return mask


def published_square(mask):
    """The published arithmetic, written out: sums over channels, means of rows and columns."""
    dark = (255 - mask).astype(np.float64).sum(axis=2)
    columns, rows = np.where(dark.mean(axis=0) > 5)[0], np.where(dark.mean(axis=1) > 5)[0]
    (left, right), (top, bottom) = columns[[0, -1]], rows[[0, -1]]
    gap = (bottom - top) - (right - left)
    if gap > 0:
        left, right = left - gap // 2, right + gap // 2 + gap % 2
    else:
        top, bottom = top - -gap // 2, bottom + -gap // 2 + -gap % 2
    return top, bottom, left, right


@pytest.mark.parametrize("region", [(10, 31, 20, 41), (8, 40, 30, 41), (20, 29, 12, 45)])
def test_inside_the_frame_the_box_equals_that_of_stylegan_v(region):
    box = face_box(mask_with(region))
    top, bottom, left, right = published_square(mask_with(region))
    assert (box.top, box.top + box.side) == (top, bottom)
    assert (box.left, box.left + box.side) == (left, right)


@pytest.mark.parametrize(
    ("region", "box"),
    [
        ((0, 48, 0, 9), Box(0, 0, 47)),
        ((0, 48, 60, 64), Box(0, 17, 47)),
        ((0, 5, 20, 41), Box(0, 20, 20)),
        ((44, 48, 20, 41), Box(28, 20, 20)),
        ((10, 20, 0, 64), Box(0, 7, 48)),
        ((30, 31, 40, 41), Box(30, 40, 1)),
    ],
)
def test_at_the_edges_the_box_stays_inside_the_frame(region, box):
    assert face_box(mask_with(region)) == box
    assert box.crop(mask_with()).shape == (box.side, box.side, 3)


def test_compression_artifacts_are_not_a_face():
    noise = np.random.default_rng(0).integers(0, 3, (48, 64, 3))
    mask = mask_with((12, 33, 20, 41))
    mask[mask == 255] -= noise[mask == 255].astype(np.uint8)
    mask[2, 2] = 225
    assert face_box(mask) == face_box(mask_with((12, 33, 20, 41)))
    assert face_box(mask_with(dark=0)) is None


def test_frames_without_a_face_take_the_previous_box_or_the_first():
    a, b = Box(1, 1, 5), Box(2, 2, 5)
    assert list(fill_gaps([None, None, a, None, b, None])) == [a, a, a, a, b, b]
    assert list(fill_gaps([None, None])) == []


@pytest.fixture
def data_set(tmp_path):
    """A video of noise with a moving face and its mask, 64 x 48, by name of the mask."""
    picture = np.random.default_rng(1).integers(0, 255, (6, 8, 3), np.uint8)
    frames = np.stack([np.roll(picture, n, axis=1).repeat(8, 0).repeat(8, 1) for n in range(6)])
    masks = np.stack([mask_with((8, 33, 8 + 4 * n, 33 + 4 * n)) for n in range(6)])
    masks[[0, 3]] = 255
    write_video(tmp_path / "video.mp4", frames, 8)
    write_video(tmp_path / "mask.mp4", masks, 8)
    write_video(tmp_path / "short.mp4", masks[:4], 8)
    write_video(tmp_path / "white.mp4", np.full_like(masks, 255), 8)
    write_video(tmp_path / "small.mp4", masks[:, :32, :32], 8)
    return Dataset(tmp_path, (), ())


def record(mask=None):
    return VideoRecord("video.mp4", 6, 8.0, 64, 48, None, None, "train", 1, "", mask=mask)


def test_each_frame_is_cropped_to_its_own_mask(data_set):
    frames = read_video(data_set.folder / "video.mp4")
    found = list(prepared_frames(data_set, record("mask.mp4"), 16, "crop-resize"))
    lefts = [12, 12, 16, 16, 24, 28]  # frames 0 and 3 show no face
    expected = [
        prepare_frame(frame[8:32, left : left + 24], 16)
        for frame, left in zip(frames, lefts, strict=True)
    ]
    assert np.array_equal(found, expected)
    for wanted in (range(1), range(3, 4), range(1, 6, 2)):
        some = list(prepared_frames(data_set, record("mask.mp4"), 16, "resize-crop", wanted))
        note = "the crop does not depend on which frames are wanted"
        assert np.array_equal(some, expected[wanted.start : wanted.stop : wanted.step]), note


def test_frames_without_a_mask_are_cropped_to_their_center(data_set):
    frames = read_video(data_set.folder / "video.mp4")
    for crop in ("crop-resize", "resize-crop"):
        found = list(prepared_frames(data_set, record(), 16, crop, range(3)))
        assert np.array_equal(found, [prepare_frame(frame, 16, crop) for frame in frames[:3]])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("short.mp4", "the mask ends before frame 4 of its video"),
        ("white.mp4", "the mask shows no face"),
        ("small.mp4", "the mask is 32 x 32, its video 64 x 48"),
        ("none.mp4", "no such file"),
    ],
)
def test_masks_that_do_not_fit_raise_an_error(data_set, mask, message):
    with pytest.raises(VideoError, match=message):
        list(prepared_frames(data_set, record(mask), 16, "crop-resize"))


def test_a_mask_without_a_face_is_rejected_when_it_is_checked(data_set):
    def outcome(mask):
        source = SourceVideo(data_set.folder / "video.mp4", mask=data_set.folder / mask)
        return check_video(Job(source, data_set.folder)).outcome

    assert outcome("white.mp4").reason == "its mask shows no face in any frame"
    assert outcome("mask.mp4").mask == "mask.mp4", "not every frame needs to show one"
