"""`latte eval`: results that can be compared or not, and bad input."""

import json
import shutil
from pathlib import Path

import numpy as np
from conftest import HERE, fail, succeed
from helpers.eval_data import flat, prepared, shapes_clip

from latte_cli.config.locations import asset
from latte_cli.evaluation.results.result import RealVsReal, read_result
from latte_cli.video_io import write_video

OLD_SAMPLING = ("-o", "sample.steps=1", "-o", "sample.batch=2")
WORDS = ("eval", "--real=real", "--fake=fake", *flat())


def evaluate(*words):
    return json.loads(succeed("--json", *WORDS, *words).stdout)


def test_results_of_one_protocol_are_compared(clips):
    evaluate("--out=a.json", "--clips=6")
    evaluate("--out=b.json", "--clips=6", "--fake=real/videos")
    shown = json.loads(succeed("--json", "eval", "a.json", "b.json").stdout)
    (row,) = shown["metrics"]
    assert row["metric"] == "fd-random"
    assert row["values"]["a.json"] > row["values"]["b.json"]
    assert row["verdicts"]["b.json"] in ("within noise", "beyond noise")
    assert row["fake"] == {"a.json": 6, "b.json": 6}
    people = succeed("eval", "a.json", "b.json").stdout
    assert "noise)" in people
    assert "real, fake clips" in people


def test_results_of_version_0_1_are_read_and_not_compared(tmp_path):
    """`real_vs_real` was called `floor`; fakes were compressed with bilinear colors."""
    shutil.copytree(HERE / "old_files" / "0.1", tmp_path, dirs_exist_ok=True)
    old = json.loads(Path("eval-result.json").read_text())["metrics"]
    read = read_result(Path("eval-result.json")).numbers
    floor = old["fd-random"]["floor"]
    assert read["fd-random"].real_vs_real == RealVsReal(**floor)
    assert read["direction"].real_vs_real is None
    words = ("--preset=shapes", "--checkpoint=embedded", "--real=data/shapes", "--split=all")
    words += ("--metrics=fd-random,direction", "--clips=5", "--draws=2", "--out=new.json")
    replaced = [word.replace("new.json", "eval-result.json") for word in words]
    changed = "compression of fake frames: mp4-crf5 jpeg-75 and mp4-crf5-bicubic jpeg-75"
    assert changed in fail("eval", *replaced, *OLD_SAMPLING)
    new = json.loads(succeed("--json", "eval", *words, *OLD_SAMPLING).stdout)["metrics"]
    assert new["fd-random"]["real_vs_real"].keys() == floor.keys()
    assert all("floor" not in number for number in new.values())
    assert changed in fail("eval", "eval-result.json", "new.json")


def test_results_of_fewer_clips_are_not_compared(clips):
    """A Fréchet distance of fewer clips is larger, whatever the clips are."""
    evaluate("--out=a.json", "--fake=real/videos")
    for path in sorted(Path("real/videos").iterdir())[4:8]:
        shutil.copy(path, Path("fake"))
    for path in Path("fake").glob("*-seed1-*"):
        path.unlink()
    evaluate("--out=b.json")
    said = fail("eval", "a.json", "b.json")
    assert "a.json and b.json cannot be compared, they differ in fake clips: 10 and 4" in said
    assert "as many clips" in said


def test_directions_are_compared_whatever_the_real_videos_are(clips, tmp_path):
    other = prepared(tmp_path / "other", 7, 12, seed=5)
    evaluate("--out=a.json", "--metrics=direction")
    evaluate("--out=b.json", "--metrics=direction", f"--real={other}")
    shown = json.loads(succeed("--json", "eval", "a.json", "b.json").stdout)
    assert shown["metrics"][0]["verdicts"]["b.json"] == "within noise"


def test_results_of_two_protocols_are_not_compared(clips, tmp_path):
    evaluate("--out=a.json")
    evaluate("--out=b.json", "--interval=1", "--seed=4")
    said = fail("eval", "a.json", "b.json")
    assert "a.json and b.json cannot be compared" in said
    assert "frame interval of real clips: 2 and 1" in said
    assert "seed of the selection: 0 and 4" in said
    other = prepared(tmp_path / "other", 7, 12, seed=5)
    evaluate("--out=c.json", f"--real={other}")
    assert "real videos: real and" in fail("eval", "a.json", "c.json")
    evaluate("--out=d.json", "--metrics=direction")
    assert "share no metric" in fail("eval", "a.json", "d.json")
    assert "nothing to compare it with" in fail("eval", "a.json")
    Path("e.json").write_text("{}")
    assert "not a result of `latte eval`" in fail("eval", "a.json", "e.json")
    assert "none.json: no such file" in fail("eval", "a.json", "none.json")


