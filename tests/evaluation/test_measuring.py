"""Numbers: draws, intervals, floors; each against a count by other means."""

import numpy as np
import pytest

from latte_cli.config import load_config
from latte_cli.evaluation.features.extractors import open_feature_extractor
from latte_cli.evaluation.features.figures import FLAWS
from latte_cli.evaluation.features.store import FeatureStore
from latte_cli.evaluation.measuring import count_resamples, measure
from latte_cli.evaluation.numbers import ClipDraws, bootstrap, real_vs_real_of, rounded
from latte_cli.evaluation.plan import ClipRef, DisjointSets, all_frames, plan_clip_set
from latte_cli.evaluation.protocol import protocol_from
from latte_cli.evaluation.sources.videos import Video
from latte_cli.metrics import frechet_distance, inception_score, polynomial_mmd_subsets
from latte_cli.runtime.errors import ConfigError, DataError

PROTOCOL = protocol_from(load_config("skytimelapse", ["data.frames=4", "data.interval=2"]))


def videos(count, frames=20, label=None):
    return [Video(f"{n:04d}", f"key {n}", frames, 32, 32, label) for n in range(count)]


def protocol(**changes):
    from dataclasses import replace

    return replace(PROTOCOL, **changes)


def filled(root, name, refs, rows):
    """A store in which each clip has its rows."""
    store = FeatureStore(root, name, {})
    store.add({ref.key: each for ref, each in zip(refs, rows, strict=True)}, {})
    return store


def refs_of(some, start=0):
    return tuple(ClipRef(video, range(start, start + 4)) for video in some)


def test_a_draw_takes_one_clip_of_each_video():
    plan = plan_clip_set(videos(30), protocol(clips=12), "real", 4)
    assert [len(draw) for draw in plan.draws] == [12] * 4
    for draw in plan.draws:
        assert len({ref.video.name for ref in draw}) == 12
        assert all(ref.window.step == 2 and len(ref.window) == 4 for ref in draw)
    assert len({tuple(ref.key for ref in draw) for draw in plan.draws}) == 4
    assert plan == plan_clip_set(videos(30), protocol(clips=12), "real", 4)
    fake = plan_clip_set(videos(30), protocol(clips=12), "fake", 1)
    assert {ref.window for ref in fake.draws[0]} == {range(4)}, "fakes from their first frame on"


def test_stylegan_v_takes_the_first_videos_by_name():
    plan = plan_clip_set(videos(30)[::-1], protocol(clips=12, draw="first by name"), "real", 2)
    for draw in plan.draws:
        assert [ref.video.name for ref in draw] == [f"{n:04d}" for n in range(12)]
    first, second = plan.draws
    assert {r.window for r in first} != {r.window for r in second}, "offsets are drawn anew"


def test_short_videos_are_counted_and_named():
    some = [*videos(3), *(Video(f"short {n}", f"s{n}", n, 32, 32) for n in (1, 7))]
    plan = plan_clip_set(some, PROTOCOL, "real", 1)
    assert plan.too_short == ("short 1", "short 7")
    assert len(plan.videos) == 3


@pytest.mark.parametrize(("count", "same_size", "size"), [(24, True, 12), (23, False, 6)])
def test_real_vs_real_compares_clips_of_different_videos(count, same_size, size):
    real_vs_real = plan_clip_set(videos(count), protocol(clips=12), "real", 1).real_vs_real
    assert real_vs_real.same_size is same_size
    names = [{ref.video.name for ref in half} for half in (real_vs_real.first, real_vs_real.second)]
    assert [len(each) for each in names] == [size, size]
    assert not names[0] & names[1]
    assert plan_clip_set(videos(count), protocol(clips=12), "fake", 1).real_vs_real is None
    assert plan_clip_set(videos(3), PROTOCOL, "real", 1).real_vs_real is None


def test_all_frames_covers_every_frame_once():
    refs = all_frames([*videos(2, 10), *videos(1, 3)], 4)
    assert [list(ref.window) for ref in refs[:3]] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert sum(len(ref.window) for ref in refs) == 23


