"""Animated WebP and PNG files are videos; those that do not move are frames."""

import struct

import numpy as np
import pytest
from PIL import Image

from latte_cli.runtime.errors import VideoError
from latte_cli.sources.folder_tree import find_videos_below
from latte_cli.video_io import inspect_video, iter_frames, read_video
from latte_cli.video_io.animated_images import is_animated

SIZE = (24, 16)


def animated(path, count=6, first=0, duration=50, **options):
    frames = [Image.new("RGB", SIZE, (first + 20 * n, 10, 90)) for n in range(count)]
    options = {"lossless": True} if path.suffix == ".webp" else options
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration, **options)
    return path


@pytest.mark.parametrize("name", ["ComfyUI_00001_.webp", "a.png", "a.apng", "A.WEBP"])
def test_frames_and_rate_of_an_animation_are_read(tmp_path, name):
    path = animated(tmp_path / name.lower()).rename(tmp_path / name)
    assert is_animated(path)
    video = read_video(path)
    assert video.shape == (6, 16, 24, 3)
    assert video[:, 0, 0].tolist() == [[20 * n, 10, 90] for n in range(6)]
    assert np.array_equal(read_video(path, [4, 1]), video[[4, 1]])
    assert np.array_equal(list(iter_frames(path, range(1, 6, 2))), video[1:6:2])
    assert list(iter_frames(path, range(6, 8))) == []
    facts = inspect_video(path)
    assert (facts.frames, facts.fps, facts.width, facts.height) == (6, 20, 24, 16)
    assert not facts.variable_fps
    animated(tmp_path / "uneven.webp", duration=[50, 50, 50, 400, 50, 50])
    assert inspect_video(tmp_path / "uneven.webp").variable_fps


def test_a_folder_of_animations_is_a_folder_of_videos(tmp_path):
    for number in range(3):
        animated(tmp_path / f"clip_{number:05d}_.webp", first=number)
    animated(tmp_path / "b.png")
    Image.new("RGB", SIZE).save(tmp_path / "workflow.png")
    (tmp_path / "still").mkdir()
    for number in range(3):
        Image.new("RGB", SIZE).save(tmp_path / "still" / f"{number}.webp")
        Image.new("RGB", SIZE).save(tmp_path / "still" / f"{number}.png")
        assert not is_animated(tmp_path / "still" / f"{number}.webp")
    found = [path.name for path in find_videos_below(tmp_path / "still")]
    assert found == ["still"]
    found = [path.name for path in find_videos_below(tmp_path)]
    assert found == ["b.png", *(f"clip_{number:05d}_.webp" for number in range(3)), "still"]


def test_transparent_pixels_of_an_animation_are_white(tmp_path):
    frames = []
    for number in range(3):
        pixels = np.zeros((16, 24, 4), np.uint8)
        pixels[..., :3] = 40 * number
        pixels[:, 12:, 3] = 255
        frames.append(Image.fromarray(pixels, "RGBA"))
    for name in ("a.webp", "a.png"):
        path = tmp_path / name
        options = {"lossless": True, "exact": True} if name == "a.webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
        video = read_video(path)
        assert (video[:, :, :12] == 255).all()
        assert video[:, 0, 20, 0].tolist() == [0, 40, 80]


def test_a_still_picture_before_the_animation_is_no_frame(tmp_path):
    frames = [Image.new("RGB", SIZE, (value, 0, 0)) for value in (250, 10, 20)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], default_image=True)
    assert read_video(tmp_path / "a.png")[:, 0, 0, 0].tolist() == [10, 20]


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_a_cut_or_damaged_animation_is_rejected(tmp_path, suffix):
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(6)]
    path = tmp_path / f"a{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50)
    whole = path.read_bytes()
    for part in (0.3, 0.5, 0.9, 0.99):
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(VideoError, match="is cut off"):
            inspect_video(path)
    path.write_bytes(whole)
    assert inspect_video(path).frames == 6
    if suffix == ".png":
        at = whole.index(b"acTL") + 4
        path.write_bytes(whole[:at] + struct.pack(">I", 9) + whole[at + 4 :])
        with pytest.raises(VideoError, match="is damaged"):
            inspect_video(path)


def test_a_chunk_of_a_png_with_another_checksum_is_damage(tmp_path):
    """Pillow shows what it can decode of it."""
    content = bytearray(animated(tmp_path / "a.png").read_bytes())
    content[content.index(b"fdAT") + 20] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(VideoError, match="is damaged"):
        inspect_video(tmp_path / "a.png")


def test_a_frame_of_webp_without_a_picture_is_damage(tmp_path):
    """Readers count one frame less."""
    content = animated(tmp_path / "a.webp").read_bytes()
    at = content.index(b"VP8L", content.index(b"ANMF"))
    (tmp_path / "a.webp").write_bytes(content[:at] + b"VP8l" + content[at + 4 :])
    with pytest.raises(VideoError, match="is damaged"):
        inspect_video(tmp_path / "a.webp")


def test_a_gif_under_the_name_of_a_picture_is_a_video(tmp_path):
    frames = [Image.new("RGB", SIZE, (40 * n, 10, 90)) for n in range(4)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=50)
    path = (tmp_path / "a.gif").rename(tmp_path / "a.webp")
    assert find_videos_below(tmp_path) == [path]
    assert inspect_video(path).frames == len(read_video(path)) == 4


def test_a_frame_whose_chunk_has_another_name_is_damage(tmp_path):
    """Readers skip it without a word."""
    path = tmp_path / "a.webp"
    frames = [Image.new("RGB", (16, 16), (40 * number, 0, 0)) for number in range(5)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
    assert inspect_video(path).frames == 5
    content = path.read_bytes()
    second = content.index(b"ANMF", content.index(b"ANMF") + 4)
    path.write_bytes(content[:second] + b"ALMF" + content[second + 4 :])
    with pytest.raises(VideoError, match="damaged"):
        inspect_video(path)
