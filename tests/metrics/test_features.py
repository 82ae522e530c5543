"""Networks as callables: a row depends on its clip alone."""

from pathlib import Path

import pytest
import torch
from helpers.pseudo import noise, squares
from helpers.published import i3d_state
from torch import Tensor, nn

from latte_cli.metrics.features import DistanceNetwork, FeatureNetwork
from latte_cli.metrics.loading import LoadedNetwork
from latte_cli.metrics.networks.i3d import I3D
from latte_cli.metrics.weights import Origin
from latte_cli.runtime.errors import ShapeError

ORIGIN = Origin("state dict", (Path("weights.pt"),), "0" * 64)


class MeanColors(nn.Module):
    """Mean color of frames, (n, h, w, 3); records batch sizes and numbers of threads."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []
        self.threads: set[int] = set()

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        self.counts.append(len(frames))
        self.threads.add(torch.get_num_threads())
        colors = frames.float().flatten(1, -2).mean(dim=1)
        return colors, colors.sum(dim=1, keepdim=True)


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_i3d_logits_do_not_depend_on_batch_or_threads(two_threads):
    module = I3D()
    module.load_published(i3d_state())
    network, clips = FeatureNetwork("i3d", LoadedNetwork(module, ORIGIN)), squares(3, 9, 32, 1)
    together = network(clips).features
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    one_by_one = torch.cat([network(clip).features for clip in clips.split(1)])
    assert torch.equal(together, one_by_one)


def test_a_per_frame_network_gives_a_row_per_frame(two_threads):
    module, clips = MeanColors(), noise(3, 20, 8, 0)
    found = FeatureNetwork("inception", LoadedNetwork(module, ORIGIN))(clips)
    torch.testing.assert_close(found.features, clips.float().mean(dim=(2, 3)).flatten(0, 1))
    torch.testing.assert_close(found.logits[:, 0], found.features.sum(dim=1))
    assert sorted(module.counts) == [4, 4, 4, 16, 16, 16]
    assert module.threads == {1}


@pytest.mark.parametrize("name", ["c3d", "inception"])
def test_gpu_batches_give_the_same_rows(name):
    """The way that GPUs take, on the CPU: batches of clips are of one size, rows of filling go."""
    module, clips = MeanColors(), noise(3, 2, 8, 0)
    network = FeatureNetwork(name, LoadedNetwork(module, ORIGIN))
    expected = network(clips)
    module.counts.clear()
    found = network._batch(clips)
    torch.testing.assert_close(found.features, expected.features)
    torch.testing.assert_close(found.logits, expected.logits)
    assert module.counts == ([8] if name == "c3d" else [2, 2, 2])


def test_other_tensors_than_clips_are_an_error():
    network = FeatureNetwork("c3d", LoadedNetwork(MeanColors(), ORIGIN))
    for clips in (noise(1, 2, 8, 0)[0], noise(1, 2, 8, 0).float(), noise(1, 2, 8, 0)[:0]):
        with pytest.raises(ShapeError, match="a feature network takes"):
            network(clips)


def test_distances_have_one_number_per_frame():
    class Differences(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (a.float() - b.float()).abs().mean(dim=(1, 2, 3))

    network = DistanceNetwork(LoadedNetwork(Differences(), ORIGIN))
    a, b = noise(2, 20, 8, 0), noise(2, 20, 8, 1)
    expected = (a.float() - b.float()).abs().mean(dim=(2, 3, 4))
    torch.testing.assert_close(network.distance(a, b), expected)
    with pytest.raises(ShapeError, match="must be the same"):
        network.distance(a, b[:, :5])
