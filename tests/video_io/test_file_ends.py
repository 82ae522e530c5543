"""Whole files are accepted, however odd their headers; files that data are missing from are not."""

import contextlib
import random
import re

import pytest
from helpers.clips import by_ffmpeg, copied, cut, ffmpeg, moving

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io import inspect_video
from latte_cli.video_io.file_ends import end_of
from latte_cli.video_io.missing_data import CutOffError, DamagedError

FORMATS = {
    "mp4": ["-c:v", "libx264", "-movflags", "+faststart"],
    "mov": ["-c:v", "libx264"],
    "mkv": ["-c:v", "libx264", "-g", 5],
    "webm": ["-c:v", "libvpx", "-g", 5],
    "avi": ["-c:v", "mpeg4"],
    "ogv": ["-c:v", "libtheora"],
    "gif": ["-pix_fmt", "rgb8"],
    "flv": ["-c:v", "flv"],
    "wmv": ["-c:v", "wmv2"],
    "mxf": ["-c:v", "mpeg2video"],
}
NO_END = {
    "ts": ["-c:v", "mpeg2video"],
    "mpg": ["-c:v", "mpeg2video"],
    "m2ts": ["-c:v", "libx264", "-bf", 0],
}
LONG = {"frames": 75}


@pytest.mark.parametrize("suffix", FORMATS)
def test_formats_with_an_end_are_asked_for_it(tmp_path, suffix):
    whole = moving(tmp_path / f"a.{suffix}", *FORMATS[suffix], **LONG)
    facts = inspect_video(whole)
    assert (facts.frames, facts.end) == (75, "known")
    for share in (0.3, 0.5, 0.92, 0.99, 0.999):
        with pytest.raises(VideoError, match="is cut off"):
            inspect_video(cut(whole, share))


