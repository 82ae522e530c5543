"""A small data set to encode, and the command that encodes it."""

import json
import shutil
from pathlib import Path

from conftest import World, succeed

from latte_cli.data.latents.reading import LatentSet
from latte_cli.data.manifest import MANIFEST

COUNT = 8
BYTES_A_VIDEO = 32 * 2 * 2 * 4 * 4 * 4  # frames, mean and std, float16, channels, side, side


def copy_data(world: World, folder: Path) -> Path:
    """Eight videos of 32 frames and 32 pixels, to damage."""
    shutil.copytree(world.root / "data" / "shapes", folder / "data")
    manifest = folder / "data" / MANIFEST
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:COUNT]))
    for path in videos_of(folder / "data")[COUNT:]:
        path.unlink()
    return folder / "data"


def videos_of(data: Path) -> list[Path]:
    return sorted((data / "videos").iterdir())


def words(data: Path, *more: object) -> list[object]:
    """The command; without mirrored views, which the preset leaves out."""
    return ["encode-latents", "--preset=shapes", "--size=32", f"--data={data}", "--out=l", *more]


def encode(data: Path, *more: object) -> dict[str, object]:
    """Run it; its result."""
    return json.loads(succeed("--json", *words(data, *more)).stdout)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def latents_of(folder: Path) -> dict[str, list[bytes]]:
    """The stored numbers of each video of the index, by its path; not the shard they are in."""
    latents = LatentSet.open(folder)
    views = (False, True) if latents.flips else (False,)
    parts = {
        video.path: [latents.moments(video, 0, video.frames, flip=view) for view in views]
        for video in latents.videos
    }
    return {
        path: [part.numpy().tobytes() for each in moments for part in (each.mean, each.std)]
        for path, moments in parts.items()
    }
