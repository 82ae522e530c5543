"""What tests of `latte train` share: command lines, runs in several processes, and their files."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from conftest import World, tiny

CLOCKED = ("clips_per_s", "peak_share", "memory_gb")
SEVERAL = {
    "train__batch_size": 8,
    "train__precision": "float32",
    "train__lr_schedule": "constant",
    "train__keep": 9,
}
_RANKS = Path(__file__).parent / "ranks.py"


def train_words(
    world: World, *words: object, runs: str = "runs", **values: object
) -> tuple[object, ...]:
    """`latte train` on the small world's latents; double underscores stand for dots."""
    latents = f"--latents-root={world.root / 'latents'}"
    return ("train", "--preset=shapes", *tiny(**values), latents, f"--runs-root={runs}", *words)


def several_words(world: World, runs: str = "runs", **values: object) -> list[object]:
    """The same with a batch that divides among several processes."""
    return list(train_words(world, runs=runs, **SEVERAL | values))


@dataclass(frozen=True)
class Launched:
    """Results of several launches in a folder: exit codes, seconds, and what each printed."""

    folder: Path
    codes: list[int]
    seconds: list[float]
    said: list[str]


def launch(folder: Path, launches: list[dict]) -> Launched:
    """Run command lines in several processes each, by `ranks.py`."""
    ended = subprocess.run(
        [sys.executable, str(_RANKS), json.dumps(launches)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    ends = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("[")]
    codes, seconds = zip(*ends, strict=True)
    return Launched(folder, list(codes), list(seconds), ended.stderr.split("-- end of launch --\n"))


def rows(run: Path | str, name: str = "metrics") -> list[dict]:
    """The lines of metrics.jsonl, or of another such file."""
    return [json.loads(line) for line in (Path(run) / f"{name}.jsonl").read_text().splitlines()]


def curve(run: Path | str) -> list[dict]:
    """The lines of metrics.jsonl without what depends on the clock or the computer."""
    return [{k: v for k, v in row.items() if k not in CLOCKED} for row in rows(run)]


def bad_steps(run: Path | str) -> list[dict]:
    """The lines of bad_steps.jsonl."""
    return rows(run, "bad_steps")


def evaluated(run: Path | str) -> dict[int, dict[str, float]]:
    """The numbers in a run's result files, by step."""
    found = {}
    for path in sorted((Path(run) / "eval").glob("step-*.json")):
        result = json.loads(path.read_text())
        numbers = {name: number["value"] for name, number in result["metrics"].items()}
        found[result["notes"]["step"]] = numbers
    return found
