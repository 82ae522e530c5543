"""`latte eval` through the command line."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import fail, succeed, tiny
from eval_places import flat, frame_folders, mp4_folder, npz_file, prepared, shapes_clip
from PIL import Image

import latte_cli.metrics
from latte_cli.checkpoint import list_checkpoints
from latte_cli.video_io import write_video


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    return prepared(root / "real", 10, 12), mp4_folder(root / "fake", 6, 6, seed=1)


@pytest.fixture
def clips(tmp_path, made_once):
    """A data set and a folder of clips, of which a test may change what it likes."""
    for folder in made_once:
        shutil.copytree(folder, tmp_path / folder.name)


WORDS = ("eval", "--real=real", "--fake=fake", *flat())


def evaluate(*words):
    return json.loads(succeed("--json", *WORDS, *words).stdout)


def test_a_number_comes_with_its_protocol_spread_and_floor(clips, tmp_path):
    shown = evaluate("--metrics=fd-random,direction", "--draws=3", "--out=r.json")
    number = shown["metrics"]["fd-random"]
    assert number["value"] > 0
    assert len(number["draws"]) == 3
    assert number["std"] > 0
    assert number["interval"][0] < number["draws"][0] < number["interval"][1]
    assert (number["real"], number["fake"]) == (8, 6), "the last two are the test split"
    assert number["floor"]["videos"] == 4
    assert number["floor"]["same_size"] is False
    assert "not comparable with FVD" in number["note"]
    assert shown["metrics"]["direction"]["value"] > 0.5
    protocol = shown["protocol"]
    assert (protocol["name"], protocol["real_interval"], protocol["frames"]) == ("latte", 2, 4)
    assert set(protocol["networks"]) == {"random3d", "motion"}
    assert shown["fake"]["compression"] == "mp4 crf 5, then JPEG 75"
    written = json.loads((tmp_path / "r.json").read_text())
    assert {k: v for k, v in shown.items() if k not in ("out", "place", "seconds")} == written


def test_people_see_value_protocol_and_what_is_not_as_published(clips):
    result = succeed(*WORDS)
    shown = " ".join(result.stdout.split())
    for words in (
        "metric value",
        "fd-random",
        "protocol latte",
        "not as published",
        "results/fake-",
    ):
        assert words in shown
    said = result.stderr
    assert "fake: 6 clips, published numbers take 2048" in said
    assert said.count("warning: real:") == 1


def test_a_narrow_terminal_shows_it_all(clips, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = succeed(*WORDS, "--draws=2").stdout
    assert max(map(len, shown.splitlines())) <= 80


def test_every_source_gives_the_same_number_where_pixels_are_the_same(tmp_path):
    """Frames and arrays, packed or not, in a folder or by name; all without compression."""
    npz_file(tmp_path / "real.npz", 6, 8)
    places = {
        "frames": frame_folders(tmp_path / "frames", 5, 4, seed=1),
        "array": npz_file(tmp_path / "array.npz", 5, 4, seed=1),
        "packed": npz_file(tmp_path / "packed.npz", 5, 4, seed=1, save=np.savez_compressed),
        "folder": npz_file(tmp_path / "clips.npz", 5, 4, seed=1).parent,
    }
    values = set()
    for fake in places.values():
        words = ("--real=real.npz", f"--fake={fake}", *flat("eval.protocol=stylegan-v"))
        shown = json.loads(succeed("--json", "eval", *words, "-o", "eval.resamples=0").stdout)
        values.add(shown["metrics"]["fd-random"]["value"])
    assert len(values) == 1
    assert values.pop() > 0


def test_a_checkpoint_is_sampled_on_the_fly(clips, tmp_path):
    words = ("--preset=shapes", "--checkpoint=embedded", "--clips=3", "-o", "sample.steps=1")
    shown = json.loads(
        succeed("--json", "eval", "--real=real", *words, "-o", "data.interval=1").stdout
    )
    assert shown["fake"]["kind"] == "checkpoint"
    assert shown["seconds_per_clip"] > 0
    assert set(shown["metrics"]) == {"direction", "fd-random"}, "those of the preset"
    assert not list(tmp_path.rglob("*00000*label*64px*")), "no files in between"


def test_the_whole_protocol_can_be_seen_without_data(monkeypatch):
    shown = json.loads(succeed("--json", "eval", "--show-protocol", "--metrics=fd-random").stdout)
    assert (shown["frames"], shown["size"], shown["clips"]) == (16, 256, 2048)
    assert shown["deviations"] == []
    assert len(shown["networks"]["random3d"]) == 64
    words = succeed("eval", "--show-protocol", "--preset=taichi-hd", "--metrics=fd-random").stdout
    for told in ("source frames between a real clip's", "6", "mp4-crf5 jpeg-75", "ddof", "hash"):
        assert told in words
    monkeypatch.setattr(latte_cli.metrics, "load_features", _missing)
    assert "checksums belong to the hash" in " ".join(
        succeed("eval", "--show-protocol").stdout.split()
    )


def _missing(*words, **more):
    from latte_cli.errors import CheckpointError

    raise CheckpointError("i3d: no weights", hint="give --weights")


class Tiny:
    """A feature network that answers at once: mean colours, before or after the softmax."""

    def __init__(self, name):
        self.per_frame = name == "inception"
        self.weights = SimpleNamespace(sha256=f"{name} " + 60 * "0")

    def __call__(self, clips):
        colours = clips.float().mean(dim=(2, 3)) / 255
        rows = colours.flatten(0, 1) if self.per_frame else colours.mean(dim=1)
        wide = torch.cat([rows, rows**2], dim=1)
        return SimpleNamespace(features=wide, logits=3 * wide)


def test_published_metrics_stand_beside_the_papers(tmp_path, monkeypatch):
    """With networks in the place of the published ones, which are not shipped."""
    monkeypatch.setattr(latte_cli.metrics, "load_features", lambda name, *a, **k: Tiny(name))
    real = prepared(tmp_path / "ucf101", 8, 34)
    fake = npz_file(tmp_path / "clips.npz", 12, 16, seed=1)
    small = ("-o", "data.size=32", "-o", "data.interval=2")
    words = ("--preset=ucf101", f"--real={real}", f"--fake={fake}", *small)
    metrics = "--metrics=fvd,kvd,fid,kid,is"
    shown = json.loads(succeed("--json", "eval", *words, metrics, "--out=r.json").stdout)
    assert set(shown["metrics"]) == {"fvd", "kvd", "fid", "kid", "is"}
    assert shown["place"] == {"fvd": 1, "is": 2}
    assert shown["metrics"]["fvd"]["network"] == "i3d"
    assert shown["metrics"]["is"]["real"] == 0
    people = succeed("eval", *words, metrics).stdout
    assert "> this result" in people
    assert "Latte+IMG" in people
    assert "side of a frame, pixels: 32, published: 256" in people
    clips_only = json.loads(
        succeed("--json", "eval", *words, "--metrics=fid", "-o", "eval.fid_frames=clips").stdout
    )
    assert clips_only["metrics"]["fid"]["value"] != shown["metrics"]["fid"]["value"]


def test_clips_too_short_for_fvd_are_told_before_weights_are_looked_for(clips, monkeypatch):
    monkeypatch.setattr(latte_cli.metrics, "load_features", _missing)
    assert "clips of 4 frames, fvd or kvd needs at least 9" in fail(*WORDS, "--metrics=fvd")
    assert "i3d: no weights" in fail(*WORDS, "--metrics=fvd", "-o", "data.frames=9")


def test_paired_folders_are_compared_frame_by_frame(clips, tmp_path):
    shutil.copytree(tmp_path / "fake", tmp_path / "same")
    words = ("eval", "--real=fake", "--fake=same", "--metrics=psnr,ssim")
    shown = json.loads(succeed("--json", *words).stdout)["metrics"]
    assert (shown["psnr"]["value"], shown["ssim"]["value"]) == (100, 1)
    assert shown["psnr"]["fake"] == 6
    noisy = shapes_clip(0, 6, seed=1).astype(int) + np.random.default_rng(0).integers(
        -40, 40, (6, 32, 32, 3)
    )
    write_video(
        tmp_path / "same" / "00000-seed1-label0.mp4", noisy.clip(0, 255).astype(np.uint8), 8
    )
    shown = json.loads(succeed("--json", *words).stdout)["metrics"]
    assert 80 < shown["psnr"]["value"] < 100
    assert shown["psnr"]["parts_std"] > 10
    both = json.loads(
        succeed(
            "--json",
            *WORDS[:1],
            "--real=fake",
            "--fake=same",
            *flat(),
            "--metrics=psnr,fd-random",
            "-o",
            "data.interval=1",
        ).stdout
    )
    assert set(both["metrics"]) == {"fd-random", "psnr"}
    (tmp_path / "same" / "00001-seed1-label1.mp4").unlink()
    assert "00001-seed1-label1 is in fake alone" in fail(*words)
    write_video(tmp_path / "same" / "00001-seed1-label1.mp4", shapes_clip(1, 5), 8)
    assert "the two videos of this name differ, 6 frames of 32 x 32 and 5" in fail(*words)


def test_results_of_one_protocol_are_compared(clips):
    evaluate("--out=a.json")
    evaluate("--out=b.json", "--fake=real/videos")
    shown = json.loads(succeed("--json", "eval", "a.json", "b.json").stdout)
    (row,) = shown["metrics"]
    assert row["metric"] == "fd-random"
    assert row["values"]["a.json"] > row["values"]["b.json"]
    assert row["verdicts"]["b.json"] in ("within noise", "beyond noise")
    assert "noise)" in succeed("eval", "a.json", "b.json").stdout


def test_results_of_two_protocols_are_not_compared(clips, tmp_path):
    evaluate("--out=a.json")
    evaluate("--out=b.json", "--interval=1", "--seed=4")
    said = fail("eval", "a.json", "b.json")
    assert "a.json and b.json cannot be compared" in said
    assert "source frames between a real clip's: 2 and 1" in said
    assert "seed of the draws: 0 and 4" in said
    other = prepared(tmp_path / "other", 7, 12, seed=5)
    evaluate("--out=c.json", f"--real={other}")
    assert "real videos: real and" in fail("eval", "a.json", "c.json")
    evaluate("--out=d.json", "--metrics=direction")
    assert "share no metric" in fail("eval", "a.json", "d.json")
    assert "nothing to compare it with" in fail("eval", "a.json")
    Path("e.json").write_text("{}")
    assert "no result of `latte eval`" in fail("eval", "a.json", "e.json")
    assert "none.json: no such file" in fail("eval", "a.json", "none.json")


def test_a_result_of_another_protocol_is_never_replaced(clips):
    first = evaluate("--out=a.json")
    assert evaluate("--out=a.json")["metrics"] == first["metrics"]
    said = fail(*WORDS, "--out=a.json", "--protocol=stylegan-v")
    assert "holds a result of another protocol (protocol: latte and stylegan-v" in said
    assert json.loads(Path("a.json").read_text())["metrics"] == first["metrics"]
    Path("b.json").write_text("notes of mine")
    assert "no result of `latte eval`" in fail(*WORDS, "--out=b.json")
    assert Path("b.json").read_text() == "notes of mine"


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


def test_bad_input_is_told(clips, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no videos in this folder" in fail(*WORDS, "--fake=empty")
    assert "no such folder" in fail(*WORDS, "--real=none")
    assert "real: 8 clips, 9 were asked for" in fail(*WORDS, "--clips=9")
    assert "no video has 40 frames (4 x 10), the longest has 12" in fail(*WORDS, "--interval=10")
    assert "no metric named `fdv`" in fail(*WORDS, "--metrics=fdv")
    assert "`eval.protocol` is 'dit'" in fail(*WORDS, "--protocol=dit")
    assert "nothing to evaluate" in fail("eval", "--real=real")
    assert "holds clips, and a checkpoint is named" in fail(*WORDS, "--checkpoint=embedded")
    write_video(tmp_path / "fake" / "large.mp4", np.zeros((6, 64, 64, 3), np.uint8), 8)
    said = fail(*WORDS)
    assert "holds clips of several sizes: " in said
    assert "large.mp4 is 64 x 64" in said


def test_the_same_folder_twice_is_warned_of(clips):
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
    assert shown["metrics"]["fd-random"]["value"] < 0.02, "other windows of the same videos"


SWEEP = (
    "eval",
    "--real=real",
    "--preset=shapes",
    "--sweep=steps=1,2",
    "--sweep=guidance=1,4",
    "--clips=3",
    "-o",
    "data.interval=1",
    "-o",
    "eval.resamples=5",
)


def test_a_sweep_is_a_table_and_a_picture_and_goes_on(clips, tmp_path):
    shown = json.loads(succeed("--json", *SWEEP, "--metrics=fd-random").stdout)
    settings = [point["settings"] for point in shown["points"]]
    assert settings == [{"steps": a, "guidance": b} for a in "12" for b in "14"]
    assert all(point["seconds_per_clip"] > 0 for point in shown["points"])
    assert len({point["metrics"]["fd-random"]["value"] for point in shown["points"]}) == 4
    with Image.open("sweeps/shapes/sweep.png") as picture:
        assert picture.width > 500
    assert json.loads(Path("sweeps/shapes/sweep.json").read_text()) == shown

    gone = sorted(Path("sweeps/shapes/points").glob("*.json"))[0]
    gone.unlink()
    people = succeed(*SWEEP, "--metrics=fd-random").stdout
    assert "1 of 4" in " ".join(people.split()), "only what is missing is measured"
    assert json.loads(Path("sweeps/shapes/sweep.json").read_text()) == shown
    assert "another protocol (seed of the draws: 0 and 1)" in fail(
        *SWEEP, "--metrics=fd-random", "--seed=1"
    )


def test_a_sweep_over_caches(clips):
    """Fewer calls of blocks give other clips, one by one where the cache looks at them."""
    words = ("--real=real", "--preset=shapes", "--clips=2", "--metrics=fd-random")
    words += ("--sweep=cache=off,pab,adaptive:0.5", "-o", "sample.steps=6", "-o", "data.interval=1")
    shown = json.loads(succeed("--json", "eval", *words, "-o", "eval.resamples=0").stdout)
    values = {point["metrics"]["fd-random"]["value"] for point in shown["points"]}
    assert len(values) == 3
    assert "no threshold" in fail("eval", *words[:4], "--sweep=cache=adaptive:x")


@pytest.mark.parametrize("axis", ["steps", "steps=", "=1"])
def test_nothing_to_sweep_is_told(clips, axis):
    assert "is nothing to sweep" in fail(
        "eval", "--real=real", "--preset=shapes", f"--sweep={axis}"
    )


def test_a_curve_over_the_checkpoints_of_runs(world, tmp_path):
    """The paper's Figures 5 and 7, in small."""
    shutil.copytree(world.root / "runs", "runs")
    shutil.copytree("runs/shapes", "runs/twin")
    real = f"--real={world.root / 'data' / 'shapes'}"
    words = (
        "eval",
        "--curve=shapes",
        "--curve=twin",
        real,
        "--clips=3",
        "--metrics=fd-random",
        "-o",
        "sample.steps=1",
        "-o",
        "eval.resamples=5",
    )
    shown = json.loads(succeed("--json", *words).stdout)
    assert [each["step"] for each in shown["runs"]["shapes"]] == [3, 6]
    assert shown["runs"]["shapes"] == shown["runs"]["twin"], "the same weights"
    best = [each for each in shown["runs"]["shapes"] if each["best"]]
    assert best == [min(shown["runs"]["shapes"], key=lambda e: e["metrics"]["fd-random"]["value"])]
    marked = json.loads(Path("runs/shapes/best.json").read_text())
    assert marked["step"] == best[0]["step"]
    assert Path("runs/shapes", marked["checkpoint"]).is_dir()
    with Image.open("runs/shapes/quality.png") as picture:
        assert picture.width > 500

    shutil.rmtree(list_checkpoints(Path("runs/shapes"))[0])
    again = json.loads(succeed("--json", *words).stdout)
    assert again == shown, "results outlive their checkpoints"
    other = fail(*words[:2], "--curve=folder", *words[3:])
    assert "runs/folder: no run" in other


