"""Does a text-to-video network of `shapes` do what sentences say? Shares as JSON.

    python tests/recipes/measure_t2v_shapes.py [--model embedded] [--out FOLDER] [OPTIONS OF t2v]

Samples a clip of each of 32 held-out sentences, which no training video has as its caption, and of
64 others of all wordings, colors, kinds and directions. Directions and colors are measured as by
`latte eval --metrics direction,color`, from the mp4 files. Interrupted, the same command goes on;
--overwrite replaces clips of other options.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latte_cli.cli import run_command
from latte_cli.evaluation.features.colors import moving_color
from latte_cli.evaluation.features.figures import find_figures
from latte_cli.evaluation.features.motion import direction_of
from latte_cli.sources.shapes import (
    COLORS,
    DIRECTIONS,
    KINDS,
    WORDINGS,
    color_in,
    color_name,
    direction_in,
    held_out_sentences,
    sentences,
)
from latte_cli.video_io import read_video

MIXED = 64


def mixed_sentences() -> list[str]:
    """Every direction, color, kind and wording about as often as the others; none is held out."""
    rng, found = random.Random(0), list[str]()
    while len(found) < MIXED:
        number = len(found)
        color, kind = COLORS[number % len(COLORS)], rng.choice(KINDS)
        text = sentences(color, kind, DIRECTIONS[number % len(DIRECTIONS)])[
            number // len(DIRECTIONS) % len(WORDINGS)
        ]
        if text not in (*held_out_sentences(), *found):
            found.append(text)
    return found


def verdict(text: str, path: Path) -> dict[str, bool]:
    """What a clip has of what its sentence asks for."""
    clip = read_video(path)
    color, figures = moving_color(clip), find_figures(clip)
    return {
        "direction": direction_of(clip) == direction_in(text),
        "color": color is not None and color_name(color) == color_in(text),
        "one figure": figures.flaw == "none",
        "kind": figures.kind in text.replace(",", "").split(),
    }


def measure(texts: Sequence[str], folder: Path, options: Sequence[str]) -> dict[str, Any]:
    """Sample the clips that are missing, each from its own noise; the shares, and what is wrong."""
    prompts = folder.with_name(f"{folder.name}.jsonl")
    prompts.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"prompt": text, "seed": seed} for seed, text in enumerate(texts))
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sampled: Any = run_command("t2v", f"--prompts={prompts}", f"--out={folder}", *options)
    verdicts = [verdict(*pair) for pair in zip(texts, sampled.paths, strict=True)]
    shares = {key: sum(each[key] for each in verdicts) / len(texts) for key in verdicts[0]}
    wrong = {
        f"wrong {key}": [t for t, each in zip(texts, verdicts, strict=True) if not each[key]]
        for key in ("direction", "color")
    }
    return {"clips": len(texts), **shares, **wrong}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--out", type=Path, default=Path("measured"))
    known, others = parser.parse_known_args()
    options = [f"--model={known.model}", *others]
    sets = {"held out": list(held_out_sentences()), "mixed": mixed_sentences()}
    found = {
        name: measure(texts, known.out / name.replace(" ", "-"), options)
        for name, texts in sets.items()
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
