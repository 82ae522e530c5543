"""The clips of a folder, whatever made it: a prepared data set, samples, or any videos."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latte_cli.checkpoints.folder import list_checkpoints, read_checkpoint_meta
from latte_cli.config.locations import shipped_networks
from latte_cli.data.manifest import MANIFEST, REJECTED, read_classes, video_from
from latte_cli.reporting.run_files import read_lines, run_of_clips
from latte_cli.runtime.errors import DataError, LatteError
from latte_cli.sampling.clip_list import GRID, SAMPLES, SETTINGS, STACK
from latte_cli.sampling.clip_stack import read_metadata
from latte_cli.video_io.frame_folders import in_natural_order, is_frame_name
from latte_cli.video_io.suffixes import is_video_name

_OUR_NAME = re.compile(r"(\d+)-seed(\d+)(?:-label(\d+))?(?:-(.+))?")
_IN_WORDS = ("checkpoint", "model", "steps", "sampler", "guidance", "cache", "frames", "precision")


@dataclass(frozen=True)
class Clip:
    """A clip of a folder.

    Attributes:
        name: of its file, relative to the folder.
        path: a video, an animated picture, a folder of frames, or an npz file of many clips.
        key: the same for clips of two folders that were sampled with the same seed and label.
        label: of its class, as a name if it has one.
        prompt: or caption.
        seed: that it was sampled with.
        split: `train` or `test`, of a data set.
        facts: length and size, as far as they are known.
        reason: why it was rejected from a data set.
        row: in an npz file.
        frames: names of the files, if it is a folder of them.
    """

    name: str
    path: Path
    key: str
    label: str = ""
    prompt: str = ""
    seed: int | None = None
    split: str = ""
    facts: str = ""
    reason: str = ""
    row: int | None = None
    frames: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClipFiles:
    """The clips of a folder.

    Attributes:
        folder: of the clips.
        kind: `data set`, `samples` or `folder`.
        clips: all of them, in order; they may have been deleted since they were listed.
        rejected: files that `latte prepare` found unusable.
        settings: what samples were made with, in words.
        notes: what is damaged or left out, as messages.
    """

    folder: Path
    kind: str
    clips: Sequence[Clip]
    rejected: Sequence[Clip] = ()
    settings: str = ""
    notes: Sequence[str] = field(default_factory=list)


def read_clips(folder: Path) -> ClipFiles:
    """The clips of a folder.

    Raises:
        DataError: if it holds none.
    """
    if (folder / MANIFEST).is_file() or (folder / REJECTED).is_file():
        return _data_set(folder)
    settings = _json(folder / SETTINGS)
    if (folder / SAMPLES).is_file() or (folder / STACK).is_file():
        clips = list(_samples(folder, _class_names(folder, settings)))
    else:
        clips = list(_any_videos(folder))
    if not clips:
        raise DataError(
            f"{folder}: neither clips nor a training run",
            hint="give runs, folders of clips, or prepared data sets as data/NAME",
        )
    kind = "samples" if settings else "folder"
    return ClipFiles(folder, kind, clips, settings=_in_words(settings))


def _data_set(folder: Path) -> ClipFiles:
    classes: Sequence[str] = ()
    notes = []
    try:
        classes = read_classes(folder)
    except (LatteError, OSError) as error:
        notes.append(f"Classes have no names: {error}.")
    rows, clips = read_lines(folder / MANIFEST), []
    for row in rows:
        with suppress(ValueError, TypeError, KeyError):
            video = video_from(row)
            known = video.label is not None and video.label < len(classes)
            label = classes[video.label] if known else video.label  # type: ignore[index]  # known
            rate = f", {video.fps:.4g} fps" if video.fps else ""
            clips.append(
                Clip(
                    name=video.path,
                    path=folder / video.path,
                    key=video.path,
                    label="" if label is None else str(label),
                    prompt=video.caption or "",
                    split=video.split,
                    facts=f"{video.frames} frames, {video.width} x {video.height}{rate}",
                    frames=_frames_of(folder / video.path),
                )
            )
    if len(clips) < len(rows):
        notes.append(f"{len(rows) - len(clips)} damaged lines of {MANIFEST} are left out.")
    rejected = [
        Clip(
            str(row["path"]), folder / str(row["path"]), str(row["path"]), reason=str(row["reason"])
        )
        for row in read_lines(folder / REJECTED)
        if "path" in row and "reason" in row
    ]
    return ClipFiles(folder, "data set", clips, rejected, notes=notes)


def _samples(folder: Path, classes: Sequence[str]) -> Iterator[Clip]:
    """The clips that are listed, or those of an npz file without a list."""
    rows = read_lines(folder / SAMPLES)
    if not rows:
        with suppress(LatteError, OSError):
            named = read_metadata(folder / STACK)
            rows = [
                {"name": name, "file": STACK, "row": row, **metadata}
                for row, (name, metadata) in enumerate(named.items())
            ]
    for number, row in enumerate(rows):
        name = str(row.get("name", number))
        file = str(row.get("file", name))
        label = row.get("label")
        known = isinstance(label, int) and label < len(classes)
        yield Clip(
            name=name if file == STACK else file,
            path=folder / file,
            key=_key(name),
            label="" if label is None else f"{label} {classes[label]}" if known else str(label),
            prompt=str(row.get("prompt") or ""),
            seed=seed if isinstance(seed := row.get("seed"), int) else None,
            row=line if isinstance(line := row.get("row"), int) else None,
            frames=_frames_of(folder / file),
        )


def _any_videos(folder: Path) -> Iterator[Clip]:
    """Videos and folders of frames below a folder; the folder that a clip lies in is its label."""
    for place, below, names in os.walk(folder):
        below[:] = in_natural_order(name for name in below if not name.startswith("."))
        around = Path(place)
        frames = _frames_of(around)
        found = [around] if frames and around != folder else []
        if not found:
            shown = (n for n in names if is_video_name(n) or n.lower().endswith(".webp"))
            found = [around / name for name in in_natural_order(n for n in shown if n != GRID)]
        for path in found:
            name = path.relative_to(folder).as_posix()
            named = _OUR_NAME.fullmatch(path.stem)
            label = "" if path.parent == folder else path.parent.name
            if named and named[3]:
                label = f"{named[3]} {named[4] or ''}".strip()
            seed = int(named[2]) if named else None
            key = _key(str(Path(name).with_suffix("")))
            yield Clip(name, path, key, label, seed=seed, frames=frames if path == around else ())


def _key(name: str) -> str:
    """Index, seed and label of our names, without the class's; another name as it is."""
    named = _OUR_NAME.fullmatch(name)
    return name if named is None else f"{named[1]}-{named[2]}-{named[3]}"


