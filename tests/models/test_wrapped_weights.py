"""Weights as training programs save them: in dicts, under prefixes, beside other objects."""

import argparse
import datetime
import pathlib
import pickle
from collections import OrderedDict, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from latte_cli.models import Latte, LatteShape
from latte_cli.models.reading import read_weights
from latte_cli.runtime.errors import CheckpointError, LatteWarning


class Settings(dict):
    """As EasyDict, AttributeDict and the like."""


class Callback:
    """An object with attributes, some of them tensors."""

    def __init__(self) -> None:
        self.best, self.path = torch.zeros(2), pathlib.Path("runs/best.ckpt")


@pytest.fixture
def weights() -> dict[str, Tensor]:
    model = Latte(LatteShape(8, 4, 2, 24, 2, 3, num_classes=3))
    return {name: torch.randn_like(value) for name, value in model.state_dict().items()}


def prefixed(weights, prefix):
    return {f"{prefix}{name}": value for name, value in weights.items()}


def same(path, weights) -> None:
    found = read_weights(path)
    assert found.kind == "latte"
    assert found.weights.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(found.weights[name], value), name


OTHER_OBJECTS = {
    "namespace": argparse.Namespace(lr=1e-4, out=pathlib.Path("out")),
    "numpy_number": np.float64(3),
    "numpy_array": np.arange(3.0),
    "numpy_random_state": np.random.default_rng(0).bit_generator.state,
    "path": pathlib.PurePosixPath("a/b"),
    "windows_path": pathlib.PureWindowsPath("a/b"),
    "date": datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
    "simple_namespace": SimpleNamespace(a=[1, {2}, frozenset([3])], b=1 + 2j),
    "dict_subclass": Settings(a=1, nested=Settings(b=2)),
    "defaultdict": defaultdict(list, a=[1]),
    "object": Callback(),
    "class": Callback,
    "function": torch.nn.functional.gelu,
    "slice": slice(1, 2),
    "optimizer": {"state": {0: {"step": torch.tensor(1)}}, "param_groups": [{"lr": 1e-4}]},
    "device_and_dtype": [torch.device("cpu"), torch.float16, torch.Size([1])],
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", OTHER_OBJECTS)
def test_other_objects_beside_the_weights(weights, tmp_path, kind, protocol):
    content = {"model": {}, "ema": weights, "args": OTHER_OBJECTS[kind], "steps": 7}
    torch.save(content, tmp_path / "w.pt", pickle_protocol=protocol)
    same(tmp_path / "w.pt", weights)


@pytest.mark.parametrize("key", OTHER_OBJECTS)
def test_other_objects_in_files_of_old_torch(weights, tmp_path, key):
    content = {"ema": weights, "args": OTHER_OBJECTS[key]}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    same(tmp_path / "w.pt", weights)


@pytest.mark.parametrize(
    "keys",
    ["state_dict", "module", "model_state_dict", "params_ema", "net", "generator.weights", "a.b.c"],
)
def test_wrapping_dicts_of_any_name(weights, tmp_path, keys):
    content = weights
    for key in reversed(keys.split(".")):
        content = {key: content, "epoch": 3, "loss": torch.tensor(0.1)}
    torch.save(content, tmp_path / "w.pt")
    same(tmp_path / "w.pt", weights)


PREFIXES = [
    "module.",
    "module.module.",
    "_orig_mod.",
    "_orig_mod.module.",
    "module._orig_mod.",
    "model.",
    "model.diffusion_model.",
    "net.module.",
    "_fsdp_wrapped_module.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_prefixes_of_all_names(weights, tmp_path, prefix, suffix):
    path = tmp_path / f"w{suffix}"
    content = prefixed(weights, prefix)
    torch.save({"model": content}, path) if suffix == ".pt" else save_file(content, path)
    same(path, weights)


def test_wrappers_of_single_blocks(weights, tmp_path):
    inner = {name.replace("blocks.0.", "blocks.0._orig_mod."): v for name, v in weights.items()}
    inner = {name.replace("x_embedder.", "x_embedder.module."): v for name, v in inner.items()}
    save_file(inner, tmp_path / "w.safetensors")
    same(tmp_path / "w.safetensors", weights)


@pytest.mark.parametrize("name", ["w.pth", "w.bin", "w.ckpt", "w.PT", "w.SAFETENSORS", "w", "w.x"])
def test_suffixes_do_not_matter(weights, tmp_path, name):
    for save in (lambda: torch.save({"ema": weights}, name), lambda: save_file(weights, name)):
        save()
        same(tmp_path / name, weights)


def test_whole_networks_saved_as_objects(tmp_path):
    model = Latte(LatteShape(8, 4, 2, 24, 2, 3, num_classes=3))
    torch.save({"ema": nn.DataParallel(model), "epoch": 1}, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt").weights
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())


def test_an_averaged_model_of_torch(tmp_path):
    model = Latte(LatteShape(8, 4, 2, 24, 2, 3, num_classes=3))
    averaged = torch.optim.swa_utils.AveragedModel(model)
    torch.save({"swa": averaged.state_dict()}, tmp_path / "w.pt")
    same(tmp_path / "w.pt", model.state_dict())


def test_parameters_of_other_types_that_hold_plain_tensors(weights, tmp_path):
    marked = OrderedDict((name, nn.Parameter(value)) for name, value in weights.items())
    for value in marked.values():
        value.tensor_model_parallel = False  # as Megatron and DeepSpeed mark them
    torch.save({"module": marked, "args": argparse.Namespace()}, tmp_path / "w.pt")
    same(tmp_path / "w.pt", weights)


def test_an_empty_ema_is_passed_over_with_a_warning(weights, tmp_path):
    torch.save({"ema": {}, "model": weights}, tmp_path / "w.pt")
    with pytest.warns(LatteWarning, match="`ema` holds no weights of a network: those in `model`"):
        same(tmp_path / "w.pt", weights)


@pytest.mark.parametrize("key", ["ema", "params_ema", "ema_state_dict", "model_ema", "state.ema"])
def test_averaged_weights_come_first_wherever_they_lie(weights, tmp_path, key):
    content = {"state_dict": {name: value + 1 for name, value in weights.items()}}
    first, *rest = key.split(".")
    content[first] = {rest[0]: weights} if rest else weights
    torch.save(content, tmp_path / "w.pt")
    same(tmp_path / "w.pt", weights)


def test_averaged_weights_by_prefix_in_one_dict(weights, tmp_path):
    other = {name: value + 1 for name, value in weights.items()}
    content = {**prefixed(other, "online_model."), **prefixed(weights, "ema_model.")}
    torch.save({**content, "step": torch.tensor(3)}, tmp_path / "w.pt")
    same(tmp_path / "w.pt", weights)


def test_several_networks_are_named(weights, tmp_path):
    torch.save({"net": weights, "other": dict(weights)}, tmp_path / "w.pt")
    with pytest.warns(LatteWarning, match="several networks, net, other: `net` is read"):
        same(tmp_path / "w.pt", weights)


def test_what_stands_in_the_way_is_named(weights, tmp_path):
    def message(content) -> str:
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(CheckpointError) as error:
            read_weights(tmp_path / "w.pt")
        return str(error.value)

    assert "it holds a dict of args, epoch" in message({"args": Callback, "epoch": 1})
    assert "it holds a datetime.date" in message(datetime.date(2024, 1, 1))
    assert "it holds a list" in message([torch.zeros(1)])
    odd = {**weights, "blocks.0.attn.qkv.weight": np.zeros(3)}
    assert "blocks.0.attn.qkv.weight is a numpy" in message({"ema": odd})
    assert "twice" in message({**weights, "blocks.0._orig_mod.attn.qkv.weight": torch.zeros(1)})


def test_pixart_under_its_authors_names_is_recognized(weights, tmp_path):
    torch.save({"state_dict": {**weights, "y_embedder.y_proj.fc1.weight": torch.zeros(1)}}, "w.pth")
    with pytest.raises(CheckpointError, match="under its authors' names"):
        _ = read_weights(tmp_path / "w.pth").kind


def test_plain_pickles_are_refused(weights, tmp_path):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": weights}))
    with pytest.raises(CheckpointError, match="not a file of weights"):
        read_weights(tmp_path / "w.pkl")


def test_the_file_in_a_folder_of_another_program_is_named(weights, tmp_path):
    save_file(weights, tmp_path / "model.safetensors")
    torch.save({}, tmp_path / "optimizer.bin")
    with pytest.raises(CheckpointError) as error:
        read_weights(tmp_path)
    assert error.value.hint == f"give the file itself: {tmp_path / 'model.safetensors'}"
    same(tmp_path / "model.safetensors", weights)
