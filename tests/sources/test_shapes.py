"""The procedural data set, and the metric of its motion."""

import numpy as np
import pytest

from latte_cli.evaluation.features.motion import direction_of
from latte_cli.sources import shapes
from latte_cli.text.caption_cleaning import clean_caption
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


ATTRIBUTES = [
    (color, kind, label, direction)
    for color in (*shapes.COLORS, shapes.GRAY)
    for kind in shapes.KINDS
    for label, direction in enumerate(shapes.DIRECTIONS)
]


def test_color_and_direction_are_read_from_every_sentence():
    for color, kind, label, direction in ATTRIBUTES:
        for text in shapes.sentences(color, kind, direction):
            assert (shapes.color_in(text), shapes.direction_in(text)) == (color, label)
            assert clean_caption(text) == text, "cleaning leaves them as they are"


@pytest.mark.parametrize(
    "text", ["", "a redder leftover", "red and blue, going left then right", "a raccoon"]
)
def test_what_names_nothing_or_several_things_is_not_guessed(text):
    assert shapes.color_in(text) is None
    assert shapes.direction_in(text) is None


def test_held_out_sentences_are_the_captions_of_no_training_video():
    """Their circles are in training, in all colors and directions; in other words."""
    held_out = shapes.held_out_sentences()
    assert len(set(held_out)) == 32
    assert {shapes.direction_in(text) for text in held_out} == set(range(8))
    assert {shapes.color_in(text) for text in held_out} == set(shapes.HELD_OUT_COLORS)
    trained, tested = set(), set()
    for index in range(4000):
        captions = shapes.captions_of(index, seed=1)
        (tested if shapes.is_test_video(index) else trained).update(captions)
        assert len(captions) >= 3
    assert not trained.intersection(held_out)
    assert len(tested.intersection(held_out)) > 16
    others = {
        text
        for color in shapes.HELD_OUT_COLORS
        for direction in shapes.DIRECTIONS
        for text in shapes.sentences(color, "circle", direction)[1:]
    }
    assert others <= trained


def test_captions_are_prepared_by_split(tmp_path):
    sources = list(shapes.write_videos(tmp_path, 80, size=16))
    for number, source in enumerate(sources):
        said = (source.caption, *source.more_captions)
        assert said == shapes.captions_of(number, size=16)
