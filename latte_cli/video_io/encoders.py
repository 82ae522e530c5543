"""How the pixels of a video were stored, as far as the file itself tells."""

import re
from pathlib import Path
from typing import Any

import av
from PIL import Image, JpegImagePlugin

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io.frame_folders import frame_files
from latte_cli.video_io.pyav import open_container, video_stream

UNKNOWN = "unknown encoder ({})"

PUBLISHED_FPS = 8
"""Frames per second of the published samples; x264's quality at a rate factor depends on it."""

_FIRST_PACKETS = 4  # x264 and x265 write their settings into the first one
_SETTINGS = re.compile(rb"(x26[45])[ -][^\0]*?options: ([ -~]+)")
_RATE_CONTROL = {"crf": "crf", "cqp": "qp"}  # name of rc, and of the setting with its number
# Of x264's default preset, as it writes them; those that change nothing or follow from the frame
# rate are left out.
_DEFAULTS = (
    "cabac=1 ref=3 deblock=1:0:0 analyse=0x3:0x113 me=hex subme=7 psy=1 psy_rd=1.00:0.00 "
    "mixed_ref=1 me_range=16 chroma_me=1 trellis=1 8x8dct=1 cqm=0 deadzone=21,11 fast_pskip=1 "
    "chroma_qp_offset=-2 sliced_threads=0 nr=0 decimate=1 interlaced=0 bluray_compat=0 "
    "constrained_intra=0 bframes=3 b_pyramid=2 b_adapt=1 b_bias=0 direct=1 weightb=1 open_gop=0 "
    "weightp=2 keyint=250 scenecut=40 intra_refresh=0 rc_lookahead=40 mbtree=1 qcomp=0.60 qpmin=0 "
    "qpmax=69 qpstep=4 ip_ratio=1.40 aq=1:1.00"
)
_OF_NO_ACCOUNT = {"threads", "lookahead_threads", "keyint_min", "rc", "crf", "qp", "bitrate"}
_SAMPLINGS = {0: " 4:4:4", 1: " 4:2:2", 2: ""}  # 4:2:0 is the default
# The values of the JPEG standard's luminance table, quality 50: their order differs by version of
# Pillow.
# fmt: off
_LUMINANCE = sorted([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113,
    92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
])
# fmt: on


def encoder_of(path: Path) -> str:
    """Encoder and quality of a video file or a folder of frames; empty for lossless pictures.

    What x264 and x265 write into the stream is believed, not the file's metadata, which programs
    copy when they encode a file again.
    """
    try:
        return _of_frames(frame_files(path)) if path.is_dir() else _of_file(path)
    except (VideoError, av.FFmpegError, OSError):
        return UNKNOWN.format("unreadable")  # reported when it is read


def _of_file(path: Path) -> str:
    with open_container(path) as container:
        stream = video_stream(container)
        codec = stream.codec_context
        texts = [bytes(codec.extradata or b"")]
        for packet, _ in zip(container.demux(stream), range(_FIRST_PACKETS), strict=False):
            texts.append(bytes(packet))
        found = next(filter(None, map(_SETTINGS.search, texts)), None)
        if found is None:
            return UNKNOWN.format(codec.name)
        name, settings = found[1].decode(), found[2].decode()
        values = dict(each.split("=", 1) for each in settings.split() if "=" in each)
        parts = [_quality(name, values), _unusual(name, values, codec.pix_fmt)]
        if stream.average_rate and stream.average_rate != PUBLISHED_FPS:
            parts.append(f"at {float(stream.average_rate):.6g} fps")
    return " ".join(filter(None, parts))


def _quality(name: str, values: dict[str, str]) -> str:
    """Encoder, rate control and its number."""
    control = values.get("rc", "")
    number = values.get(_RATE_CONTROL.get(control, "bitrate"), "")
    if number:
        number = f"{float(number):g}"
    return f"{name} {_RATE_CONTROL.get(control, control)} {number}".rstrip()


def _unusual(name: str, values: dict[str, str], pix_fmt: str) -> str:
    """The settings that differ from x264's defaults."""
    unusual = [] if pix_fmt == "yuv420p" else [pix_fmt]
    if name == "x264":
        defaults = dict(each.split("=") for each in _DEFAULTS.split())
        if values.get("rc") != "crf":
            defaults.pop("mbtree")  # some rate controls switch it off
        unusual += [
            f"{key}={value}"
            for key, value in values.items()
            if key not in _OF_NO_ACCOUNT and defaults.get(key, value) != value
        ]
    return f"with {' '.join(unusual)}" if unusual else ""


def _of_frames(files: list[Path]) -> str:
    kinds = sorted({file.suffix.lower().lstrip(".").replace("jpeg", "jpg") for file in files})
    if len(kinds) > 1 and {"jpg", "webp"} & set(kinds):
        return f"frames of several kinds ({', '.join(kinds)})"
    if kinds[0] == "webp":
        return "lossy WebP" if b"VP8 " in files[0].read_bytes()[:64] else ""
    if kinds[0] != "jpg":
        return ""
    with Image.open(files[0]) as opened:
        return _jpeg_quality(opened)


def _jpeg_quality(picture: Any) -> str:
    """The quality with which libjpeg gives the picture's quantization table."""
    table = sorted(getattr(picture, "quantization", {}).get(0, []))
    sampling = _SAMPLINGS.get(JpegImagePlugin.get_sampling(picture), " of other sampling")
    for quality in range(100, 0, -1):
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        scaled = [(each * scale + 50) // 100 for each in _LUMINANCE]
        if [max(1, min(255, each)) for each in scaled] == table:
            return f"JPEG {quality}{sampling}"
    return f"JPEG of unknown quality{sampling}"
