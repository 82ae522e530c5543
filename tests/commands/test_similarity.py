"""`latte similarity` through the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import fail, succeed, tiny
from PIL import Image

from latte_cli.checkpoints.folder import list_checkpoints, read_checkpoint_meta, write_meta
from latte_cli.commands.similarity import find_clips
from latte_cli.video_io import read_video, write_video


def similarity(world, *words, **values):
    runs = f"--runs-root={world.root / 'runs'}"
    return ("similarity", "--preset=shapes", *tiny(**values), runs, *words)


def videos(world):
    return world.root / "data" / "shapes"


def newest(world):
    return list_checkpoints(world.run)[-1]


def written(folder="s"):
    return json.loads(Path(folder, "similarity.json").read_text(encoding="utf-8"))


def test_numbers_and_picture_of_every_block(world, tmp_path):
    words = similarity(world, videos(world), "-n", 5, "--out=s")
    shown = json.loads(succeed("--json", *words).stdout)
    assert (shown["clips"], shown["timesteps"]) == (5, [500]), "half of all steps"
    assert shown["checkpoint"].endswith("step-00000006")
    values = written()
    assert (values["variant"], values["frames"], values["label"]) == (1, 4, None)
    assert values["clips"] == sorted(map(str, videos(world).rglob("*.mp4")))[:5]
    (at,) = values["timesteps"]
    assert [(b["block"], b["attention"]) for b in at["blocks"]] == [(0, "space"), (1, "time")]
    for block in at["blocks"]:
        matrix = np.array(block["output"]["matrix"])
        pairs = matrix[~np.eye(4, dtype=bool)]
        assert block["output"]["mean"] == pytest.approx(pairs.mean(), abs=1e-6)
        assert block["output"]["triples"] == 8
    with Image.open(tmp_path / "s" / "similarity.png") as picture:
        assert picture.width > 1000
    names = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert names == ["similarity.json", "similarity.png", "similarity.svg"]


def test_each_row_of_a_matrix_is_one_line(world, tmp_path):
    succeed(*similarity(world, videos(world), "-n", 1, "--out=s"))
    lines = (tmp_path / "s" / "similarity.json").read_text().splitlines()
    assert sum(line.strip().startswith("[1.0, ") for line in lines) == 2


def test_more_noise_lowers_similarity(world):
    words = ("--timestep=900", "--timestep=0", "--timestep=900", "--label=090deg")
    succeed(*similarity(world, videos(world), *words, "--out=s"))
    values = written()
    assert [at["timestep"] for at in values["timesteps"]] == [0, 900], "once each, in order"
    assert values["label"] == 2
    little, much = (at["blocks"][0]["output"]["mean"] for at in values["timesteps"])
    assert little > much + 0.05


def test_the_seed_matters_and_the_batch_size_does_not(world):
    means = {}
    for batch, seed in ((1, 0), (3, 0), (3, 1)):
        words = ("-n", 4, f"--batch={batch}", f"--seed={seed}", "--out=s", "--overwrite")
        succeed(*similarity(world, videos(world), *words))
        means[batch, seed] = written()["timesteps"][0]["blocks"][1]["output"]["mean"]
    assert means[1, 0] == pytest.approx(means[3, 0], abs=1e-6)
    assert means[3, 1] != pytest.approx(means[3, 0], abs=1e-6)


def test_files_and_folders_are_both_read(world, tmp_path):
    wide = np.random.default_rng(0).integers(0, 255, (9, 40, 64, 3), np.uint8)
    write_video(tmp_path / "wide.mp4", wide, 8)
    succeed(*similarity(world, "wide.mp4", videos(world), "-n", 2, "--out=s"))
    assert written()["clips"][0] == "wide.mp4"


def test_clips_are_cropped_and_sampled_as_in_training(world, tmp_path):
    from latte_cli.commands.similarity import read_clip
    from latte_cli.config import load_config

    path = next(videos(world).rglob("*.mp4"))
    config = load_config("shapes", ["data.size=32", "data.frames=4", "data.interval=3"])
    assert np.array_equal(read_clip(path, config), read_video(path, [0, 3, 6, 9]))


@pytest.mark.parametrize("variant", [2, 3, 4, 6])
def test_checkpoints_of_other_variants(world, variant):
    values = tiny(model__variant=variant, train__steps=1, train__save_every=1)
    latents = f"--latents-root={world.root / 'latents'}"
    succeed("train", "--preset=shapes", *values, latents, "--run=other")
    (checkpoint,) = list_checkpoints(Path("runs/other"))
    succeed("similarity", f"--checkpoint={checkpoint}", videos(world), "-n", 1, "--out=s")
    assert written()["variant"] == variant
    places = list(written()["timesteps"][0]["blocks"][0])[2:]
    assert places == ["output", *(["space", "time", "mutual"] if variant in (3, 4) else [])]


def test_an_unconditional_network_takes_no_label(world):
    values = tiny(model__condition="none", model__num_classes="null", train__steps=1)
    latents = f"--latents-root={world.root / 'latents'}"
    succeed("train", "--preset=shapes", *values, latents, "--run=plain")
    words = ("similarity", "--preset=shapes", "--run=plain", videos(world), "-n", 1, "--out=s")
    assert "takes no --label" in fail(*words, "--label=0")
    succeed(*words)
    assert written()["label"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--timestep=1000"], "timestep 1000 is not in 0 to 999"),
        (["--timestep=5", "--timestep=-1"], "timestep -1 is not in 0 to 999"),
        (["--label=8"], "no label `8`"),
        (["--label=09deg"], "did you mean `090deg`"),
        (["-o", "data.interval=40"], "every 40)"),
        (["-o", "model.depth=4"], "depth is 2, not 4"),
    ],
)
def test_invalid_options_are_errors(world, options, message):
    assert message in fail(
        *similarity(world, videos(world), "--checkpoint", newest(world), *options)
    )


def test_clips_may_be_folders_of_frames(tmp_path):
    for name in ("in/a/1.png", "in/a/2.png", "in/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    inside = [tmp_path / "in" / "a", tmp_path / "in" / "b.mp4"]
    assert find_clips([tmp_path / "in"]) == inside
    assert find_clips([tmp_path / "in" / "a"]) == inside[:1]


def test_paths_without_clips_are_errors(world, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    write_video(tmp_path / "short.mp4", np.zeros((3, 32, 32, 3), np.uint8), 8)
    assert "no videos in empty" in fail(*similarity(world, "empty"))
    assert "none.mp4: no such file" in fail(*similarity(world, "none.mp4"))
    assert "cannot be decoded" in fail(*similarity(world, "text.mp4"))
    said = fail(*similarity(world, videos(world), "short.mp4"))
    assert "short.mp4: too short, it has 3 frames and a clip spans 7 (4 frames, every 2)" in said
    assert "lower data.interval" in said
    assert not (tmp_path / "similarity").exists(), "nothing half done is left"


def test_missing_and_incompatible_checkpoints_are_errors(world, tmp_path):
    assert "nothing to sample from" in fail("similarity", videos(world))
    assert "no such file" in fail("similarity", "--checkpoint=none.pt", videos(world))
    (tmp_path / "t.pt").touch()
    text = ("--checkpoint=t.pt", "-o", "model.condition=text")
    assert "a text-to-video network cannot be used" in fail("similarity", *text, videos(world))
    shutil.copytree(newest(world), tmp_path / "c")
    meta = read_checkpoint_meta(tmp_path / "c")
    write_meta(tmp_path / "c", meta.__class__(**{**vars(meta), "vae_fingerprint": "other"}))
    assert "another autoencoder" in fail("similarity", "--checkpoint=c", videos(world))
    (tmp_path / "c" / "ema.safetensors").write_bytes(b"x")
    assert "not as it was written" in fail("similarity", "--checkpoint=c", videos(world))