def _frames_of(path: Path) -> tuple[str, ...]:
    """Names of the frames in a folder of at least two; none of a file."""
    if path.suffix and not path.is_dir():
        return ()
    with suppress(OSError):
        names = [entry.name for entry in os.scandir(path) if is_frame_name(entry.name)]
        return tuple(in_natural_order(names)) if len(names) > 1 else ()
    return ()


def _class_names(folder: Path, settings: Mapping[str, Any]) -> Sequence[str]:
    """Names of the labels of sampled clips, from the checkpoint that they are from."""
    found = run_of_clips(folder)
    checkpoints = [] if found is None else list_checkpoints(found[0])
    for checkpoint in (*reversed(checkpoints), *shipped_networks()):
        with suppress(LatteError):
            meta = read_checkpoint_meta(checkpoint)
            own = meta.files.get("ema.safetensors") == settings.get("weights_sha256")
            if own or checkpoint in checkpoints:
                return meta.classes
    return ()


def _in_words(settings: Mapping[str, Any]) -> str:
    shown = {key: settings[key] for key in _IN_WORDS if settings.get(key) not in (None, "off")}
    return ", ".join(f"{key} {value}" for key, value in shown.items())


def _json(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        values = json.loads(path.read_text(encoding="utf-8"))
        return values if isinstance(values, dict) else {}
    return {}
