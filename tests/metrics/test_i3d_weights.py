"""I3D's weights: each format with the published numbers is accepted, other numbers are not."""

from pathlib import Path

import pytest
import torch
from helpers.pseudo import golden, squares
from helpers.published import expect, i3d_state, write_checkpoint
from safetensors.torch import save_file
from torch import Tensor, nn

from latte_cli.metrics import load_features
from latte_cli.metrics.loading import i3d_checkpoint_bytes, i3d_layout, read_i3d_checkpoint
from latte_cli.metrics.networks.i3d import I3D, published_shapes
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.weight_files.published import git_blob


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("deepmind"))


def test_tensor_offsets_equal_deepminds_index():
    shapes, found, start = published_shapes(), [], 0
    for tensorflow, name in i3d_layout().items():
        count = 1
        for side in shapes[name]:
            count *= side
        found.append((tensorflow, name, list(shapes[name]), start, 4 * count))
        start += 4 * count
    known = golden("i3d_rgb_scratch_map.json")
    keys = ("tf", "torch", "torch_shape", "offset", "bytes")
    assert found == [tuple(tensor[key] for key in keys) for tensor in known["tensors"]]
    assert start == known["size"]


def test_a_checkpoint_round_trips(checkpoint):
    state, found = i3d_state(), read_i3d_checkpoint(checkpoint)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    kernel = torch.frombuffer(
        bytearray(checkpoint.read_bytes()[768 : 768 + 263424]), dtype=torch.float32
    )
    first = state["Conv3d_1a_7x7.conv3d.weight"]
    assert torch.equal(kernel.reshape(7, 7, 7, 3, 64)[1, 2, 3, 0, 5], first[5, 0, 1, 2, 3])


@pytest.mark.parametrize("name", ["i3d_pretrained_400.pt", "i3d_rgb_scratch.safetensors"])
def test_a_conversion_with_the_same_numbers_is_accepted(checkpoint, tmp_path, monkeypatch, name):
    expect(monkeypatch, "I3D_CHECKPOINT", checkpoint)
    state = i3d_state() | {"Conv3d_1a_7x7.bn.num_batches_tracked": torch.tensor(3)}
    (save_file if name.endswith("safetensors") else torch.save)(state, tmp_path / name)
    network = load_features("i3d", tmp_path)
    assert network.weights.kind == "state dict"
    assert network.weights.files == (tmp_path / name,)
    assert network.weights.sha256 == load_features("i3d", checkpoint.parent).weights.sha256


@pytest.mark.parametrize("name", ["logits.conv3d.bias", "Mixed_5b.b2b.bn.weight"])
def test_a_conversion_with_a_different_number_is_an_error(checkpoint, tmp_path, monkeypatch, name):
    expect(monkeypatch, "I3D_CHECKPOINT", checkpoint)
    state = i3d_state()
    state[name][0] += 1e-3
    torch.save(state, tmp_path / "i3d_pretrained_400.pt")
    with pytest.raises(CheckpointError, match=r"not the published i3d_pretrained_400\.pt"):
        load_features("i3d", tmp_path)


def test_a_conversion_of_another_network_is_an_error(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "i3d_pretrained_400.pt")
    with pytest.raises(CheckpointError, match=r"Conv3d_1a_7x7.bn.bias is missing"):
        load_features("i3d", tmp_path)


def test_a_checkpoint_with_another_checksum_is_an_error(checkpoint):
    with pytest.raises(CheckpointError, match=r"not the published .* git's SHA-1") as refusal:
        load_features("i3d", checkpoint.parent)
    assert "kinetics-i3d" in refusal.value.hint


def test_a_truncated_checkpoint_is_an_error(checkpoint, tmp_path):
    path = tmp_path / checkpoint.name
    path.write_bytes(checkpoint.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="size in bytes is 50818172 instead of 50818176"):
        load_features("i3d", tmp_path)
    with pytest.raises(CheckpointError, match="I3D's tensors have 50818176"):
        read_i3d_checkpoint(path)


pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


class Archive(nn.Module):
    """Answers like StyleGAN-V's archive: called to resize and normalize, it returns 400 numbers."""

    def forward(
        self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> Tensor:
        called_right = float(rescale and resize and return_features)
        return called_right * x.float().mean(dim=(2, 3, 4)).repeat(1, 134)[:, :400]


def write_archive(folder: Path) -> Path:
    torch.jit.script(Archive()).save(folder / "i3d_torchscript.pt")
    return folder / "i3d_torchscript.pt"


def test_a_torchscript_archive_runs_only_if_trusted(tmp_path, monkeypatch):
    path = write_archive(tmp_path)
    expect(monkeypatch, "I3D_TORCHSCRIPT", path)
    with pytest.raises(CheckpointError, match="contains code and is not loaded") as refusal:
        load_features("i3d", tmp_path)
    assert "--trust-torchscript" in refusal.value.hint
    network = load_features("i3d", tmp_path, trust_torchscript=True)
    clips = squares(2, 9, 16, 1)
    found = network(clips).features
    assert found.shape == (2, 400)
    torch.testing.assert_close(found[:, :3], clips.float().mean(dim=(1, 2, 3)))
    assert network.weights.kind == "torchscript"


def test_a_trusted_archive_must_be_the_published_one(tmp_path):
    write_archive(tmp_path)
    with pytest.raises(CheckpointError, match=r"not the published i3d_torchscript\.pt"):
        load_features("i3d", tmp_path, trust_torchscript=True)


def test_weights_are_preferred_over_a_trusted_archive(checkpoint, tmp_path, monkeypatch):
    expect(monkeypatch, "I3D_CHECKPOINT", checkpoint)
    write_archive(tmp_path)
    (tmp_path / checkpoint.name).symlink_to(checkpoint)
    network = load_features("i3d", tmp_path, trust_torchscript=True)
    assert network.weights.kind == "checkpoint"


def test_written_checkpoints_have_the_git_checksum_of_the_file(checkpoint):
    network = I3D()
    network.load_published(read_i3d_checkpoint(checkpoint))
    content = checkpoint.read_bytes()
    assert git_blob(i3d_checkpoint_bytes(i3d_state())) == git_blob(content)
    assert git_blob(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
