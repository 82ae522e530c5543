"""Turn a checkpoint into one that ships: averaged weights alone, in float16.

python tests/recipes/ship.py CHECKPOINT latte_cli/assets/shapes-fast
"""

import sys
from pathlib import Path

from safetensors.torch import load_file

from latte_cli.checkpoints.folder import (
    read_checkpoint_config,
    read_checkpoint_meta,
    save_for_sampling,
)


def ship(checkpoint: Path, out: Path) -> None:
    weights = load_file(checkpoint / "ema.safetensors")
    save_for_sampling(
        out,
        read_checkpoint_config(checkpoint),
        read_checkpoint_meta(checkpoint),
        {name: value.half() for name, value in weights.items()},
    )


if __name__ == "__main__":
    ship(Path(sys.argv[1]), Path(sys.argv[2]))