def test_a_frechet_distance_over_draws(tmp_path):
    random = np.random.default_rng(0)
    real, fake = refs_of(videos(40)), refs_of(videos(40), 4)
    rows = random.standard_normal((40, 1, 5)).astype(np.float32)
    others = (random.standard_normal((40, 1, 5)) + 1).astype(np.float32)
    stores = {
        "real": filled(tmp_path / "r", "i3d", real, rows),
        "fake": filled(tmp_path / "f", "i3d", fake, others),
    }
    draws = ClipDraws(
        [real[:20], real[20:]], [fake[:20], fake[20:]], DisjointSets(real[:20], real[20:], True)
    )
    number = measure("fvd", draws, stores, PROTOCOL, 50)
    expected = [frechet_distance(rows[a, 0], others[a, 0]) for a in (slice(0, 20), slice(20, 40))]
    assert number.draws == tuple(map(rounded, expected))
    assert number.value == pytest.approx(np.mean(expected), rel=1e-5)
    assert number.std == pytest.approx(np.std(expected, ddof=1), rel=1e-5)
    assert number.real_vs_real.value == pytest.approx(
        frechet_distance(rows[:20, 0], rows[20:, 0]), rel=1e-5
    )
    assert number.real_vs_real.videos == 20
    low, high = number.interval
    assert low < expected[0] < high
    assert (number.real, number.fake, number.resamples) == (20, 20, 50)
    assert measure("fvd", draws, stores, PROTOCOL, 0).interval is None
    assert measure("fvd", draws, stores, PROTOCOL, 50) == number


def test_fid_streams_rows_of_frames(tmp_path):
    """Clips of one length and of another; the same as the distance between all rows at once."""
    random = np.random.default_rng(0)
    real, fake = refs_of(videos(30)), refs_of(videos(20), 4)
    rows = [random.standard_normal((n % 3 + 2, 6)).astype(np.float32) for n in range(30)]
    others = [(random.standard_normal((4, 6)) * 2).astype(np.float32) for _ in range(20)]
    stores = {
        "real": filled(tmp_path / "r", "inception", real, rows),
        "fake": filled(tmp_path / "f", "inception", fake, others),
    }
    draws = ClipDraws([real, real], [fake[:10], fake[10:]], None, real_is_all=True)
    done: list[int] = []
    number = measure("fid", draws, stores, PROTOCOL, 30, lambda: done.append(1))
    assert len(done) == count_resamples("fid", 30) == number.resamples
    expected = [
        frechet_distance(np.concatenate(rows), np.concatenate(part))
        for part in (others[:10], others[10:])
    ]
    assert number.draws == pytest.approx(expected, rel=1e-5)
    assert number.resamples == 20, "a covariance of frames takes long"
    assert number.interval[0] < expected[0] < number.interval[1]


def test_kid_and_the_inception_score_report_the_spread_of_their_parts(tmp_path):
    random = np.random.default_rng(0)
    real, fake = refs_of(videos(60)), refs_of(videos(60), 4)
    rows = random.standard_normal((60, 1, 7)).astype(np.float32)
    others = random.standard_normal((60, 1, 7)).astype(np.float32) + 1
    stores = {
        "real": filled(tmp_path / "r", "i3d", real, rows),
        "fake": filled(tmp_path / "f", "i3d", fake, others),
    }
    number = measure("kvd", ClipDraws([real], [fake]), stores, PROTOCOL, 100)
    expected = polynomial_mmd_subsets(rows[:, 0], others[:, 0])
    assert number.value == pytest.approx(expected.mean, rel=1e-5), "60 rows: all in each subset"
    assert number.interval is None
    score = measure("is", ClipDraws([real], [fake]), stores, PROTOCOL, 20)
    shares = np.exp(others[:, 0]) / np.exp(others[:, 0]).sum(axis=1, keepdims=True)
    assert score.value == pytest.approx(inception_score(shares, 10).mean, rel=1e-5)
    assert score.parts_std == pytest.approx(inception_score(shares, 10).std, rel=1e-4)
    assert score.real == 0


