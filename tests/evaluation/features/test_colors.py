"""The metric `color`: right on real clips, wrong where the color or the caption is another."""

import numpy as np
import pytest
import torch

from latte_cli.evaluation.features.colors import moving_color
from latte_cli.evaluation.features.extractors import open_feature_extractor
from latte_cli.evaluation.features.store import FeatureStore
from latte_cli.evaluation.numbers import ClipDraws
from latte_cli.evaluation.plan import ClipRef
from latte_cli.evaluation.shares import share_moving_as_asked, share_of_named_color
from latte_cli.evaluation.sources.videos import Video
from latte_cli.runtime.errors import DataError
from latte_cli.sources import shapes
from latte_cli.video_io import read_video


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Captions and frames of clips, from mp4 files, as they are evaluated."""
    sources = shapes.write_videos(tmp_path_factory.mktemp("shapes"), 200, seed=4)
    return [(source.caption, read_video(source.path, range(0, 15, 2))) for source in sources]


def number_of(share, extractor, tmp_path, captioned):
    """A share over clips with their captions, through the extractor and its store."""
    network = open_feature_extractor(extractor, 8, None, trust_torchscript=False)
    store, refs = FeatureStore(tmp_path / "features", extractor, {}), []
    for number, (caption, clip) in enumerate(captioned):
        video = Video(f"{number:04d}", f"k{number}", 8, 64, 64, captions=(caption,) * bool(caption))
        refs.append(ClipRef(video, range(8)))
        store.add({refs[-1].key: network.rows(torch.from_numpy(clip)[None])[0]}, {})
    return share(ClipDraws((), [tuple(refs)]), store)


def color_share(tmp_path, captioned):
    return number_of(share_of_named_color, "colors", tmp_path, captioned)


def test_98_percent_of_real_clips_have_the_color_of_their_caption(written, tmp_path):
    number = color_share(tmp_path, written)
    assert number.value >= 0.98
    assert number.interval[0] < number.value < number.interval[1]


def test_captions_of_other_colors_are_wrong(written, tmp_path):
    """And so is every clip whose color channels are exchanged, unless it is gray."""
    others = dict(zip(shapes.COLORS, np.roll(shapes.COLORS, 2), strict=True))
    swapped = [
        (caption.replace(color, others[color]), clip)
        for caption, clip in written
        if (color := shapes.color_in(caption)) in others
    ]
    assert color_share(tmp_path / "words", swapped).value <= 0.02
    turned = [
        (caption, np.roll(clip, 1, axis=-1))
        for caption, clip in written
        if shapes.color_in(caption) != shapes.GRAY
    ]
    assert color_share(tmp_path / "pixels", turned).value <= 0.02


def test_where_nothing_moves_there_is_no_color(written, tmp_path):
    still = [(caption, np.repeat(clip[:1], 8, axis=0)) for caption, clip in written[:8]]
    empty = [(caption, np.full_like(clip, 128)) for caption, clip in written[:8]]
    assert all(moving_color(clip) is None for _, clip in still + empty)
    number = color_share(tmp_path, still)
    assert number.value == 0
    assert set(number.details["by clip"].values()) == {"nothing moves"}


def test_a_gray_shape_is_gray():
    clip = np.full((4, 64, 64, 3), (60, 120, 60), np.uint8)
    for number, frame in enumerate(clip):
        frame[10:30, 4 * number : 4 * number + 20] = (225, 230, 220)
    assert shapes.color_name(moving_color(clip)) == shapes.GRAY


def test_directions_are_asked_for_by_captions_too(written, tmp_path):
    number = number_of(share_moving_as_asked, "motion", tmp_path / "right", written[:40])
    assert number.value >= 0.95
    assert "moves as captioned" in number.details["by clip"].values()
    reversed_clips = [(caption, clip[::-1].copy()) for caption, clip in written[:40]]
    assert number_of(share_moving_as_asked, "motion", tmp_path / "b", reversed_clips).value <= 0.05


@pytest.mark.parametrize(
    ("share", "extractor", "caption", "message"),
    [
        (share_of_named_color, "colors", "", "0000 has none"),
        (share_of_named_color, "colors", "a circle moving left", "one color"),
        (share_moving_as_asked, "motion", "", "has neither"),
        (share_moving_as_asked, "motion", "a red circle", "one direction"),
    ],
)
def test_captions_that_ask_for_nothing_are_errors(
    written, tmp_path, share, extractor, caption, message
):
    with pytest.raises(DataError, match=message) as caught:
        number_of(share, extractor, tmp_path, [(caption, written[0][1])])
    assert "leave the metric out" in caught.value.hint
