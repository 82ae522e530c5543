"""Loading weights: published files, ours, and files that are neither."""

import pytest
import torch
from safetensors.torch import save_file

from latte_cli.models import Latte, LatteShape, load_latte
from latte_cli.models.loading import load_weights
from latte_cli.runtime.errors import CheckpointError


@pytest.fixture
def model() -> Latte:
    model = Latte(LatteShape(8, 4, 2, 384, 2, 6, num_classes=3))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.mark.parametrize("wrap", [dict, lambda w: {"ema": w, "model": {}}, lambda w: {"model": w}])
def test_published_files_load_in_each_of_their_forms(model, tmp_path, wrap):
    torch.save(wrap(model.state_dict()), tmp_path / "weights.pt")
    loaded = load_latte(tmp_path / "weights.pt")
    assert loaded.shape == model.shape, "the shape is read off the weights"
    assert not loaded.training
    x, t, y = torch.randn(1, 4, 4, 8, 8), torch.tensor([5]), torch.tensor([1])
    assert torch.equal(loaded(x, t, y), model(x, t, y))


def test_weights_of_parallel_training_lose_their_prefix(model, tmp_path):
    weights = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save(weights, tmp_path / "weights.pt")
    assert load_latte(tmp_path / "weights.pt").shape == model.shape


def test_half_precision_safetensors_load_as_float32(model, tmp_path):
    save_file({k: v.half() for k, v in model.state_dict().items()}, tmp_path / "w.safetensors")
    loaded = load_latte(tmp_path / "w.safetensors")
    assert next(loaded.parameters()).dtype == torch.float32


def test_heads_are_asked_for_where_the_width_is_not_published(tmp_path):
    odd = Latte(LatteShape(8, 4, 2, 48, 2, 4))
    save_file(odd.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="width 48"):
        load_latte(tmp_path / "w.safetensors")
    assert load_latte(tmp_path / "w.safetensors", heads=4).shape == odd.shape


@pytest.mark.parametrize(
    "content", [b"", b"not weights at all", b"\x80\x02c__main__\nEvil\nq\x00."]
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_other_files_are_refused(tmp_path, content, suffix):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a file of weights"):
        load_latte(path)


def test_code_in_a_pickle_is_never_run(tmp_path):
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"ema": Evil()}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError):
        load_latte(tmp_path / "w.pt")
    assert not (tmp_path / "ran").exists()


def test_missing_files_and_other_networks_are_named(model, tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        load_latte(tmp_path / "none.pt")
    save_file({"conv.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="not a Latte network"):
        load_latte(tmp_path / "w.safetensors")
    smaller = Latte(LatteShape(8, 4, 2, 192, 2, 6, num_classes=3))
    with pytest.raises(CheckpointError, match=r"\(192,.*in the file.*\(384,.*in the model"):
        load_weights(model, smaller.state_dict(), tmp_path)
