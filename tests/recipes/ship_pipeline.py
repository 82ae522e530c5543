"""Turn a text-to-video pipeline into one that ships: all of its weights in float16.

python tests/recipes/ship_pipeline.py PIPELINE latte_cli/assets/t2v-shapes
"""

import json
import shutil
import sys
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from latte_cli.runtime.files import atomic_folder, write_tensors


def ship(pipeline: Path, out: Path) -> int:
    """Write the folder; its size in bytes."""
    with atomic_folder(out) as part:
        shutil.copytree(pipeline, part, dirs_exist_ok=True)
        for path in part.rglob("*.safetensors"):
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
                tensors = {name: halved(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
            path.unlink()
            write_tensors(path, tensors, metadata)
        for path in part.rglob("*config.json"):
            values = json.loads(path.read_text())
            values.pop("_name_or_path", None)  # where it lay on the machine that made it
            path.write_text(json.dumps(values, indent=2) + "\n")
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def halved(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


if __name__ == "__main__":
    print(f"{ship(Path(sys.argv[1]), Path(sys.argv[2])) / 1e6:.2f} MB")
