"""A fifth direction by LoRA: what an adapter teaches a network that knows four. Shares as JSON.

    python tests/recipes/lora_fifth_direction.py WORK_FOLDER

Trains a text-to-video network on clips of `shapes` that move right, down, left and up, as the first
stage of the preset `t2v-shapes`: it begins from the network of `shapes-fast`, which also teaches it
and knows eight directions by their labels; but it sees sentences of four. Then an adapter of rank 8
is trained on clips that move down and right. Measures both on sentences of the fifth direction and
of the four, as `measure_t2v_shapes.py` does, and whether the adapter at scale 0 gives the network's
own clips bit for bit. Colors are not learned in so short a time. Interrupted, the same command goes
on.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from math import prod
from pathlib import Path
from typing import Any

from measure_t2v_shapes import measure, mixed_sentences
from safetensors import safe_open

from latte_cli.runtime.files import atomic_folder
from latte_cli.sources.shapes import DIRECTIONS, direction_in
from latte_cli.video_io import read_video

FOUR, FIFTH = ("right", "down", "left", "up"), "down and right"
STEPS = {"four": 450, "fifth": 150}
STAGE = ["stages=[]", "train.teacher=embedded/shapes-fast", "train.teacher_guidance=2"]
STAGE += ["diffusion.timestep_mean=1.0", "train.ema_decay=0.99", "train.preview_every=0"]
ADAPTER = ["train.lr=3e-3", "train.init=runs/four"]
ADAPTER += ["train.lora.rank=8", "train.lora.targets='*to_q,*to_v'"]


def latte(*words: str) -> None:
    """Run a command of `latte`."""
    subprocess.run([sys.executable, "-m", "latte_cli", *words], check=True, stdout=sys.stderr)


def prepare() -> None:
    """Encode the videos of the four directions, and those of the fifth."""
    latte("prepare", "shapes", "--count", "3072", "--seed", "1")
    for name, wanted in (("four", FOUR), ("fifth", (FIFTH,))):
        folder = Path("data", name)
        if not folder.exists():
            with atomic_folder(folder) as part:
                shutil.copytree("data/shapes", part, copy_function=os.link, dirs_exist_ok=True)
                rows = (part / "manifest.jsonl").read_text().splitlines()
                chosen = [row for row in rows if DIRECTIONS[json.loads(row)["label"]] in wanted]
                (part / "manifest.jsonl").unlink()  # it is a link
                (part / "manifest.jsonl").write_text("".join(f"{row}\n" for row in chosen))
        latte("encode-latents", "--preset", "t2v-shapes", *data(name))


def data(name: str) -> list[str]:
    """Options that take the videos of one of the two tables."""
    return ["-o", f"data.root=data/{name}", "-o", f"data.latents=latents/{name}"]


def train(name: str, *words: str) -> None:
    changes = [*STAGE, f"train.steps={STEPS[name]}", *words]
    options = [option for word in changes for option in ("-o", word)]
    latte("train", "--preset", "t2v-shapes", "--run", name, *data(name), *options)


def parameters(file: Path) -> int:
    """How many numbers a file of weights holds."""
    with safe_open(file, "pt") as tensors:
        shapes = (tensors.get_slice(name).get_shape() for name in tensors.keys())  # noqa: SIM118
        return sum(prod(shape) for shape in shapes)


def results() -> dict[str, Any]:
    """Shares with and without the adapter, and what the adapter costs."""
    labels = [DIRECTIONS.index(direction) for direction in FOUR]
    known = [text for text in mixed_sentences() if direction_in(text) in labels]
    fifth = [f"a {color} {kind} moving {FIFTH}"
             for color in ("red", "green", "blue", "yellow", "purple", "cyan")
             for kind in ("circle", "square", "diamond", "triangle")]  # fmt: skip
    found: dict[str, Any] = {}
    for name, options in (("base", []), ("adapter", ["--lora=adapter"])):
        for title, texts in (("fifth", fifth), ("four", known)):
            folder = Path("clips") / f"{name}-{title}"
            found[f"{name}, {title}"] = measure(texts, folder, ["--model=base", *options])
    measure(fifth, Path("clips/off-fifth"), ["--model=base", "--lora=adapter:0"])
    found["off is the base bit for bit"] = same_clips("clips/off-fifth", "clips/base-fifth")
    share = parameters(Path("adapter/adapter_model.safetensors")) / parameters(
        Path("base/transformer/diffusion_pytorch_model.safetensors")
    )
    return {**found, "share of parameters": share}


def same_clips(one: str, other: str) -> bool:
    """Whether two folders hold the same frames, byte by byte; the files also say how."""
    pairs = [(path, Path(other, path.name)) for path in sorted(Path(one).glob("*.mp4"))]
    return bool(pairs) and all((read_video(a) == read_video(b)).all() for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    prepare()
    train("four")
    train("fifth", *ADAPTER)
    latte("convert", "runs/four", "base", "--to", "pipeline", "--overwrite")
    latte("convert", "runs/fifth", "adapter", "--to", "lora", "--overwrite")
    print(json.dumps(results(), indent=2))


if __name__ == "__main__":
    main()
