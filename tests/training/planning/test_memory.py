"""The predicted memory of a step, held to that of real steps, and to counts by hand."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from latte_cli.config import Config, load_config
from latte_cli.diffusion import Diffusion
from latte_cli.models.attention import as_on_gpu
from latte_cli.training.planning.measuring import synthetic_batch
from latte_cli.training.planning.memory import MemoryModel
from latte_cli.training.state import new_state
from latte_cli.training.step import train_step

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
    chosen = config(*words)
    for clips in (1, 3):
        predicted, real = MemoryModel(chosen).step(clips), measured(chosen, clips)
        print(words, clips, predicted.total / real, vars(predicted), real)
        assert predicted.total == pytest.approx(real, rel=0.1)
