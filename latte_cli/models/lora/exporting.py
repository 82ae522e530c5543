"""The adapters of a checkpoint, without the network that they change."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from latte_cli.checkpoints.folder import read_checkpoint_config
from latte_cli.models.loading import build_model
from latte_cli.models.lora.adapters import checksum_of_network, read_adapter, write_adapter
from latte_cli.models.lora.layers import DOWN, UP, adapters_of, without_adapters
from latte_cli.models.reading import EMA_WEIGHTS, is_latte_folder
from latte_cli.runtime.errors import CheckpointError, LatteError
from latte_cli.runtime.weight_files.reading import read_tensor_file


@dataclass(frozen=True)
class TrainedAdapter:
    """The adapters of a checkpoint.

    Attributes:
        layers: matrices by `LAYER.lora_A` and `LAYER.lora_B`.
        rank: of each.
        alpha: they are scaled by alpha over rank.
        base: checksum of the network that they are for.
    """

    layers: Mapping[str, Tensor]
    rank: int
    alpha: float
    base: str

    @property
    def parameters(self) -> int:
        """The number of them."""
        return sum(value.numel() for value in self.layers.values())

    def write(self, folder: Path) -> None:
        """Write them in the layouts of peft and of diffusers; the folder appears whole."""
        write_adapter(folder, self.layers, self.rank, self.alpha, self.base)

    def is_in(self, folder: Path) -> bool:
        """Whether a folder holds the same adapters already."""
        try:
            found = read_adapter(folder)
        except (LatteError, OSError):
            return False
        names = {name.rpartition(".")[0] for name in self.layers}
        if found.base != self.base or set(found.layers) != names:
            return False
        return all(
            torch.equal(each.down, self.layers[f"{name}.{DOWN}"])
            and torch.equal(each.up, self.layers[f"{name}.{UP}"])
            and each.scale == self.alpha / self.rank
            for name, each in found.layers.items()
        )


def read_trained_adapter(checkpoint: Path) -> TrainedAdapter:
    """Read the adapters of a checkpoint of a run with `train.lora`.

    Raises:
        CheckpointError: if the checkpoint has none.
    """
    lora = read_checkpoint_config(checkpoint).train.lora if is_latte_folder(checkpoint) else None
    if lora is None:
        raise CheckpointError(
            f"{checkpoint}: no checkpoint with adapters", hint="-o train.lora.rank=16 trains some"
        )
    weights = read_tensor_file(checkpoint / EMA_WEIGHTS)
    base = build_model(read_checkpoint_config(checkpoint))
    base.load_state_dict(without_adapters(weights, 0.0))
    return TrainedAdapter(
        adapters_of(weights), lora.rank, lora.scale_alpha, checksum_of_network(base)
    )
