"""The self-test's parts: what passes, what fails, what cannot be tried."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.eval_data import QUIET, frame_folders, small

import latte_cli.metrics
from latte_cli.commands.self_test import SelfTest
from latte_cli.evaluation import self_test
from latte_cli.evaluation.features.extractors import open_feature_extractor
from latte_cli.evaluation.plan import ClipRef
from latte_cli.evaluation.protocol import protocol_from
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.runtime.errors import CheckpointError, LatteError
from latte_cli.video_io.compressing import through_jpeg, through_mp4


def test_arithmetic_passes():
    checks = [*self_test.arithmetic(), *self_test.against_itself()]
    assert [check.name for check in checks if check.passed is not True] == []
    assert len(checks) >= 9
    SelfTest(tuple(checks)).raise_if_failed()


@pytest.mark.parametrize(("right", "passed"), [(True, True), (False, False)])
def test_networks_are_checked_against_known_answers(monkeypatch, right, passed):
    answer = SimpleNamespace(network="i3d", found=(1.0, 2.0), expected=(1.0, 2.5), right=right)
    monkeypatch.setattr(self_test, "known_answers", lambda device: [answer])
    (check,) = self_test.networks()
    assert (check.passed, check.found, check.expected) == (passed, "1 2", "1 2.5")


def test_wrong_arithmetic_fails(monkeypatch):
    monkeypatch.setattr(self_test, "_FRECHET", self_test._FRECHET[:2])  # the small ones
    right = self_test.frechet_distance
    monkeypatch.setattr(self_test, "frechet_distance", lambda *a: 1.001 * right(*a))
    wrong = [check for check in self_test.arithmetic() if check.passed is False]
    assert len(wrong) == 2
    with pytest.raises(LatteError, match="2 of 2 checks failed"):
        SelfTest(tuple(wrong)).raise_if_failed()


def test_other_random_numbers_of_numpy_are_not_a_failure(monkeypatch):
    monkeypatch.setattr(self_test, "_FRECHET", ())
    monkeypatch.setattr(self_test, "_SCORE_CHECK", 0.5)
    names = {check.name for check in self_test.arithmetic() if check.passed is None}
    assert names == {"Inception Score"}


def network(distance):
    """Clips to features whose means are so far apart for 0 and 255."""

    def describe(clips):
        features = torch.zeros(len(clips), 400)
        features[:, 0] = clips.float().mean(dim=(1, 2, 3, 4)) / 255 * distance
        return SimpleNamespace(features=features)

    return describe


@pytest.mark.parametrize(("distance", "passed"), [(151.2565**0.5, True), (152**0.5, False)])
def test_published_values_are_checked_with_the_real_weights(monkeypatch, distance, passed):
    monkeypatch.setattr(latte_cli.metrics, "load_features", lambda *a, **k: network(distance))
    (check,) = self_test.published(None, trust_torchscript=False)
    assert check.passed is passed


def test_missing_weights_are_the_reason_of_a_check_that_did_not_run(monkeypatch):
    def missing(*words, **more):
        raise CheckpointError("i3d: not here")

    monkeypatch.setattr(latte_cli.metrics, "load_features", missing)
    (check,) = self_test.published(None, trust_torchscript=False)
    assert (check.passed, check.found) == (None, "i3d: not here")


def test_stronger_compression_changes_clips_more(tmp_path):
    config = small("eval.protocol=stylegan-v")
    folder = frame_folders(tmp_path / "f", 8, 4)
    source = open_source(folder, protocol_from(config), config, tmp_path / "seen", QUIET)
    refs = tuple(ClipRef(video, range(4)) for video in source.videos)
    judge = open_feature_extractor("random3d", 4, None, trust_torchscript=False)
    losses = {x.name: x for x in self_test.compression_losses(source, refs, judge, QUIET)}
    assert losses["none"].distance == pytest.approx(0, abs=1e-9)
    assert losses["none"].psnr_db == 100
    assert losses["JPEG 75"].psnr_db < losses["JPEG 95"].psnr_db
    assert losses["mp4 crf 23"].psnr_db < losses["mp4 crf 5"].psnr_db
    assert losses["mp4 crf 5, then JPEG 75"].psnr_db < losses["JPEG 75"].psnr_db + 1
    assert min(x.distance for name, x in losses.items() if name != "none") > 0


@pytest.mark.parametrize("size", [32, 64, 256])
def test_compression_is_the_same_every_time(size):
    """Some builds of x264 read memory that nobody wrote, on small pictures."""
    random = np.random.default_rng(0)
    tiles = random.integers(0, 256, (8, 8, 3))
    picture = np.kron(tiles, np.ones((size // 8, size // 8, 1))).astype(np.uint8)
    clip = np.stack([np.roll(picture, (3 * n, 2 * n), (0, 1)) for n in range(16)])
    written = [through_mp4(clip, 5) for _ in range(4)]
    assert written[0].shape == clip.shape
    assert all(np.array_equal(each, written[0]) for each in written)
    once = through_jpeg(clip, 75)
    assert np.array_equal(once, through_jpeg(clip, 75))
    assert not np.array_equal(once, clip)


def test_jpeg_is_what_pillow_writes_by_default(tmp_path):
    """The published frames say quality 95, but Pillow leaves the word `q` out: 75."""
    from PIL import Image

    frame = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    Image.fromarray(frame[0]).save(tmp_path / "a.jpg", q=95)
    with Image.open(tmp_path / "a.jpg") as opened:
        assert np.array_equal(through_jpeg(frame, 75)[0], np.asarray(opened))
