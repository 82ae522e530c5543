"""The networks, from files in the published formats, against numbers of the published code."""

import numpy as np
import pytest
import torch
from helpers import plain_i3d
from helpers.pseudo import golden, noise, squares
from helpers.published import (
    expect,
    i3d_state,
    write_c3d,
    write_checkpoint,
    write_inception,
    write_lpips,
)
from torch import nn

from latte_cli.metrics import frechet_distance, load_features, load_lpips
from latte_cli.metrics.networks import c3d, inception, lpips
from latte_cli.metrics.networks.i3d import I3D, preprocess
from latte_cli.metrics.networks.layers import convolve, fold_batch_norm
from latte_cli.runtime.errors import ShapeError


@pytest.fixture(scope="module")
def i3d():
    network = I3D()
    network.load_published(i3d_state())
    return network


@pytest.fixture(scope="module")
def two_clips():
    return torch.cat([noise(1, 16, 64, 0), squares(1, 16, 64, 1)])


def test_i3d_from_deepminds_format_gives_the_reference_logits(tmp_path, monkeypatch, two_clips):
    expect(monkeypatch, "I3D_CHECKPOINT", write_checkpoint(tmp_path))
    network = load_features("i3d", tmp_path)
    found = network(two_clips)
    known = golden("i3d_pseudo.npz")
    for key in ("logits_ref_f32", "logits_own_f64"):
        np.testing.assert_allclose(found.features, known[key], atol=1e-4)
    assert found.logits is None
    assert not network.per_frame
    assert network.weights.kind == "checkpoint"


def test_i3d_pooled_features_equal_the_reference(i3d, two_clips):
    pooled = i3d.pool(preprocess(two_clips[1:]))
    np.testing.assert_allclose(pooled, golden("i3d_pseudo.npz")["pool1024_own_f64"][1:], atol=1e-4)


def test_fvd_of_reference_features_equals_the_reference():
    known = golden("i3d_pseudo.npz")
    sets = known["feats_A_f32"], known["feats_B_f32"]
    assert frechet_distance(*sets) == pytest.approx(41.64286868624538, rel=1e-5)
    assert frechet_distance(*sets, ddof=1) == pytest.approx(43.08995080724321, rel=1e-5)


def test_fvd_of_clips_equals_the_reference(i3d):
    known = golden("i3d_pseudo.npz")
    found = [i3d(squares(2, 16, 64, 1)), i3d(squares(2, 16, 64, 2, speed=2))]
    expected = frechet_distance(known["feats_A_f32"][:2], known["feats_B_f32"][:2])
    assert frechet_distance(*found) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("frames", [9, 14])
def test_i3d_equals_the_plain_network_for_any_length(i3d, frames):
    plain = plain_i3d.PlainI3D()
    missing, unknown = plain.load_state_dict(i3d_state(), strict=False)
    assert not unknown
    assert all(name.endswith("num_batches_tracked") for name in missing)
    clips = squares(1, frames, 224, 3)
    torch.testing.assert_close(i3d(clips), plain(preprocess(clips)), atol=1e-4, rtol=1e-4)


def test_i3d_needs_nine_frames(i3d):
    with pytest.raises(ShapeError, match="at least 9 frames"):
        i3d(noise(1, 8, 32, 0))


def test_c3d_from_chainers_format_gives_the_reference_logits(tmp_path, monkeypatch, two_clips):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    written = write_c3d(tmp_path)
    network = load_features("c3d", tmp_path)
    for path in written:
        path.unlink()  # a third of a gigabyte
    found, known = network(two_clips), golden("c3d_pseudo.npz")
    scale = np.abs(known["fc8"]).max()
    np.testing.assert_allclose(found.logits, known["fc8"], atol=1e-4 * scale)
    np.testing.assert_allclose(found.features[:, :32], known["fc7_first32"], atol=1e-4 * scale)
    np.testing.assert_allclose(found.logits.softmax(1), known["prob"], atol=1e-6)
    assert network.weights.kind == "npz"


