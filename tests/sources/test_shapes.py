"""The procedural data set, and the metric of its motion."""

import numpy as np
import pytest

from latte_cli.evaluation.features.motion import direction_of
from latte_cli.sources import shapes
from latte_cli.video_io import read_video


def test_a_clip_is_a_function_of_seed_and_index():
    clip = shapes.render_clip(5, seed=1)
    assert clip.shape == (shapes.FRAMES_PER_VIDEO, 64, 64, 3)
    assert clip.dtype == np.uint8
    assert np.array_equal(clip, shapes.render_clip(5, seed=1))
    assert not np.array_equal(clip, shapes.render_clip(5, seed=2))
    assert np.array_equal(clip[:6], shapes.render_clip(5, seed=1, num_frames=6))


def test_the_background_is_still_and_the_shapes_move():
    clip = shapes.render_clip(0, seed=3).astype(int)
    still = (clip == np.median(clip, axis=0)).all(axis=-1).mean()
    assert 0.5 < still < 1


def test_motion_wraps_around():
    """A shape that leaves on one side enters on the other, so none of it is lost."""
    colors = shapes.render_clip(2, seed=0, num_frames=32).reshape(32, -1, 3).astype(float)
    assert np.ptp(colors.mean(axis=(1, 2))) < 4, "as much of the shape is seen in every frame"


def test_eight_classes_are_eight_directions_clockwise_from_right():
    assert shapes.DIRECTIONS_DEG == (0, 45, 90, 135, 180, 225, 270, 315)
    assert shapes.CLASSES[2] == "090deg"
    assert [shapes.label_of(i) for i in range(9)] == [0, 1, 2, 3, 4, 5, 6, 7, 0]


def test_the_motion_metric_finds_the_direction_of_a_dot():
    """x points right, y down: label 2 (90 degrees) falls."""
    for label, (dx, dy) in enumerate(
        [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]
    ):
        frames = np.zeros((8, 64, 64, 3), np.uint8)
        for number in range(8):
            y, x = 30 + 3 * dy * number, 30 + 3 * dx * number
            frames[number, np.arange(y, y + 6) % 64, x % 64 : x % 64 + 6] = 255
        assert direction_of(frames) == label


def test_the_motion_metric_is_right_on_99_percent_of_written_clips(tmp_path):
    sources = list(shapes.write_videos(tmp_path, 104, seed=11))
    right = sum(direction_of(read_video(s.path, range(8))) == s.label for s in sources)
    assert right / len(sources) >= 0.99


def test_videos_are_written_once_and_split(tmp_path):
    first = list(shapes.write_videos(tmp_path, 80, size=16))
    stamps = {source.path: source.path.stat().st_mtime_ns for source in first}
    again = list(shapes.write_videos(tmp_path, 80, size=16))
    assert first == again
    assert stamps == {source.path: source.path.stat().st_mtime_ns for source in again}
    test = [source for source in first if source.split == "test"]
    assert sorted(source.label for source in test) == list(range(8))


def test_an_empty_video_left_by_a_crash_is_generated_again(tmp_path):
    first, second, *_ = shapes.write_videos(tmp_path, 8, size=16)
    whole = first.path.read_bytes()
    first.path.write_bytes(b"")
    second.path.write_bytes(b"mine")
    list(shapes.write_videos(tmp_path, 8, size=16))
    assert first.path.read_bytes() == whole
    assert second.path.read_bytes() == b"mine", "what holds anything is left alone"


@pytest.mark.parametrize("size", [16, 32, 128])
def test_every_size_shows_the_same_scene(size):
    small = shapes.render_clip(3, size=size, num_frames=1)[0].mean(axis=(0, 1))
    large = shapes.render_clip(3, size=64, num_frames=1)[0].mean(axis=(0, 1))
    assert np.abs(small - large).max() < 8