@pytest.mark.parametrize("suffix", NO_END)
def test_formats_without_an_end_say_so(tmp_path, suffix):
    whole = moving(tmp_path / f"a.{suffix}", *NO_END[suffix], **LONG)
    facts = inspect_video(whole)
    assert (facts.frames, facts.end) == (75, "unknown")
    packet = {"ts": 188, "m2ts": 192}.get(suffix, 2048)
    content = whole.read_bytes()
    short = whole.with_name(f"short.{suffix}")
    short.write_bytes(content[: len(content) // 2 // packet * packet])
    assert end_of(short) == "unknown"
    short.write_bytes(content[: len(content) // 2 // packet * packet + 50])
    with pytest.raises(CutOffError):
        end_of(short)


@pytest.mark.parametrize("suffix", ["avi", "wmv", "apng", "mxf"])
def test_a_file_without_its_last_bytes_is_not_known_to_be_whole(tmp_path, suffix):
    whole = moving(tmp_path / f"a.{suffix}", *FORMATS.get(suffix, []))
    assert inspect_video(whole).end == "known"
    whole.write_bytes(whole.read_bytes()[:-1])
    with contextlib.suppress(VideoError):
        assert inspect_video(whole).end == "unknown"


def test_a_part_of_a_frame_at_the_end_of_raw_video_is_damage(tmp_path):
    whole = moving(tmp_path / "a.y4m", **LONG)
    facts = inspect_video(whole)
    assert (facts.frames, facts.end) == (75, "unknown")
    with pytest.raises(VideoError, match="is cut off"):
        inspect_video(cut(whole, 0.51))


def test_lost_packets_of_a_transport_stream_show_in_its_counters(tmp_path):
    whole = moving(tmp_path / "a.ts", "-c:v", "mpeg2video", **LONG)
    content = whole.read_bytes()
    begin = len(content) // 2 // 188 * 188
    whole.write_bytes(content[:begin] + content[begin + 188 * 3 :])
    with pytest.raises(VideoError, match="damaged"):
        inspect_video(whole)


def test_a_recording_without_sizes_has_an_unknown_end(tmp_path):
    source = moving(tmp_path / "a.mkv", "-c:v", "libx264", "-g", 5, **LONG)
    content = ffmpeg("-i", source, "-c", "copy", "-f", "matroska", "pipe:1")
    path = tmp_path / "live.mkv"
    path.write_bytes(content)
    facts = inspect_video(path)
    assert (facts.frames, facts.end) == (75, "unknown")
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(VideoError, match="is cut off"):
        inspect_video(path)


@pytest.mark.parametrize("flags", ["", "+global_sidx", "+dash"])
def test_fragments(tmp_path, flags):
    flags = f"frag_keyframe+empty_moov+default_base_moof{flags}"
    whole = moving(tmp_path / "a.mp4", "-c:v", "libx264", "-g", 5, "-movflags", flags, **LONG)
    facts = inspect_video(whole)
    assert (facts.frames, facts.end) == (75, "known"), "an index of the fragments is the last box"
    with pytest.raises(VideoError, match="is cut off"):
        inspect_video(cut(whole, 0.6))
    content = whole.read_bytes()
    between = tmp_path / "between.mp4"  # of two fragments
    second_half = content.index(b"moof", len(content) // 2) - 4
    if flags.endswith("dash"):  # each fragment has an index before it
        second_half = content.index(b"sidx", len(content) // 2) - 4
    between.write_bytes(content[:second_half])
    if "global" in flags:
        with pytest.raises(VideoError, match="is cut off"):
            inspect_video(between)
    else:
        assert inspect_video(between).end == "unknown"


def test_a_fragment_without_data_is_damage(tmp_path):
    flags = "frag_keyframe+empty_moov+default_base_moof"
    whole = moving(tmp_path / "a.mp4", "-c:v", "libx264", "-g", 5, "-movflags", flags, **LONG)
    content = whole.read_bytes()
    third = [match.start() for match in re.finditer(b"mdat", content)][2]
    whole.write_bytes(content[: third + 2] + content[third + 4 :])
    with pytest.raises(VideoError, match="the data of a fragment are missing"):
        inspect_video(whole)


def test_trims_without_encoding_are_whole(tmp_path):
    long = moving(tmp_path / "long.mp4", "-c:v", "libx264", "-g", 50, frames=100)
    for number, (times, suffix) in enumerate(
        (times, suffix)
        for times in (("-ss", 2), ("-ss", 1.2, "-t", 1), ("-copyts", "-ss", 2))
        for suffix in ("mp4", "mov", "mkv", "avi", "flv", "ts")
    ):
        path = copied(long, tmp_path / f"{number}.{suffix}", before=times)
        facts = inspect_video(path)
        assert facts.frames == len(by_ffmpeg(path, (80, 96, 3)))


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts", "avi"])
def test_segments_that_do_not_begin_at_zero_are_whole(tmp_path, suffix):
    long = moving(tmp_path / "long.mp4", "-c:v", "libx264", "-g", 25, "-sc_threshold", 0, **LONG)
    words = ["-f", "segment", "-segment_time", 1]
    copied(long, tmp_path / f"part%d.{suffix}", *words)
    for number in range(3):
        assert inspect_video(tmp_path / f"part{number}.{suffix}").frames == 25


def test_a_segment_of_hls_behind_its_header_is_whole(tmp_path):
    long = moving(tmp_path / "long.mp4", "-c:v", "libx264", "-g", 25, "-sc_threshold", 0, **LONG)
    parts = ["-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "head.mp4"]
    parts += ["-hls_segment_filename", tmp_path / "%d.m4s"]
    copied(long, tmp_path / "list.m3u8", "-f", "hls", "-hls_time", 1, *parts)
    path = tmp_path / "joined.mp4"
    path.write_bytes((tmp_path / "head.mp4").read_bytes() + (tmp_path / "2.m4s").read_bytes())
    facts = inspect_video(path)
    assert (facts.frames, facts.end) == (25, "unknown")


@pytest.mark.parametrize("suffix", [*FORMATS, "nut"])
@pytest.mark.parametrize(
    "times", ["if(lt(N,20),N,N*3)/25/TB", "if(lt(N,24),N,N*20)/25/TB", "N*5/TB"]
)
def test_slow_frames_and_still_ends_are_whole(tmp_path, suffix, times):
    words = ["-vf", f"setpts='{times}'", "-fps_mode", "vfr", *FORMATS.get(suffix, [])]
    assert inspect_video(moving(tmp_path / f"a.{suffix}", *words)).frames in (24, 25)


def test_bytes_behind_the_end_are_no_damage(tmp_path):
    for suffix, words in FORMATS.items():
        path = moving(tmp_path / f"a.{suffix}", *words)
        path.write_bytes(path.read_bytes() + bytes(700))
        assert inspect_video(path).frames == 25, suffix


def test_damaged_files_never_fail_in_another_way(tmp_path):
    """Any content is known, unknown, unchecked, cut off or damaged."""
    chance = random.Random(0)
    for suffix, words in {**FORMATS, **NO_END}.items():
        content = bytearray(moving(tmp_path / f"a.{suffix}", *words, frames=5).read_bytes())
        for number in range(60):
            damaged = bytearray(content)
            for _ in range(20):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            path = tmp_path / f"{number}.{suffix}"
            path.write_bytes(damaged[: chance.randrange(len(damaged))])
            with contextlib.suppress(CutOffError, DamagedError):
                assert end_of(path) in ("known", "unknown", "unchecked")


def pages_of(content):
    """Where each page of an Ogg file begins, and the end of the last."""
    places = [0]
    while places[-1] < len(content):
        at = places[-1]
        count = content[at + 26]
        places.append(at + 27 + count + sum(content[at + 27 : at + 27 + count]))
    return places


@pytest.mark.parametrize("audio", [[], ["-c:a", "libvorbis", "-shortest"]])
def test_damage_and_losses_in_ogg_show_in_checksums_and_page_numbers(tmp_path, audio):
    sound = ["-f", "lavfi", "-i", "sine=duration=3"] if audio else []
    source = moving(tmp_path / "a.mkv", "-c:v", "libtheora", "-g", 5, **LONG)
    whole = tmp_path / "a.ogv"
    ffmpeg("-i", source, *sound, "-c:v", "copy", *audio, whole)
    content = whole.read_bytes()
    assert inspect_video(whole).frames == 75
    pages = [(a, b) for a, b in zip(pages_of(content), pages_of(content)[1:], strict=False)]
    serial = content[14:18] if b"theora" in content[:40] else content[pages[1][0] + 14 :][:4]
    video = [(a, b) for a, b in pages if content[a + 14 : a + 18] == serial]
    begin, end = video[len(video) // 2]
    damaged = bytearray(content)
    damaged[(begin + end) // 2] ^= 1
    whole.write_bytes(damaged)
    with pytest.raises(VideoError, match=r"is damaged .*CRC mismatch"):
        inspect_video(whole)
    whole.write_bytes(content[:begin] + content[end:])
    with pytest.raises(VideoError, match=r"is damaged .*pages .* missing"):
        inspect_video(whole)
    damaged = bytearray(content)
    damaged[begin : begin + 4] = b"XXXX"
    whole.write_bytes(damaged)
    with pytest.raises(VideoError, match="is damaged"):
        inspect_video(whole)
