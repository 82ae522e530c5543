"""The predicted memory of a step, held to that of real steps, and to counts by hand."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from latte_cli.config import Config, load_config
from latte_cli.config.locations import asset
from latte_cli.diffusion import Diffusion
from latte_cli.models import build_model
from latte_cli.models.attention import as_on_gpu
from latte_cli.models.embeddings import spatial_table
from latte_cli.models.loading import load_latte
from latte_cli.runtime.errors import ConfigError
from latte_cli.training.planning.measuring import synthetic_batch
from latte_cli.training.planning.memory import MemoryModel
from latte_cli.training.planning.parameters import count_trained
from latte_cli.training.state import new_state
from latte_cli.training.step import clip_losses, train_step

CPU = torch.device("cpu")
SMALL = [
    *("model.size=null", "model.width=96", "model.heads=4", "model.depth=8", "data.size=128"),
    *("data.frames=8", "data.num_images=0", "train.precision=bf16", "train.init=null"),
]
TEXT = ["model.condition=text", "model.text_width=64", "train.checkpointing=blocks"]
LORA = [*TEXT, "train.init=x", "train.lora.rank=4"]


def config(*words: str) -> Config:
    return load_config(None, [*SMALL, *words])


class Living(TorchDispatchMode):
    """Bytes of all tensors that are made and still there, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, torch.Tensor):
                self.add(value)
        return out

    def add(self, value: torch.Tensor) -> None:
        storage = value.untyped_storage()
        if storage._cdata in self.seen:
            return
        self.seen.add(storage._cdata)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self.remove, storage._cdata, storage.nbytes())

    def remove(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size


def measured(chosen: Config, clips: int) -> int:
    """The most bytes of all tensors of a run in its second step."""
    living = Living()
    with as_on_gpu(), living:
        state = new_state(chosen, CPU)
        batch = synthetic_batch(chosen, clips)
        diffusion = Diffusion(**chosen.diffusion.model_dump())
        for _ in range(2):  # moments appear in the first
            living.peak = living.now
            train_step(state, [batch], diffusion, chosen.train, torch.bfloat16)
    return living.peak


@pytest.mark.parametrize(
    "words",
    [
        TEXT,
        [*TEXT, "train.checkpointing=none", "data.num_images=3"],
        [*TEXT, "train.trainable=temporal"],
        LORA,
        ["model.condition=class", "model.num_classes=5", "train.optimizer=muon"],
        ["model.variant=3", "train.ema=power", "train.checkpointing=blocks"],
        ["train.route.from=1", "train.route.to=-2"],
    ],
)
def test_the_predicted_memory_is_that_of_a_real_step_within_a_tenth(words):
    if "train.lora.rank=4" in words:
        pytest.importorskip("peft")
    chosen = config(*words, "model.depth=4")
    for clips in (1, 3):
        predicted, real = MemoryModel(chosen).step(clips), measured(chosen, clips)
        assert predicted.total == pytest.approx(real, rel=0.1)


def test_frozen_weights_have_neither_gradients_nor_moments():
    """As counted by hand: a pair of matrices of rank 4 for each linear layer of attention."""
    pytest.importorskip("peft")
    counts, whole = count_trained(config(*LORA)), count_trained(config(*TEXT))
    # Four spatial blocks with two attentions each, four temporal ones with one; four layers each.
    assert counts.trained == (4 * 2 + 4) * 4 * 4 * (96 + 96)
    assert (counts.total, counts.moments) == (whole.total + counts.trained, 2 * counts.trained)
    temporal = count_trained(config(*TEXT, "train.trainable=temporal"))
    blocks = build_model(config(*TEXT)).temporal_transformer_blocks.parameters()
    assert temporal.trained == sum(value.numel() for value in blocks)
    assert temporal.total == whole.total


def test_patterns_that_match_nothing_are_errors_of_the_plan_too():
    with pytest.raises(ConfigError, match=r"no parameter matches `nothing`"):
        count_trained(config(*TEXT, "train.trainable=nothing"))
    pytest.importorskip("peft")
    with pytest.raises(ConfigError, match=r"no linear layer matches `nothing`"):
        count_trained(config(*LORA, "train.lora.targets=nothing"))


def test_a_teacher_is_whole_on_each_device():
    taught = load_config("t2v-shapes", ["stages=[]", "train.teacher=embedded/shapes-fast"])
    count = sum(value.numel() for value in load_latte(asset("shapes-fast")).parameters())
    model = MemoryModel(taught)
    assert model.step(1).teacher == model.step(1, devices=8).teacher == 4 * count
    without = MemoryModel(load_config("t2v-shapes", ["stages=[]"])).step(1)
    label = 8  # of a clip, beside its caption
    assert model.step(1).total == without.total + 4 * count + label


def test_several_devices_share_what_is_sharded_and_nothing_else():
    model = MemoryModel(config(*TEXT, "train.shard=fsdp"))
    one, eight = model.step(1), model.step(1, devices=8)
    for part in ("weights", "averages", "moments", "gradients"):
        assert getattr(eight, part) == getattr(one, part) // 8
    assert one.gathered == 0 < eight.gathered
    copied = MemoryModel(config(*TEXT)).step(1, devices=8)
    assert (copied.weights, copied.gathered) == (one.weights, 0)
    assert copied.total >= one.total, "gradients lie in buckets from the beginning"


def test_a_simulation_leaves_no_tensors_without_values_behind():
    MemoryModel(config(*TEXT)).step(1)
    assert type(spatial_table(8, 8, 96, 8, 1)) is torch.Tensor
    small = config(*TEXT)
    batch, diffusion = synthetic_batch(small, 1), Diffusion(**small.diffusion.model_dump())
    losses = clip_losses(build_model(small), batch, diffusion, small.train, torch.float32)
    assert losses.total.isfinite().all()


def test_tensors_saved_for_the_backward_pass_are_most_of_the_activations():
    """Without recomputation: what a forward pass saves, each storage once."""
    chosen = config(*TEXT, "train.checkpointing=none")
    model, saved = build_model(chosen), {}
    own = {value.untyped_storage().data_ptr() for value in model.parameters()}

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return value

    batch, diffusion = synthetic_batch(chosen, 2), Diffusion(**chosen.diffusion.model_dump())
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value)
    with as_on_gpu(), hooks:
        clip_losses(model, batch, diffusion, chosen.train, torch.bfloat16)
    forward = MemoryModel(chosen).step(2, devices=2).activations
    assert sum(saved.values()) == pytest.approx(forward, rel=0.1)


@pytest.mark.parametrize(
    ("words", "devices", "gpu_gb"),
    [(["train.lora.rank=16", "train.init=x"], 1, 24), (["train.shard=fsdp"], 8, 80)],
)
def test_latte_1_is_trained_on_one_gpu_of_24_gb_by_adapters_and_on_eight_of_80_as_a_whole(
    words, devices, gpu_gb
):
    """16 frames of 512 pixels, with and without joint images: as the guide says."""
    pytest.importorskip("peft")
    for images in (0, 8):
        chosen = load_config("t2v", ["stages=[]", f"data.num_images={images}", *words])
        model = MemoryModel(chosen)
        assert model.parameters.total >= 1_057_000_000
        assert model.most_clips(gpu_gb * 10**9, devices) >= 1
