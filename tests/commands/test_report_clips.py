"""`latte report` about folders of clips: data sets, samples and others."""

import json
import shutil
from pathlib import Path

from conftest import World, fail, succeed
from helpers.made_runs import make_run, make_samples, moving_square
from PIL import Image

from latte_cli.reporting.writing import data_of_page
from latte_cli.video_io import write_clip, write_video


def clips_of(page: Path | str) -> list[dict]:
    (folder,) = data_of_page(Path(page))["folders"]
    return folder["clips"]


def test_a_data_set_shows_labels_and_why_files_were_rejected(tmp_path):
    for name in ("walk", "run"):
        write_video(tmp_path / "in" / name / "a.mp4", moving_square(len(name)), 8)
    write_video(tmp_path / "whole.mkv", moving_square(0), 8)
    whole = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "in/run/cut.mkv").write_bytes(whole[: len(whole) * 4 // 5])
    (tmp_path / "in/run/none.mp4").write_bytes(b"no video")
    succeed("prepare", "folder", "--source=in", "--labels", "--out=data/own", "--workers=1")
    succeed("report", "data/own")
    shown = {each["n"].split("/in/")[-1]: each for each in clips_of("data/own/report.html")}
    assert {each["l"] for each in shown.values() if "r" not in each} == {"walk", "run"}
    assert shown["walk/a.mp4"]["f"] == "16 frames, 32 x 32, 8 fps"
    rejected = map(json.loads, Path("data/own/rejected.jsonl").read_text().splitlines())
    reasons = {row["path"]: row["reason"] for row in rejected}
    assert reasons
    for each in shown.values():
        assert each.get("r") == reasons.get(each["n"])
    assert shown["run/none.mp4"]["m"] == "none"
    assert shown["run/cut.mkv"]["u"].startswith("data:image/jpeg")  # its first frame decodes


def test_samples_show_label_prompt_seed_and_settings(tmp_path):
    make_samples(tmp_path / "made", 4, prompt='a "cat" & <b>dog</b>')
    succeed("report", "made")
    first = clips_of("made/report.html")[0]
    assert first == {
        "m": "video",
        "u": "00000-seed3-label0.mp4",
        "n": "00000-seed3-label0.mp4",
        "k": "00000-3-0",
        "l": "0",
        "p": 'a "cat" & <b>dog</b>',
        "s": 3,
    }
    text = Path("made/report.html").read_text()
    assert "checkpoint a.pt, steps 5" in text
    assert "<b>dog" not in text


def test_clips_are_links_unless_they_are_to_be_embedded(tmp_path):
    make_samples(tmp_path / "made", 3)
    succeed("report", "made", "--embed=1", "--out=elsewhere/page.html")
    assert all(each["u"].startswith("data:video/mp4") for each in clips_of("elsewhere/page.html"))
    succeed("report", "made", "--out=elsewhere/page.html")
    links = [each["u"] for each in clips_of("elsewhere/page.html")]
    assert links[0] == "../made/00000-seed3-label0.mp4"


def test_odd_names_are_links_that_work(tmp_path):
    name = "a b#1?100%:\u00fc.mp4"
    write_video(tmp_path / "made" / name, moving_square(0), 8)
    succeed("report", "made")
    (clip,) = clips_of("made/report.html")
    assert clip["n"] == name
    assert clip["u"] == "a%20b%231%3F100%25%3A%C3%BC.mp4"


def test_what_browsers_cannot_play_becomes_pictures(tmp_path):
    """Of an AVI and of clips in one npz file; a folder of frames is shown frame by frame."""
    frames = moving_square(0)
    write_video(tmp_path / "clip.mkv", frames, 8)
    (tmp_path / "made").mkdir()
    (tmp_path / "clip.mkv").rename("made/clip.mkv")
    for number, frame in enumerate(frames):
        path = tmp_path / "made" / "frames" / f"{number:05d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(frame).save(path)
    write_clip(tmp_path / "made" / "moves.gif", frames, 8, {})
    succeed("report", "made")
    shown = {each["n"]: each for each in clips_of("made/report.html")}
    assert shown["clip.mkv"]["u"].startswith("data:image/webp")
    assert shown["moves.gif"]["u"] == "moves.gif"
    assert shown["frames"]["u"][0] == "frames/00000.jpg"
    assert len(shown["frames"]["u"]) == 12

    succeed("sample", "--preset=shapes", "-n", 2, "--steps=2", "--format=npz", "--out=stack")
    succeed("report", "stack")
    first, second = clips_of("stack/report.html")
    assert first["u"].startswith("data:image/webp")
    assert first["u"] != second["u"]
    assert first["l"].endswith("000deg")


def test_deleted_clips_and_damaged_lists_still_make_a_page(world: World, tmp_path):
    shutil.copytree(world.root / "data" / "shapes", tmp_path / "data" / "shapes")
    first, *_ = sorted((tmp_path / "data/shapes/videos").iterdir())
    first.unlink()
    with (tmp_path / "data/shapes/manifest.jsonl").open("a") as file:
        file.write('{"path": "cut')
    (tmp_path / "data/shapes/meta.json").write_text("{")
    said = succeed("report", "data/shapes").stderr
    assert "files are not there any more" in said
    assert "Classes have no names" in said
    kinds = {each["n"]: each["m"] for each in clips_of("data/shapes/report.html")}
    assert kinds[f"videos/{first.name}"] == "gone"
    assert list(kinds.values()).count("video") == 15


def test_verdicts_of_an_evaluation_are_shown(world: World, tmp_path):
    succeed("sample", "--preset=shapes", "-n", 4, "--steps=20", "--out=made")
    data = f"--data-root={world.root / 'data'}"
    words = ("--metrics=direction,shape", "--clips=4", "-o", "eval.protocol=stylegan-v")
    evaluated = json.loads(
        succeed("--json", "eval", "--preset=shapes", "--fake=made", *words, data).stdout
    )
    succeed("report", "made")
    verdicts = [each["v"] for each in clips_of("made/report.html")]
    right = sum(each.startswith("moves as labeled") for each in verdicts)
    assert right / 4 == evaluated["metrics"]["direction"]["value"]
    whole = sum(each.endswith("one figure") for each in verdicts)
    assert whole / 4 == evaluated["metrics"]["shape"]["value"]


def test_two_folders_are_matched_by_seed_and_label(tmp_path):
    make_samples(tmp_path / "one", 4)
    make_samples(tmp_path / "two", 6)
    shown = json.loads(succeed("--json", "report", "one", "two").stdout)
    assert shown["out"] == "one-against-two.html"
    first, second = data_of_page(Path(shown["out"]))["folders"]
    keys = [[each["k"] for each in folder["clips"]] for folder in (first, second)]
    assert keys[0] == keys[1][:4]


def test_the_command_ends_with_another_folder_to_compare(tmp_path):
    assert "side by side" not in succeed("report", make_samples(tmp_path / "one", 2)).stderr
    make_samples(tmp_path / "two", 2)
    said = succeed("report", "one").stderr
    assert "Open one/report.html in a browser" in said
    assert said.strip().splitlines()[-1] == "  latte report one two"


def test_what_holds_no_clips_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "neither clips nor a training run" in fail("report", "empty")
    make_run(tmp_path / "runs" / "own")
    make_samples(tmp_path / "made", 2)
    assert "made is not" in fail("report", "own", "made")
    assert "3 folders of clips" in fail("report", "made", "made", "made")
    assert "a file, not a folder" in fail("report", "made/samples.jsonl")


def test_a_large_gallery_stays_small(tmp_path):
    """Its lines are 120 bytes a clip; clips are loaded when they come into view."""
    count = 10_000
    make_samples(tmp_path / "made", 1)
    row = json.loads(Path("made/samples.jsonl").read_text())
    rows = [{**row, "name": f"{number:05d}-seed{number}"} for number in range(count)]
    Path("made/samples.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    succeed("report", "made")
    assert len(clips_of("made/report.html")) == count
    assert Path("made/report.html").stat().st_size < 200 * count
