"""Small folders of clips for the tests of evaluation."""

from pathlib import Path

import numpy as np

from latte_cli.config import load_config
from latte_cli.data.manifest import VideoRecord, write_dataset
from latte_cli.runtime.console import Console
from latte_cli.runtime.files import sha256_of
from latte_cli.sources.shapes import label_of, render_clip
from latte_cli.video_io import write_video

QUIET = Console(quiet=True)
SIZE, FRAMES = 32, 4
SMALL = ("data.size=32", "data.frames=4", "data.interval=2", "eval.metrics=fd-random")


def small(*overrides):
    """A configuration of clips of 4 frames, 32 pixels, at interval 2."""
    return load_config("shapes", [*SMALL, *overrides])


def flat(*overrides):
    """The same as options of the command line."""
    return [word for value in (*SMALL, *overrides) for word in ("-o", value)]


def shapes_clip(index, frames=10, seed=0):
    return render_clip(index, seed=seed, size=SIZE, num_frames=frames)


def mp4_folder(folder: Path, count=6, frames=10, seed=0):
    """Clips of `shapes` as mp4, named as `latte sample` names them."""
    for index in range(count):
        name = f"{index:05d}-seed{seed}-label{label_of(index)}.mp4"
        write_video(folder / name, shapes_clip(index, frames, seed), 8)
    return folder


def frame_folders(folder: Path, count=6, frames=10, suffix="png", seed=0):
    """Clips of `shapes` as folders of pictures."""
    from PIL import Image

    for index in range(count):
        inside = folder / f"{index:05d}"
        inside.mkdir(parents=True)
        for number, frame in enumerate(shapes_clip(index, frames, seed)):
            Image.fromarray(frame).save(inside / f"{number:05d}.{suffix}")
    return folder


def npz_file(path: Path, count=6, frames=10, seed=0, save=np.savez):
    """Clips of `shapes` as one array, with their labels."""
    clips = np.stack([shapes_clip(index, frames, seed) for index in range(count)])
    save(path, clips=clips, labels=np.array([label_of(i) for i in range(count)]), seeds=[0] * count)
    return path


def prepared(folder: Path, count=6, frames=10, seed=0):
    """Clips of `shapes` as a prepared data set; the last two are its test split."""
    mp4_folder(folder / "videos", count, frames, seed)
    records = [
        VideoRecord(
            path=str(path.relative_to(folder)),
            frames=frames,
            fps=8.0,
            width=SIZE,
            height=SIZE,
            label=label_of(index),
            caption=None,
            split="test" if index >= count - 2 else "train",
            bytes=path.stat().st_size,
            sha256=sha256_of(path),
        )
        for index, path in enumerate(sorted((folder / "videos").glob("*.mp4")))
    ]
    write_dataset(folder, records, [], [f"{n}" for n in range(8)])
    return folder
