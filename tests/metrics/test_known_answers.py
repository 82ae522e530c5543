"""Networks with pseudo-weights answer what they are known to, and any other layer shows."""

import numpy as np
import pytest
from helpers.pseudo import golden

from latte_cli.metrics.known_answers import known_answers
from latte_cli.metrics.networks import i3d, layers


def test_i3d_and_inception_give_the_reference_outputs():
    answers = {answer.network: answer for answer in known_answers()}
    assert all(answer.right for answer in answers.values())
    logits = golden("i3d_pseudo.npz")["logits_ref_f32"][0, :5]
    features = golden("inception_pseudo.npz")["feat2048"][2, :5]
    np.testing.assert_allclose(answers["i3d"].expected, logits, rtol=1e-6)
    np.testing.assert_allclose(answers["inception"].expected, features, rtol=1e-6)


def test_another_epsilon_of_batch_norm_is_detected(monkeypatch):
    """The slip of the commonest port of I3D: PyTorch's 1e-5 for TensorFlow's 1e-3."""
    usual = layers.fold_batch_norm
    monkeypatch.setattr(i3d, "fold_batch_norm", lambda state, conv: usual(state, conv, eps=1e-5))
    answer = next(known_answers())
    assert not answer.right
    assert answer.found == pytest.approx(answer.expected, abs=0.5)
