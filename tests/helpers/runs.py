"""What tests of `latte train` share: the command's words, and what a run leaves."""

import json
from pathlib import Path

from conftest import World, tiny

MEASURED = ("clips_per_s", "peak_share", "memory_gb")


def train_words(
    world: World, *words: object, runs: str = "runs", **values: object
) -> tuple[object, ...]:
    """`latte train` on the small world's latents; double underscores stand for dots."""
    latents = f"--latents-root={world.root / 'latents'}"
    return ("train", "--preset=shapes", *tiny(**values), latents, f"--runs-root={runs}", *words)


def rows(run: Path | str) -> list[dict]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]


def curve(run: Path | str) -> list[dict]:
    """The same without what is measured by the clock, or of the machine."""
    return [{k: v for k, v in row.items() if k not in MEASURED} for row in rows(run)]


def bad_steps(run: Path | str) -> list[dict]:
    """The lines of bad_steps.jsonl."""
    lines = (Path(run) / "bad_steps.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
