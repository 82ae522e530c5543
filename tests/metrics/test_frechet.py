"""The Fréchet distance, against SciPy's numbers and against what is known in closed form."""

import numpy as np
import pytest
import torch
from helpers.pseudo import features, golden

from latte_cli.metrics import Moments, frechet_distance, frechet_from_moments
from latte_cli.runtime.errors import DataError, ShapeError

CASES = golden("frechet.json")["cases"]


def pair(name):
    """The two sets of a case, as long as NumPy draws what it drew."""
    case = CASES[name]
    sets = [features(case[f"n{n}"], case["d"], *case[side]) for n, side in ((1, "a"), (2, "b"))]
    for rows, side in zip(sets, "ab", strict=True):
        np.testing.assert_allclose(rows.sum(), case[f"check_{side}"]["sum"], rtol=1e-9)
    return sets


def expected(name, ddof):
    return CASES[name]["results"][f"ddof{ddof}"]["expected"]


@pytest.mark.parametrize("name", CASES)
def test_the_frechet_distance_equals_the_reference(name):
    a, b = pair(name)
    for ddof in (0,) if len(a) > 4000 else (0, 1):
        assert frechet_distance(a, b, ddof) == pytest.approx(expected(name, ddof), rel=1e-9)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("d2048")])
def test_merged_moments_give_the_same_distance(name):
    a, b = pair(name)
    moments = Moments.of(a[:3])
    moments.update(a[3:5])
    if len(a) > 5:
        moments.merge(Moments.of(a[5:]))
    found = frechet_from_moments(moments, Moments.of(b), ddof=1)
    tolerance = 2e-6 if len(a) <= a.shape[1] else 1e-9
    assert found == pytest.approx(expected(name, 1), rel=1e-9, abs=tolerance)


def test_float32_features_give_stylegan_vs_distance():
    a, b = (rows.astype(np.float32) for rows in pair("d400_n256"))
    value = CASES["d400_n256"]["results"]["stylegan_f32_rawmoments_ddof0_eigvalsh"]
    assert frechet_distance(a, b) == pytest.approx(value, rel=1e-6)


def test_diagonal_covariances_have_a_closed_form():
    columns = np.arange(8.0)
    variances, shift = (1 + columns, 2 + columns / 2), 0.1 * columns
    a, b = (Moments(100, mean, 100 * np.diag(variance))
            for mean, variance in zip((0 * shift, shift), variances, strict=True))  # fmt: skip
    roots = np.sqrt(variances[0]) - np.sqrt(variances[1])
    assert frechet_from_moments(a, b) == pytest.approx((shift**2).sum() + (roots**2).sum())


def test_the_distance_of_shifted_and_scaled_features_has_a_closed_form():
    a = features(60, 12, 1, 1.0, 0.3, 0.5)
    assert frechet_distance(a, a + 0.25) == pytest.approx(12 * 0.25**2)
    power = a.var(axis=0).sum() + (a.mean(axis=0) ** 2).sum()
    assert frechet_distance(a, 3 * a) == pytest.approx(4 * power)


@pytest.mark.parametrize("n", [8, 200])
def test_the_distance_of_a_set_to_itself_is_zero(n):
    a = features(n, 40, 1, 1.0, 5.0, 0.5)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-10)


def test_the_distance_is_exact_for_many_linearly_dependent_columns():
    """An isometry into 1100 columns leaves a distance as it is."""
    small = [features(1100, 12, seed, 1.0, 0.1 * seed, 0.5) for seed in (1, 2)]
    basis = np.linalg.qr(np.random.default_rng(3).standard_normal((1100, 12)))[0].T
    found = frechet_distance(*(rows @ basis for rows in small))
    assert found == pytest.approx(frechet_distance(*small), rel=1e-9)


def test_moments_of_linearly_dependent_columns_give_the_distance():
    small = [features(90, 6, seed, 1.0, 0.1 * seed, 0.5) for seed in (1, 2)]
    doubled = [np.concatenate([rows, rows], axis=1) / np.sqrt(2) for rows in small]
    found = frechet_from_moments(*map(Moments.of, doubled))
    assert found == pytest.approx(frechet_distance(*small), abs=1e-6)


def test_sets_of_one_clip_give_the_distance_of_the_means():
    assert frechet_distance(torch.zeros(1, 3), torch.full((1, 3), 2.0)) == 12


def test_mismatched_features_are_an_error():
    rows = np.ones((4, 3))
    with pytest.raises(ShapeError, match="widths 3 and 2"):
        frechet_distance(rows, rows[:, :2])
    with pytest.raises(ShapeError, match="at least 2"):
        frechet_distance(rows[:1], rows, ddof=1)
    with pytest.raises(ShapeError, match="must be"):
        frechet_distance(rows[0], rows)
    with pytest.raises(ShapeError, match="widths must agree"):
        frechet_from_moments(Moments.of(rows), Moments.of(rows[:, :2]))
    with pytest.raises(ShapeError, match="more than 1"):
        frechet_from_moments(Moments.of(rows), Moments.of(rows[:1]), ddof=1)


def test_the_error_names_the_row_that_is_not_finite():
    rows = np.ones((6, 3))
    rows[4, 1] = np.nan
    with pytest.raises(DataError, match=r"1 of 6 rows .* row 4"):
        frechet_distance(np.ones((6, 3)), rows)