def test_the_share_of_right_directions_has_wilsons_interval(tmp_path):
    """8 of 10: 0.490 to 0.943 (Wilson 1927, as any table of it has)."""
    fake = refs_of([Video(f"{n}", f"k{n}", 20, 32, 32, n % 8) for n in range(10)])
    measured = np.array([[n % 8, n % 8, 0, 1] for n in range(10)], np.float32)
    measured[:2, 0] = 7
    store = filled(tmp_path, "motion", fake, measured[:, None])
    number = measure("direction", ClipDraws([], [fake]), {"fake": store}, PROTOCOL, 100)
    assert number.value == 0.8
    assert number.interval == pytest.approx((0.4902, 0.9433), abs=1e-4)
    expected = {"by tracking": 1.0, "estimates differ": 2, "they differ for": ["0", "1"]}
    assert {key: number.details[key] for key in expected} == expected
    unknown = refs_of([Video("a", "k0", 20, 32, 32)])
    with pytest.raises(DataError, match="label or caption of every clip"):
        measure("direction", ClipDraws([], [unknown]), {"fake": store}, PROTOCOL, 0)


def test_the_share_of_clips_with_one_shape_tells_flaws_and_overlap(tmp_path):
    fake = refs_of(videos(4))
    rows = [
        [0, 0, FLAWS.index(flaw), n / 4] for n, flaw in enumerate(("none", "none", *FLAWS[1:3]))
    ]
    store = filled(tmp_path, "motion", fake, np.array(rows, np.float32)[:, None])
    number = measure("shape", ClipDraws([], [fake]), {"fake": store}, PROTOCOL, 100)
    assert number.value == 0.5
    assert number.details["overlap"] == pytest.approx((0 + 1 + 2 + 3) / 16)
    assert [number.details[flaw] for flaw in FLAWS[1:]] == [1, 1, 0, 0]


def test_draws_of_the_same_clips_have_no_spread(tmp_path):
    """As those of a checkpoint, of which no more clips are drawn than each draw takes."""
    random = np.random.default_rng(0)
    labelled = [Video(f"{n}", f"k{n}", 20, 32, 32, n % 8) for n in range(20)]
    fake, real = refs_of(labelled), refs_of(videos(20))
    rows = random.standard_normal((20, 1, 5)).astype(np.float32)
    stores = {
        "real": filled(tmp_path / "r", "i3d", real, rows + 1),
        "fake": filled(tmp_path / "f", "i3d", fake, rows),
    }
    again = [fake, fake[::-1], fake]
    for metric in ("direction", "is"):
        number = measure(metric, ClipDraws([real] * 3, again), stores, PROTOCOL, 0)
        assert (len(number.draws), number.std) == (3, None)
    frames = ClipDraws([real] * 3, again, real_is_all=True)
    assert measure("fid", frames, stores, PROTOCOL, 0).std is None
    assert measure("fvd", ClipDraws([real] * 3, again), stores, PROTOCOL, 0).std is None
    others = ClipDraws([real[:10], real[10:]], [fake, fake])
    assert measure("fvd", others, stores, PROTOCOL, 0).std > 0, "other real clips are other draws"
    anew = measure("direction", ClipDraws([], [fake[:10], fake[10:]]), stores, PROTOCOL, 0)
    assert anew.std is not None


def test_the_bootstrap_interval_has_the_right_width():
    """Of means of 40 normal numbers, where the true spread is known."""
    spreads = []
    for seed in range(20):
        sample = np.random.default_rng(seed).standard_normal(40)
        low, high = bootstrap(
            lambda random, s=sample: s[random.randint(40, size=40)].mean(), sample.mean(), 200, seed
        )
        spreads.append(high - low)
    assert np.mean(spreads) == pytest.approx(2 * 1.96 / np.sqrt(40), rel=0.1)


def test_too_few_clips_are_an_error(tmp_path):
    some = refs_of(videos(1))
    store = filled(tmp_path, "i3d", some, np.zeros((1, 1, 3), np.float32))
    for metric, least in (("fvd", 2), ("is", 10)):
        with pytest.raises(DataError, match=f"1 clips, {metric} needs at least {least}"):
            measure(metric, ClipDraws([some], [some]), {"real": store, "fake": store}, PROTOCOL, 0)


@pytest.mark.parametrize(
    ("name", "frames", "expected"),
    [
        ("i3d", 8, "fvd or kvd needs at least 9"),
        ("c3d", 8, "is needs 16"),
        ("motion", 3, "at least 4"),
    ],
)
def test_clips_too_short_for_a_network_are_an_error(name, frames, expected):
    with pytest.raises(ConfigError, match=expected):
        open_feature_extractor(name, frames, None, trust_torchscript=False)


def test_real_vs_real_needs_two_sets():
    assert real_vs_real_of(None, lambda a, b: 0.0) is None
