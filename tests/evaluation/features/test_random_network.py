"""`fd-random` sees what the eye sees at once."""

import numpy as np
import pytest
import torch
from helpers.spoiled_shapes import SPOILED, real_clips

from latte_cli.evaluation.features.random_network import RandomNetwork
from latte_cli.metrics import frechet_distance

CLIPS = 64


@pytest.fixture(scope="module")
def real():
    """Features of two sets of real clips, of which the first is compared with spoiled ones."""
    return [features(real_clips(CLIPS, seed=seed)) for seed in (1, 2)]


def features(clips):
    return RandomNetwork()(torch.from_numpy(clips)).numpy()


@pytest.mark.parametrize(
    ("how", "times"),
    [("blurred", 5), ("two figures", 5), ("changing color", 2), ("changing kind", 1.5),
     ("shuffled", 5), ("empty", 5)],
)  # fmt: skip
def test_spoiled_clips_are_far_from_real_ones(real, how, times):
    """Against the distance between real clips and other real clips, at the same number."""
    spoiled = features(SPOILED[how](real_clips(CLIPS, seed=3), seed=3))
    assert frechet_distance(real[0], spoiled) > times * frechet_distance(*real)


def test_a_clip_counts_alone_and_its_weights_are_fixed():
    clips = real_clips(3, seed=0)
    together = features(clips)
    assert np.array_equal(together[1:2], features(clips[1:2]))
    assert RandomNetwork().fingerprint == RandomNetwork().fingerprint
    assert together.shape == (3, 120)