def test_a_sweep_over_the_checkpoints_of_a_run(world):
    words = (f"--runs-root={world.root / 'runs'}", f"--real={world.root / 'data' / 'shapes'}")
    words += ("--preset=shapes", "--sweep=checkpoint=all", "--clips=2", "--metrics=direction")
    words += tuple(tiny(sample__steps=1))
    shown = json.loads(succeed("--json", "eval", *words).stdout)
    names = [Path(point["settings"]["checkpoint"]).name for point in shown["points"]]
    assert names == ["step-00000003", "step-00000006"]


def test_runs_of_two_intervals_are_not_drawn_together(world):
    shutil.copytree(world.root / "runs", "runs")
    config = Path("runs/shapes/config.yaml").read_text()
    shutil.copytree("runs/shapes", "runs/other")
    Path("runs/other/config.yaml").write_text(config.replace("interval: 2", "interval: 3"))
    said = fail("eval", "--curve=shapes", "--curve=other", f"--real={world.root / 'data/shapes'}")
    assert "cannot be compared: source frames between a real clip's: 2 and 3" in said


def test_the_self_test_says_what_it_tried(clips, monkeypatch):
    from latte_cli.evaluation import self_test

    monkeypatch.setattr(latte_cli.metrics, "load_features", _missing)
    monkeypatch.setattr(self_test, "_FRECHET", self_test._FRECHET[:2])  # the small ones
    monkeypatch.setattr(self_test, "known_answers", lambda device: [])  # seconds of convolutions
    words = ("eval", "--self-test", "--real=real", *flat("eval.clips=3"))
    shown = json.loads(succeed("--json", *words).stdout)
    states = [check["passed"] for check in shown["checks"]]
    assert states.count(None) == 1
    assert False not in states
    assert {each["name"] for each in shown["compression"]} >= {"none", "JPEG 75", "mp4 crf 5"}
    monkeypatch.setattr(self_test, "polynomial_mmd", lambda a, b: 1.0)
    assert "checks failed: KVD and KID" in fail("eval", "--self-test")


