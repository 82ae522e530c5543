"""Command lines for training in several processes, which `ranks.py` starts."""

from pathlib import Path

from conftest import TINY, World

RANKS = Path(__file__).parent / "ranks.py"
VALUES = TINY | {
    "train.batch_size": 8,
    "train.precision": "float32",
    "train.lr_schedule": "constant",
    "train.keep": 9,
}


def words(world: World, runs: str = "runs", **values: object) -> list[str]:
    chosen = VALUES | {key.replace("__", "."): value for key, value in values.items()}
    options = [word for key, value in chosen.items() for word in ("-o", f"{key}={value}")]
    latents = f"--latents-root={world.root / 'latents'}"
    return ["train", "--preset=shapes", *options, latents, f"--runs-root={runs}"]
