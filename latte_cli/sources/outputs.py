"""Videos that this tool's own commands have made: no source, unless they are given as one."""

from pathlib import Path

from latte_cli.data.manifest import MANIFEST, REJECTED

# A command is told by the files that it writes, which are spelled out: the modules that write them
# would load the autoencoder's libraries. What else lies beside its videos may be the user's.
_MADE = (
    ((MANIFEST, REJECTED), ("unpacked", "videos")),  # archives, and `shapes`
    (("index.jsonl", "meta.json"), ("previews",)),  # latents
    (("config.yaml", "metrics.jsonl"), ("previews",)),  # a run
    (("settings.json", "samples.jsonl"), (".",)),  # drawn clips
    (("settings.json", ".plan.jsonl"), (".",)),  # the same, unfinished
    (("demo.mp4", "demo.png"), (".",)),
)
"""Files that tell a command's folder, and the folders in it where its videos lie; `.` is itself."""


def made_in(folder: Path) -> list[Path]:
    """Which folders inside a folder, or itself, hold the videos of a command that wrote there."""
    for files, inside in _MADE:
        if all((folder / name).is_file() for name in files):
            return [path for name in inside if (path := folder / name).is_dir()]
    return []
