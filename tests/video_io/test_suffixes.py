"""Files are known as videos by the suffixes of all containers that hold video."""

import io

import av

from latte_cli.video_io.frame_folders import FRAME_SUFFIXES
from latte_cli.video_io.suffixes import SHARED_SUFFIXES, VIDEO_SUFFIXES, is_video_name

NOT_VIDEOS = """
    .a64 .afc .aif .aifc .aiff .flac .isma .m4a .m4b .mp3 .ra .wma .m3u8 .mpd .avs
    .avif .dpx .exr .fits .hdr .ico .im1 .im24 .im8 .j2c .j2k .jls .jp2 .jxl .jxs .ljpg .pam .pbm
    .pcx .pfm .pgm .pgmyuv .phm .pix .ppm .qoi .ras .rs .sgi .sun .sunras .tga .tif .tiff .vbn
    .wbmp .xbm .xface .xwd .y .rgb .yuv
"""
"""Sound with a cover, playlists and scripts, pictures, and raw video without a size."""


def test_every_suffix_of_a_format_that_holds_video_is_known():
    unknown = set()
    for name in av.formats_available:
        try:
            suffixes = av.format.ContainerFormat(name, "w").extensions
            with av.open(io.BytesIO(), "w", format=name) as container:
                codec = container.default_video_codec
        except (ValueError, av.FFmpegError):  # a format that is only read, or needs a file
            continue
        if codec != "none":
            unknown |= {f".{suffix.strip().lower()}" for suffix in suffixes}
    assert len(unknown) > 100
    assert unknown - VIDEO_SUFFIXES - SHARED_SUFFIXES - FRAME_SUFFIXES <= {*NOT_VIDEOS.split()}


def test_case_does_not_matter():
    assert all(map(is_video_name, ("00000.MTS", "a.M2ts", "VTS_01_1.VOB", "x.y.OGM", "z.F4V")))
    assert not any(map(is_video_name, ("a.txt", "mp4", "a.mp4.part", "a.srt")))
