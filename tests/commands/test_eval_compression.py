"""`latte eval` records how the frames of files were compressed, and compares like with like."""

import json
import shutil
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from conftest import fail, succeed
from helpers.eval_data import flat, frame_folders, npz_file, shapes_clip
from PIL import Image

from latte_cli.evaluation.protocol import differences
from latte_cli.evaluation.results.result import read_result
from latte_cli.video_io import write_clip, write_video

COUNT, FRAMES = 5, 4


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    npz_file(Path("real.npz"), 6, 8)


def evaluate(fake, out, *words, protocol="latte"):
    options = ("--real=real.npz", f"--fake={fake}", f"--out={out}", *words)
    settings = flat(f"eval.protocol={protocol}", "eval.resamples=0")
    return json.loads(succeed("--json", "eval", *options, *settings).stdout)


def files_of(folder, write, suffix="mp4"):
    for index in range(COUNT):
        path = Path(folder, f"{index:05d}-seed1-label{index}.{suffix}")
        path.parent.mkdir(exist_ok=True)
        write(path, shapes_clip(index, FRAMES, 1))
    return folder


def sampled(path, clip):
    write_clip(path, clip, 8, {})


def of_codec(codec, *params, quality=9):
    def write(path, clip):
        height, width = clip.shape[1:3]
        settings = {"fps": 8, "codec": codec, "quality": quality, "output_params": list(params)}
        writer = imageio_ffmpeg.write_frames(
            str(path), (width, height), ffmpeg_log_level="fatal", **settings
        )
        writer.send(None)
        for frame in clip:
            writer.send(np.ascontiguousarray(frame))
        writer.close()

    return write


def of(shown):
    return shown["metrics"]["fd-random"]["protocol_hash"], shown["fake"]["compression"]


def test_sampled_files_and_arrays_of_the_same_clips_give_one_number():
    """In memory and in files clips go through the same encoder."""
    array = evaluate(npz_file(Path("a.npz"), COUNT, FRAMES, 1), "a.json")
    files = evaluate(files_of("f", sampled), "f.json")
    published = evaluate(files_of("p", of_codec("libx264", "-threads", "1")), "p.json")
    numbers = [each["metrics"]["fd-random"] for each in (array, files, published)]
    assert len({number["value"] for number in numbers}) == 1
    assert array["fake"]["compression"] == "mp4 crf 5, then JPEG 75"
    assert files["fake"]["compression"] == "as given, x264 crf 5, then JPEG 75"
    assert of(files) == of(published), "the published script's files are recognized"
    assert of(files)[0] != of(array)[0]
    assert not any("compression" in text for text in files["deviations"])


@pytest.mark.parametrize("protocol", ["latte", "stylegan-v"])
def test_results_of_other_compression_are_not_compared(protocol):
    folders = {
        "five": files_of("five", sampled),
        "seventeen": files_of("seventeen", lambda path, clip: write_video(path, clip, 8)),
        "mpeg4": files_of("mpeg4", of_codec("mpeg4"), "avi"),
        "array": npz_file(Path("array.npz"), COUNT, FRAMES, 1),
    }
    shown = {
        name: evaluate(path, f"{name}.json", protocol=protocol) for name, path in folders.items()
    }
    assert len({of(each)[0] for each in shown.values()}) == 4
    assert "as given, unknown encoder (mpeg4)" in shown["mpeg4"]["fake"]["compression"]
    said = fail("eval", "five.json", "seventeen.json")
    assert "compression of fake frames: as given, x264 crf 5" in said
    assert "as given, x264 crf 17" in said
    for name in ("mpeg4", "array"):
        assert "compression of fake frames" in fail("eval", "five.json", f"{name}.json")
    assert any("as given, x264 crf 17" in each for each in shown["seventeen"]["deviations"])
    assert not any("compression" in each for each in shown["array"]["deviations"])


