"""Names of video files: the suffixes of all containers that the decoder reads."""

import os
import re

_SUFFIXES = """
    .264 .265 .266 .26l .3g2 .3gp .3gp2 .3gpp .3gpp2 .amv .apng .apv .asf .avc .avi .avs2 .avs3
    .bik .bmv .cavs .cdxl .cine .cmfv .cpk .dav .dif .divx .dnxhd .dnxhr .drc .dv .dvd .dvr-ms
    .evc .evo .f4p .f4v .flc .fli .flm .flv .gif .gxf .h261 .h263 .h264 .h265 .h266 .h26l .hevc
    .imx .insv .ipu .ism .ismv .ivf .ivr .k3g .kux .lvf .m1v .m2p .m2t .m2ts .m2v .m4v .mj2
    .mjp2 .mjpeg .mjpg .mk3d .mkv .mlv .mods .moflex .mov .mp2v .mp4 .mp4v .mpe .mpeg .mpeg1
    .mpeg2 .mpeg4 .mpg .mpg2 .mpg4 .mpv .mpv2 .mqv .mts .mtv .mvi .mxf .mxg .nsv .nut .nuv .obu
    .ogm .ogv .pdv .pmp .psp .qt .rcv .rm .rmvb .roq .rv .ser .skm .smk .swf .thp .tod .tp .trp
    .ts .ty .ty+ .usm .vc1 .vc2 .viv .vivo .vob .vp6 .vp8 .vp9 .vro .vvc .webm .wm .wmv .wtv
    .xmv .xvid .y4m .yop
"""
VIDEO_SUFFIXES = frozenset(_SUFFIXES.split())
"""Lower case; `is_video_name` takes any case."""

SHARED_SUFFIXES = frozenset(["", ".dat", ".mod", ".ogg", ".ogx", ".ps", ".rec"])
"""Of videos and of other files; `has_video_signature` tells them apart."""

_PROGRAM_STREAM = rb"\x00\x00\x01[\xb3\xba]"  # MPEG-1 and 2, of camcorders and discs
_TRANSPORT_STREAM = rb"(?:.{4})?\x47.{187}(?:.{4})?\x47.{187}(?:.{4})?\x47"
_SIGNATURE = re.compile(
    rb"RIFF....(?:AVI |CDXA)|....ftyp(?!M4[AB]|hei|mif1|avif)|FLV\x01|"
    rb"\x1a\x45\xdf\xa3.*(?:webm|matroska)|"
    rb"OggS.*(?:\x80theora|BBCD|OVP80|\x01video)|\x30\x26\xb2\x75\x8e\x66\xcf\x11|"
    + _PROGRAM_STREAM + rb"|" + _TRANSPORT_STREAM,
    re.DOTALL,
)  # fmt: skip
_SIGNATURE_BYTES = 1024


def is_video_name(name: str) -> bool:
    """Whether a file of this name is a video."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def has_video_signature(path: str) -> bool:
    """Whether a file begins like a common container of video; False if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return _SIGNATURE.match(file.read(_SIGNATURE_BYTES)) is not None
    except OSError:
        return False
