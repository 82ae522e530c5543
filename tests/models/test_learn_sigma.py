"""Networks without a covariance: their size is read off weights, and they train and sample."""

import pytest
import torch
from conftest import succeed, tiny
from helpers.networks import randomized, small_shape
from safetensors.torch import save_file

from latte_cli.config import load_config
from latte_cli.diffusion import Diffusion
from latte_cli.models import Latte, LatteShape, load_latte
from latte_cli.models.initializing.from_weights import initialize
from latte_cli.models.reading import read_weights
from latte_cli.runtime.errors import ConfigError

CLIP = torch.randn(2, 4, 4, 4, 4, generator=torch.Generator().manual_seed(0))
T, Y = torch.tensor([3, 700]), torch.tensor([1, 2])


def test_weights_without_covariance_load(tmp_path):
    model = randomized(Latte(LatteShape(8, 4, 2, 384, 2, 6, num_classes=3, learn_sigma=False)))
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    loaded = load_latte(tmp_path / "w.safetensors")
    assert loaded.shape.learn_sigma is False
    x = torch.randn(1, 4, 4, 8, 8)
    out = loaded(x, torch.tensor([5]), torch.tensor([1]))
    assert out.shape == x.shape
    assert torch.equal(out, model(x, torch.tensor([5]), torch.tensor([1])))


def test_it_begins_with_the_prediction_of_a_network_that_has_one(tmp_path):
    """Published weights learn the covariance, too; the first channels predict."""
    full = randomized(Latte(small_shape()))
    torch.save(full.state_dict(), tmp_path / "w.pt")
    bare = Latte(small_shape(learn_sigma=False)).eval()
    initialize(bare, read_weights(tmp_path / "w.pt"))
    with torch.no_grad():
        assert torch.equal(bare(CLIP, T, Y), full(CLIP, T, Y)[:, :, :4])


@pytest.mark.parametrize("objective", ["eps", "v", "flow"])
def test_its_loss_is_the_error_of_the_prediction(objective):
    noise, out = torch.randn_like(CLIP), torch.randn(2, 4, 8, 4, 4)
    diffusion = Diffusion(objective=objective)
    full = diffusion.losses(lambda x, t: out, CLIP, T, noise)
    bare = diffusion.losses(lambda x, t: out[:, :, :4], CLIP, T, noise)
    assert torch.equal(bare.mse, full.mse)
    assert torch.equal(bare.total, full.mse)
    assert (bare.vlb == 0).all()


def test_it_trains_and_samples(world, tmp_path):
    values = tiny(model__learn_sigma="false", train__steps=2)
    succeed("train", "--preset=shapes", *values, *world.roots, "--run=bare")
    words = ("--preset=shapes", "--run=bare", f"--runs-root={world.root / 'runs'}")
    succeed("sample", *words, "-n", 1, "--steps=2", f"--out={tmp_path / 'out'}")
    assert list((tmp_path / "out").glob("*.mp4"))


def test_ancestral_sampling_needs_a_covariance():
    assert load_config("ucf101", ["model.learn_sigma=false"]).sample.sampler == "ddim"
    with pytest.raises(ConfigError, match="needs a learned covariance"):
        load_config("ucf101", ["model.learn_sigma=false", "sample.sampler=ddpm"])
