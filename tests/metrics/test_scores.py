"""KVD, KID and the Inception Score, against reference numbers and closed forms."""

import numpy as np
import pytest
from helpers.pseudo import features, golden

from latte_cli.metrics import inception_score, polynomial_mmd, polynomial_mmd_subsets
from latte_cli.runtime.errors import DataError, ShapeError

KID, ISC = golden("kid.json"), golden("isc.json")


@pytest.mark.parametrize("name", KID["cases"])
def test_the_polynomial_mmd_equals_the_reference(name):
    case = KID["cases"][name]
    a, b = (features(case[f"n{n}"], case["d"], *case[side]) for n, side in ((1, "a"), (2, "b")))
    assert polynomial_mmd(a, b) == pytest.approx(case["mmd2_unbiased"], rel=1e-9)


def test_kvd_of_pseudo_features_equals_the_reference():
    sets = golden("i3d_pseudo.npz")
    found = polynomial_mmd(sets["feats_A_f32"], sets["feats_B_f32"])
    assert found == pytest.approx(-82.33213180214443, rel=1e-9)


def test_subsets_are_sampled_like_torch_fidelitys():
    a, b = features(500, 2048, 1, 1.0, 0.0, 0.0), features(500, 2048, 2, 1.2, 0.1, 0.0)
    found = polynomial_mmd_subsets(a, b, subsets=10, size=100, seed=2020)
    known = KID["torch_fidelity_subsets"]
    assert (found.mean, found.std) == pytest.approx((known["mean"], known["std_ddof0"]), rel=1e-9)


def test_subsets_of_a_small_set_are_the_whole_set():
    a, b = features(20, 8, 1, 1.0, 0.0, 0.0), features(20, 8, 2, 1.2, 0.1, 0.0)
    found = polynomial_mmd_subsets(a, b, subsets=3)
    assert found.mean == pytest.approx(polynomial_mmd(a, b))
    assert found.std == pytest.approx(0, abs=1e-12)


def test_the_block_size_of_the_kernel_does_not_change_the_mmd(monkeypatch):
    a, b = features(50, 8, 1, 1.0, 0.0, 0.0), features(31, 8, 2, 1.2, 0.1, 0.0)
    whole = polynomial_mmd(a, b)
    monkeypatch.setattr("latte_cli.metrics.scores._BLOCK", 7)
    assert polynomial_mmd(a, b) == pytest.approx(whole, rel=1e-12)


def test_the_mmd_needs_two_features():
    with pytest.raises(ShapeError, match="at least 2"):
        polynomial_mmd(np.ones((1, 3)), np.ones((5, 3)))


def probabilities(case):
    logits = case["g"] * np.random.default_rng(case["seed"]).standard_normal((case["n"], case["C"]))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", ISC["cases"])
def test_the_inception_score_equals_the_reference(name):
    case = ISC["cases"][name]
    rows = probabilities(case)
    np.testing.assert_allclose(rows[0, 0], case["check"]["first"], rtol=1e-9)
    assert inception_score(rows, 1, None).mean == pytest.approx(case["splits1"], rel=1e-9)
    tgan = inception_score(rows, 1, None, epsilon=1e-7).mean
    assert tgan == pytest.approx(case["tgan1_eps1e-7_whole_set"], rel=1e-9)
    ways = {"splits10_noshuffle_mean_std": None}
    ways["torch_fidelity_splits10_RandomState2020_permutation"] = 2020
    for key, seed in ways.items():
        found = inception_score(rows, 10, seed)
        assert [found.mean, found.std] == pytest.approx(case[key], rel=1e-9)
    found = inception_score(rows.astype(np.float32))
    known = case["stylegan_v_isv_splits10_RandomState42_shuffle_float32_probs"]
    assert [found.mean, found.std] == pytest.approx(known, rel=1e-5)


def test_the_inception_score_of_certain_classes_is_their_number():
    rows = np.tile(np.eye(7), (5, 1))
    assert inception_score(rows, 1).mean == pytest.approx(7)
    assert inception_score(np.full((20, 7), 1 / 7), 4).mean == pytest.approx(1)


def test_rows_that_are_not_probabilities_are_an_error():
    with pytest.raises(DataError, match="sum to 1"):
        inception_score(np.ones((20, 7)))
    with pytest.raises(ShapeError, match="cannot be split"):
        inception_score(np.full((5, 2), 0.5), 10)
