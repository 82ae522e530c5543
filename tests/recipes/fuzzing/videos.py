"""Damaged videos: what `latte prepare` says, against what ffmpeg says.

ffmpeg reports damage if it exits with an error, or prints a message of the level `error`, or says
that a packet or frame is corrupt, while it decodes the video stream. A video is accepted silently
if ffmpeg reports damage, `latte prepare` accepts the file, and its frames are not those of the
whole file: if they are, damage lies outside of the pictures (in sound, an index, metadata). A file
that was only cut off must be refused, too, if fewer frames are left, unless the manifest says that
its format does not tell its end. What is read for training must be as many frames as the manifest
says.
"""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fuzzing.cases import Case, Find, check_nothing_half_written, run
from fuzzing.damage import damage_bytes

FRAMES = 25
_SOUND = ("-f", "lavfi", "-i", "sine=frequency=440:duration=1")
_X264 = ("-c:v", "libx264", "-g", "10", "-preset", "veryfast")
CONTAINERS: dict[str, tuple[str, ...]] = {
    "h264.mp4": (*_SOUND, *_X264, "-c:a", "aac"),
    "fragments.mp4": (*_X264, "-movflags", "frag_keyframe+empty_moov+default_base_moof"),
    "fast.m4v": ("-c:v", "mpeg4", "-movflags", "+faststart"),
    "hevc.mp4": ("-c:v", "libx265", "-x265-params", "log-level=none", "-g", "10"),
    "mpeg4.mov": (*_SOUND, "-c:v", "mpeg4", "-c:a", "pcm_s16le"),
    "h263.3gp": ("-c:v", "h263", "-s", "128x96"),
    "h264.mkv": (*_SOUND, *_X264, "-c:a", "libopus"),
    "ffv1.mkv": ("-c:v", "ffv1", "-level", "3"),
    "vp8.webm": ("-c:v", "libvpx", "-g", "10", "-deadline", "realtime"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-g", "10", "-deadline", "realtime", "-cpu-used", "8"),
    "mpeg4.avi": (*_SOUND, "-c:v", "mpeg4", "-c:a", "mp3"),
    "mjpeg.avi": (
        "-c:v",
        "mjpeg",
    ),
    "h264.ts": (*_SOUND, *_X264, "-c:a", "aac"),
    "mpeg2.m2ts": (
        "-c:v",
        "mpeg2video",
    ),
    "flv1.flv": (*_SOUND, "-c:v", "flv", "-c:a", "mp3", "-ar", "44100"),
    "h264.flv": _X264,
    "theora.ogv": (*_SOUND, "-c:v", "libtheora", "-c:a", "libvorbis"),
    "vp8.ogg": ("-c:v", "libvpx", "-deadline", "realtime"),
    "pal.gif": (),
    "wmv2.wmv": (*_SOUND, "-c:v", "wmv2", "-c:a", "wmav2"),
    "mpeg2.mpg": (*_SOUND, "-c:v", "mpeg2video", "-c:a", "mp2"),
    "png.apng": ("-plays", "0"),
    "lossy.webp": (),
}
_OTHER_SUFFIXES = (".mp4", ".mkv", ".avi", ".ts", ".gif", ".webm", ".ogg", ".dat", ".webp", ".mov")
_REPORTED = ("[error]", "[fatal]", "[panic]", "corrupt")


def make(base: Path) -> None:
    """Write a whole video of each container."""
    folder = base / "videos"
    folder.mkdir(exist_ok=True)
    for name, words in CONTAINERS.items():
        if (folder / name).exists():
            continue
        source = ("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25")
        form = ("-frames:v", str(FRAMES), "-flags", "+bitexact", "-fflags", "+bitexact")
        inputs = words[: len(_SOUND)] if words[: len(_SOUND)] == _SOUND else ()
        codecs = words[len(inputs) :]
        if name == "lossy.webp":
            _make_webp(folder / name)
            continue
        pixels = () if name.endswith(("gif", "apng")) else ("-pix_fmt", "yuv420p")
        command = (_ffmpeg(), "-v", "error", "-y", *source, *inputs, *codecs, *form, *pixels)
        subprocess.run([*command, str(folder / name)], check=True)


def _make_webp(path: Path) -> None:
    """ffmpeg reads no animated WebP."""
    from PIL import Image

    from latte_cli.sources.shapes import render_clip

    first, *rest = [Image.fromarray(frame) for frame in render_clip(0, num_frames=FRAMES)]
    first.save(path, save_all=True, append_images=rest, duration=40)


def _ffmpeg() -> str:
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


@dataclass(frozen=True)
class Decoded:
    """What ffmpeg makes of a file: a checksum of each frame, and what it reports."""

    frames: tuple[str, ...]
    report: str


def by_ffmpeg(path: Path) -> Decoded:
    """Decode the first video stream to RGB, as far as it goes."""
    words = ["-nostdin", "-hide_banner", "-v", "level+warning", "-threads", "1"]
    words += ["-protocol_whitelist", "file", "-i", str(path.absolute())]
    words += ["-map", "0:v:0", "-fps_mode", "passthrough", "-pix_fmt", "rgb24"]
    words += ["-f", "framehash", "-hash", "md5", "-"]
    ended = subprocess.run([_ffmpeg(), *words], capture_output=True, check=False, timeout=60)
    lines = ended.stdout.decode(errors="replace").splitlines()
    frames = tuple(line.split(",")[-1].strip() for line in lines if line and line[0] != "#")
    said = ended.stderr.decode(errors="replace").splitlines()
    reported = [line.strip() for line in said if any(word in line for word in _REPORTED)]
    if ended.returncode and not reported:
        reported = [f"exit code {ended.returncode}"]
    return Decoded(frames, reported[0] if reported else "")


@lru_cache
def _whole(path: Path) -> tuple[str, ...]:
    """The frames of a whole file, read as prepare and training read them."""
    return _ours(path)


def _ours(path: Path) -> tuple[str, ...]:
    from latte_cli.video_io.animated_images import is_animated, iter_animated
    from latte_cli.video_io.reading import av_frames

    frames = iter_animated(path) if is_animated(path) else av_frames(path)
    return tuple(hashlib.md5(frame.tobytes()).hexdigest() for frame in frames)


def damaged_video(case: Case) -> str:
    """One video of one container, damaged and prepared."""
    name = case.chance.choice(list(CONTAINERS))
    whole = case.base / "videos" / name
    how, content = damage_bytes(whole.read_bytes(), case.chance)
    suffix = whole.suffix
    if case.chance.random() < 0.04:
        suffix = case.chance.choice(_OTHER_SUFFIXES)
    path = case.folder / "in" / f"a{suffix}"
    path.parent.mkdir()
    path.write_bytes(content)
    case.what = f"{name}: {how}" + (f", as {suffix}" if suffix != whole.suffix else "")
    row = _prepared(case, path)
    if row is None:
        return "refused"
    return _judge(row, path, whole, how)


def _prepared(case: Case, path: Path) -> dict | None:
    """The file's line of the manifest; None if it was refused."""
    out = case.folder / "out"
    limit = ("--timeout", 10) if case.alone else ()
    ended = run("prepare", "folder", "--source", path.parent, "--out", out, "--workers", 1, *limit)
    check_nothing_half_written(out)
    if ended.code == 1:
        return None
    reason = (out / "rejected.jsonl").read_text()
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    if "Error: " in reason:
        raise Find(f"the decoder's error is no VideoError: {reason[-200:]}")
    return rows[0] if rows else None


def _judge(row: dict, path: Path, whole: Path, how: str) -> str:
    """The outcome for an accepted video.

    Raises:
        Find: if it was accepted silently, or is read otherwise than the manifest says.
    """
    from latte_cli.video_io import iter_frames

    count = sum(1 for _ in iter_frames(path))
    if count != row["frames"]:
        raise Find(f"the manifest has {row['frames']} frames, training reads {count}")
    ours = _ours(path)
    if ours == _whole(whole):
        return "harmless"
    if path.suffix == ".webp" or whole.suffix == ".webp":  # which ffmpeg does not read
        if len(ours) < FRAMES:
            raise Find(f"silent: {how}, {len(ours)} frames")
        return "unseen"
    theirs = by_ffmpeg(path)
    if theirs.report:
        raise Find(f"silent: {len(ours)} frames, ffmpeg {len(theirs.frames)}: {theirs.report}")
    if len(theirs.frames) != len(ours):
        raise Find(f"{len(ours)} frames, ffmpeg {len(theirs.frames)} without a message")
    if len(ours) >= FRAMES:
        return "unseen"
    if row["end"] == "unknown":
        return "end unknown"
    if how == "cut off":
        raise Find(f"silent: cut off, {len(ours)} frames, end known")
    return "unseen"