def test_a_result_of_another_protocol_is_never_replaced(clips):
    first = evaluate("--out=a.json")
    assert evaluate("--out=a.json")["metrics"] == first["metrics"]
    said = fail(*WORDS, "--out=a.json", "--protocol=stylegan-v")
    assert "holds a result of another protocol (protocol: latte and stylegan-v" in said
    assert json.loads(Path("a.json").read_text())["metrics"] == first["metrics"]
    Path("b.json").write_text("notes of mine")
    assert "not a result of `latte eval`" in fail(*WORDS, "--out=b.json")
    assert Path("b.json").read_text() == "notes of mine"


def test_videos_that_have_changed_since_give_a_result_of_their_own(clips, tmp_path):
    first = evaluate("--out=a.json")
    kept = evaluate()["out"]
    shutil.rmtree(tmp_path / "real")
    prepared(tmp_path / "real", 7, 12, seed=5)
    again = evaluate()
    assert again["metrics"] != first["metrics"]
    assert again["out"] != kept
    assert Path(kept).is_file()
    said = fail(*WORDS, "--out=a.json")
    assert "a.json holds a result against the videos that real held before they changed" in said


def test_results_of_other_draws_have_files_of_their_own(clips):
    places = {evaluate(*words)["out"] for words in ((), ("--draws=2",), ("-o", "eval.resamples=7"))}
    assert len(places) == 3


def test_a_result_against_other_videos_is_never_replaced(clips, tmp_path):
    first = evaluate("--out=a.json")
    other = prepared(tmp_path / "other", 7, 12, seed=5)
    said = fail(*WORDS, "--out=a.json", f"--real={other}")
    assert "a.json holds a result against other real videos: real, not " in said
    assert json.loads(Path("a.json").read_text())["metrics"] == first["metrics"]
    outs = [evaluate()["out"], evaluate(f"--real={other}")["out"]]
    for out, real in zip(outs, ("real", "other"), strict=True):
        assert Path(out).name.startswith(f"fake-against-{real}-")


def test_bad_clips_are_counted_and_named(clips, tmp_path):
    (tmp_path / "fake" / "text.mp4").write_text("no video")
    for index in range(4):
        write_video(tmp_path / "fake" / f"short{index}.mp4", shapes_clip(index, 3), 8)
    result = succeed("--json", *WORDS)
    said, shown = " ".join(result.stderr.split()), json.loads(result.stdout)
    assert "fake: 4 of 10 videos left out, shorter than 4 frames (4 x 1): short0.mp4, " in said
    assert "short2.mp4 and 1 more" in said
    assert "fake: 1 videos left out, unreadable: text.mp4 (" in said
    assert shown["fake"]["too_short_count"] == 4
    assert list(shown["fake"]["unreadable"]) == ["text.mp4"]
    assert shown["metrics"]["fd-random"]["fake"] == 6


def test_bad_input_is_an_error(clips, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no videos in this folder" in fail(*WORDS, "--fake=empty")
    assert "none: no such file or folder" in fail(*WORDS, "--real=none")
    said = fail("eval", "--fake=fake")
    assert "data/latte: no such folder" in said
    assert "give --real, or --preset" in said
    assert "real: 8 clips, 9 were asked for" in fail(*WORDS, "--clips=9")
    assert "no video has 40 frames (4 x 10), the longest has 12" in fail(*WORDS, "--interval=10")
    assert "no metric named `fdv`" in fail(*WORDS, "--metrics=fdv")
    assert "`eval.protocol` is 'dit'" in fail(*WORDS, "--protocol=dit")
    assert "nothing to evaluate" in fail("eval", "--real=real")
    assert "and a checkpoint is named as well" in fail(*WORDS, "--checkpoint=embedded")
    network = str(asset("shapes-fast"))
    both = ("eval", "--real=real", f"--fake={network}", *flat())
    assert "and a checkpoint is named as well" in fail(*both, f"--checkpoint={network}")
    swept = ("--sweep=steps=1,2", f"--checkpoint={network}")
    assert "and a checkpoint is named as well" in fail(*both, *swept)
    write_video(tmp_path / "fake" / "large.mp4", np.zeros((6, 64, 64, 3), np.uint8), 8)
    said = fail(*WORDS)
    assert "holds clips of several sizes: " in said
    assert "large.mp4 is 64 x 64" in said


def test_the_same_folder_twice_gives_a_warning(clips):
    result = succeed(
        "--json",
        "eval",
        "--real=fake",
        "--fake=fake",
        *flat("data.interval=1"),
        "-o",
        "eval.protocol=stylegan-v",
    )
    assert "fake is given as real and as fake: it is compared with itself" in result.stderr
    shown = json.loads(result.stdout)
    assert shown["metrics"]["fd-random"]["value"] < 0.2, "other windows of the same videos"