def test_c3d_preprocesses_clips_like_the_reference(two_clips):
    network = c3d.C3D()
    mean = 90 + 20 * np.random.default_rng(5).random(c3d.MEAN_SHAPE)
    network.mean.copy_(torch.from_numpy(mean)[None, :, :, 8:120, 8:120])
    sample = network.preprocess(two_clips)[:, :, ::5, ::16, ::16]
    np.testing.assert_allclose(sample, golden("c3d_pseudo.npz")["pre_sample"], atol=2e-3)
    with pytest.raises(ShapeError, match="16, h, w, 3"):
        network(two_clips[:, :12])


def test_inception_from_torch_fidelitys_file_gives_its_features(tmp_path, monkeypatch):
    expect(monkeypatch, "INCEPTION", write_inception(tmp_path))
    network = load_features("inception", tmp_path)
    clips = torch.stack([squares(2, 2, 256, 1).flatten(0, 1)[::2], noise(1, 2, 256, 0)[0]])
    found, known = network(clips), golden("inception_pseudo.npz")
    np.testing.assert_allclose(found.features, known["feat2048"], atol=1e-3)
    np.testing.assert_allclose(found.logits, known["logits_unbiased"], atol=1e-3)
    assert network.per_frame


def test_inception_preprocesses_frames_like_the_reference():
    frames = torch.cat([squares(2, 2, 256, 1).flatten(0, 1)[::2], noise(1, 2, 256, 0)[0]])
    seen = (inception.preprocess(frames) * 128 + 128).movedim(1, -1)[:, ::23, ::23]
    np.testing.assert_allclose(seen, golden("inception_pseudo.npz")["resize_sample"], atol=5e-3)
    with pytest.raises(ShapeError, match="Inception takes"):
        inception.preprocess(frames[0])


def test_lpips_equals_the_published_package(tmp_path, monkeypatch):
    """Known: the package lpips 0.1.4 with these pseudo-weights in AlexNet and its own layers."""
    for name, path in zip(("ALEXNET", "LPIPS_LINEAR"), write_lpips(tmp_path), strict=True):
        expect(monkeypatch, name, path)
    network = load_lpips(tmp_path)
    a = torch.cat([noise(1, 2, 64, 0), squares(1, 2, 64, 1)])
    b = torch.cat([squares(1, 2, 64, 2), squares(1, 2, 64, 3)])
    found = network.distance(a, b)
    assert found.shape == (2, 2)
    known = [0.33185940980911255, 0.3318497836589813, 0.4826255142688751, 0.48374372720718384]
    assert found.flatten().tolist() == pytest.approx(known, rel=1e-5)
    assert network.distance(a, a).tolist() == [[0, 0], [0, 0]]


def test_lpips_rejects_small_or_mismatched_frames():
    network, frames = lpips.Lpips(), noise(1, 2, 30, 0)[0]
    with pytest.raises(ShapeError, match="LPIPS takes 31"):
        network(frames, frames)
    with pytest.raises(ShapeError, match="must be the same"):
        network(frames, frames[:1])


def test_folded_batch_norm_equals_batch_norm():
    conv, norm = nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5, eps=1e-3).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        tensor.data.uniform_(0.5, 2)
    state = {f"a.conv.{name}": tensor for name, tensor in conv.state_dict().items()}
    state |= {f"a.bn.{name}": tensor for name, tensor in norm.state_dict().items()}
    folded = fold_batch_norm(state, "conv")
    x = torch.randn(2, 3, 8, 8)
    found = nn.functional.conv2d(x, folded["a.weight"], folded["a.bias"])
    torch.testing.assert_close(found, norm(conv(x)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_convolve_equals_the_layer_and_relu(monkeypatch, onednn, size):
    monkeypatch.setattr("latte_cli.metrics.networks.layers._has_onednn", lambda: onednn)
    layer, x = nn.Conv3d(6, 5, size, padding=size // 2), torch.randn(2, 6, 4, 7, 8)
    torch.testing.assert_close(convolve(layer, x), layer(x).relu(), atol=1e-5, rtol=1e-5)