def test_a_folder_of_vbench_is_checked(tmp_path):
    from latte_cli.evaluation.vbench import video_name

    prompts = ("a red bicycle", "a green bicycle")
    rows = [{"prompt_en": prompt, "dimension": ["color"]} for prompt in prompts]
    folder = tmp_path / "videos" / "color"
    folder.mkdir(parents=True)
    for prompt in prompts:
        for index in range(5):
            (folder / video_name(prompt, index)).touch()
    assert "holds no list of VBench's prompts" in fail("eval", "--vbench=videos")
    (tmp_path / "list.json").write_text(json.dumps(rows))
    shown = succeed("eval", "--vbench=videos", "--vbench-prompts=list.json").stdout
    assert "vbench evaluate --videos_path videos/color --dimension color" in shown
    next(folder.iterdir()).unlink()
    (tmp_path / "list.json").rename(tmp_path / "videos" / "vbench_full_info.json")
    assert "1 videos are missing and 0 have wrong names" in fail("eval", "--vbench=videos")


def test_vbenchs_scores_stand_beside_the_papers(tmp_path):
    from latte_cli.evaluation.vbench_scores import paper_scores

    Path("s.json").write_text(json.dumps({k: [v, []] for k, v in paper_scores()["Latte"].items()}))
    shown = json.loads(succeed("--json", "eval", "--vbench-results=s.json").stdout)
    assert round(100 * shown["total"], 2) == 77.29
    people = succeed("eval", "--vbench-results=s.json").stdout
    assert "CogVideo" in people
    assert "77.29" in people
