"""Turn a checkpoint into one that ships: averaged weights alone, in float16.

python tests/recipes/ship.py CHECKPOINT latte_cli/assets/shapes
"""

import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file

from latte_cli.checkpoint import read_checkpoint_config, read_checkpoint_meta, write_meta
from latte_cli.files import write_tensors, write_text


def ship(checkpoint: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    weights = load_file(checkpoint / "ema.safetensors")
    write_tensors(out / "ema.safetensors", {name: value.half() for name, value in weights.items()})
    write_text(out / "config.yaml", read_checkpoint_config(checkpoint).to_yaml())
    write_meta(out, read_checkpoint_meta(checkpoint))


if __name__ == "__main__":
    ship(Path(sys.argv[1]), Path(sys.argv[2]))
