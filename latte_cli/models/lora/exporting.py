"""The adapters of a checkpoint, without the network that they change."""

from pathlib import Path

from latte_cli.checkpoints.folder import read_checkpoint_config
from latte_cli.models.loading import build_model
from latte_cli.models.lora.adapters import checksum_of_network, write_adapter
from latte_cli.models.lora.layers import adapters_of, without_adapters
from latte_cli.models.reading import EMA_WEIGHTS, is_latte_folder
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.weight_files.reading import read_tensor_file


def write_adapter_of(checkpoint: Path, folder: Path) -> int:
    """Write a checkpoint's adapters, with the checksum of the network that they are for.

    Args:
        checkpoint: of a run with `train.lora`.
        folder: in the layouts of peft and of diffusers.

    Returns:
        The number of their parameters.

    Raises:
        CheckpointError: if the checkpoint has none.
    """
    lora = read_checkpoint_config(checkpoint).train.lora if is_latte_folder(checkpoint) else None
    if lora is None:
        raise CheckpointError(
            f"{checkpoint}: no checkpoint with adapters", hint="-o train.lora.rank=16 trains some"
        )
    weights = read_tensor_file(checkpoint / EMA_WEIGHTS)
    layers = adapters_of(weights)
    base = build_model(read_checkpoint_config(checkpoint))
    base.load_state_dict(without_adapters(weights, 0.0))
    write_adapter(folder, layers, lora.rank, lora.scale_alpha, checksum_of_network(base))
    return sum(value.numel() for value in layers.values())