def test_the_same_command_replaces_its_own_result_and_no_other():
    files_of("f", lambda path, clip: write_video(path, clip, 8))
    first, again = (evaluate("f", "r.json") for _ in range(2))
    assert again["metrics"] == first["metrics"]
    shutil.rmtree("f")
    files_of("f", sampled)
    words = ("eval", "--real=real.npz", "--fake=f", "--out=r.json", *flat())
    said = fail(*words, "-o", "eval.resamples=0")
    assert "compression of fake frames: as given, x264 crf 17" in said


def test_frames_are_recorded_with_the_quality_of_their_files():
    frame_folders(Path("png"), COUNT, FRAMES, seed=1)
    frame_folders(Path("jpg"), COUNT, FRAMES, "jpg", seed=1)
    assert evaluate("png", "a.json")["fake"]["compression"] == "mp4 crf 5, then JPEG 75"
    assert evaluate("jpg", "b.json")["fake"]["compression"] == "as given, JPEG 75"
    for path in Path("jpg").glob("*/*.jpg"):
        with Image.open(path) as opened:
            Image.fromarray(np.asarray(opened)).save(path, quality=60)
    assert evaluate("jpg", "c.json")["fake"]["compression"] == "as given, JPEG 60"


def test_files_of_several_encoders_are_counted():
    files_of("f", sampled)
    write_video(Path("f", "00000-seed1-label0.mp4"), shapes_clip(0, FRAMES, 1), 8)
    compression = evaluate("f", "a.json")["fake"]["compression"]
    assert compression == (
        "1 of 5 as given, x264 crf 17, then JPEG 75; 4 of 5 as given, x264 crf 5, then JPEG 75"
    )


def test_files_of_another_size_say_at_which_they_were_compressed():
    for index in range(COUNT):
        large = np.kron(shapes_clip(index, FRAMES, 1), np.ones((1, 2, 2, 1))).astype(np.uint8)
        write_clip(Path("f", f"{index}.mp4"), large, 8, {})
    compression = evaluate("f", "a.json")["fake"]["compression"]
    assert compression == "as given, x264 crf 5 at 64 x 64, then JPEG 75"


def test_real_frames_of_other_compression_are_not_compared():
    """Folders of the same names and lengths may hold PNG or JPEG."""
    array = npz_file(Path("a.npz"), COUNT, FRAMES, 1)
    for suffix in ("png", "jpg"):
        frame_folders(Path(suffix), 6, 8, suffix)
        evaluate(array, f"{suffix}.json", f"--real={suffix}")
    for path in Path("jpg").glob("*/*.jpg"):
        with Image.open(path) as opened:
            Image.fromarray(np.asarray(opened)).save(path, quality=30)
    evaluate(array, "low.json", "--real=jpg")
    said = fail("eval", "png.json", "low.json")
    assert "compression of real frames: jpeg-75 and as given, JPEG 30" in said


def test_pairs_of_files_and_of_arrays_are_not_compared():
    frame_folders(Path("real"), COUNT, FRAMES, seed=1)
    frame_folders(Path("exact"), COUNT, FRAMES, seed=1)
    for index in range(COUNT):
        write_video(Path("files", f"{index:05d}.mp4"), shapes_clip(index, FRAMES, 1), 8)
    for fake in ("exact", "files"):
        evaluate(fake, f"{fake}.json", "--real=real", "--metrics=psnr")
    said = fail("eval", "exact.json", "files.json")
    assert "compression of fake frames: none and as given, x264 crf 17" in said


def test_results_of_before_are_of_another_protocol():
    """Their frames were compressed with bilinear colors."""
    evaluate(npz_file(Path("a.npz"), COUNT, FRAMES, 1), "a.json")
    text = Path("a.json").read_text()
    Path("old.json").write_text(text.replace("mp4-crf5-bicubic", "mp4-crf5"))
    old, new = (read_result(Path(name)).protocol for name in ("old.json", "a.json"))
    assert differences(old, new) == [
        "compression of fake frames: mp4-crf5 jpeg-75 and mp4-crf5-bicubic jpeg-75"
    ]
