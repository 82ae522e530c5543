"""`latte sample` through the command line."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import fail, succeed, tiny
from PIL import Image

from latte_cli.checkpoints.folder import list_checkpoints
from latte_cli.video_io import read_video


def sample(world, *words, **values):
    runs = f"--runs-root={world.root / 'runs'}"
    return ("sample", "--preset=shapes", *tiny(**values), runs, *words)


def test_files_are_named_by_index_seed_label_and_class(world, tmp_path):
    words = ("-n", 3, "--label=5", "--label=090deg", "--seed=7", "--out=s")
    shown = json.loads(succeed("--json", *sample(world, *words)).stdout)
    names = sorted(path.name for path in (tmp_path / "s").glob("*.mp4"))
    assert names == [
        "00000-seed7-label5-225deg.mp4",
        "00001-seed7-label2-090deg.mp4",
        "00002-seed7-label5-225deg.mp4",
    ]
    assert shown["checkpoint"].endswith("step-00000006"), "the newest of the preset's own run"
    clip = read_video(tmp_path / "s" / names[0])
    assert clip.shape == (4, 32, 32, 3)
    with Image.open(tmp_path / "s" / "grid.png") as grid:
        assert grid.size == (8 * 32 + 4, 3 * (16 + 34) + 2), "a line of text over each row"


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++", "unipc", "euler"])
def test_a_clip_is_the_same_whatever_the_batch(world, tmp_path, sampler):
    """Within one gray level in float32, before the video codec."""
    from latte_cli.config import load_config
    from latte_cli.models import load_latte
    from latte_cli.sampling.generation import ClipRequest, Generator
    from latte_cli.vae import LatentCodec

    model = load_latte(list_checkpoints(world.run)[-1])
    codec = LatentCodec.load("embedded")
    sampled = {}
    for batch in (1, 5):
        values = [f"sample.batch={batch}", "sample.steps=8", f"sample.sampler={sampler}"]
        generator = Generator(model, codec, load_config("shapes", values))
        requests = [ClipRequest(index, 3, index % 8) for index in range(5)]
        sampled[batch] = np.stack(list(generator.clips(requests))).astype(int)
    assert abs(sampled[1] - sampled[5]).max() <= 1
    assert len({clip.tobytes() for clip in sampled[1]}) == 5, "every index is another clip"


def test_only_missing_clips_are_sampled_again(world, tmp_path):
    words = sample(world, "-n", 4, "--out=s")
    succeed(*words)
    gone = tmp_path / "s" / "00002-seed0-label2-090deg.mp4"
    before, content = gone.read_bytes(), sorted((tmp_path / "s").glob("*.mp4"))
    gone.unlink()
    result = succeed("--json", *words)
    assert "3 of 4 clips are already there" in result.stderr
    assert json.loads(result.stdout)["sampled_now"] == 1
    assert gone.read_bytes() == before
    assert sorted((tmp_path / "s").glob("*.mp4")) == content


def test_clips_of_other_settings_do_not_mix(world):
    succeed(*sample(world, "-n", 1, "--out=s"))
    output = fail(*sample(world, "-n", 1, "--out=s", "--guidance=3"))
    assert "guidance 4 against 3" in output
    assert "--out" in output


def test_guidance_steps_and_frames_are_taken_from_the_command_line(world, tmp_path):
    words = ("-n", 1, "--steps=2", "--guidance=1", "--sampler=ddpm", "--frames=6", "--out=s")
    output = succeed(*sample(world, "--checkpoint", list_checkpoints(world.run)[-1], *words)).stderr
    assert output.count("warning: 6 frames for a network trained on 4") == 1
    assert "LatteWarning" not in output
    assert len(read_video(tmp_path / "s" / "00000-seed0-label0-000deg.mp4")) == 6
    settings = json.loads((tmp_path / "s" / "settings.json").read_text())
    assert (settings["steps"], settings["sampler"], settings["frames"]) == (2, "ddpm", 6)


def test_a_checkpoint_alone_knows_its_own_network(world, tmp_path):
    checkpoint = list_checkpoints(world.run)[0]
    succeed("sample", f"--checkpoint={checkpoint}", "-n", 1, "--steps=2", "--out=s")
    assert read_video(tmp_path / "s" / "00000-seed0-label0-000deg.mp4").shape == (4, 32, 32, 3)


def test_published_weights_without_a_configuration(world, tmp_path):
    from safetensors.torch import load_file

    weights = load_file(list_checkpoints(world.run)[-1] / "ema.safetensors")
    torch.save({"ema": weights}, tmp_path / "w.pt")
    succeed(*sample(world, "--checkpoint=w.pt", "-n", 1, "--out=s"))
    assert (tmp_path / "s" / "00000-seed0-label0.mp4").is_file(), "a file has no names of classes"


def test_a_checkpoint_of_another_shape_raises_with_what_differs(world):
    checkpoint = list_checkpoints(world.run)[-1]
    output = fail("sample", "--preset=folder", f"--checkpoint={checkpoint}", "-n", 1)
    assert "width is 32, not 192" in output
    assert "num_frames is 4, not 16" in output
    assert "omit --preset" in output


def test_a_broken_checkpoint_fails(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    for checkpoint in list_checkpoints(tmp_path / "runs" / "shapes"):
        (checkpoint / "ema.safetensors").write_bytes(b"x")
    output = fail("sample", f"--checkpoint={checkpoint}")
    assert "not as it was written" in output


def test_a_named_run_is_never_replaced_by_the_shipped_network(world, tmp_path):
    assert "holds no whole checkpoint" in fail("sample", "--preset=shapes", "--run=typo")
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    oldest, newest = list_checkpoints(tmp_path / "runs" / "shapes")
    (newest / "ema.safetensors").write_bytes(b"x")
    result = succeed("--json", "sample", "--preset=shapes", "-n", 1, "--steps=2", "--out=s")
    assert "not as it was written; trying the checkpoint before it" in result.stderr
    assert json.loads(result.stdout)["checkpoint"].endswith(oldest.name)
    (oldest / "ema.safetensors").unlink()
    assert "holds no whole checkpoint" in fail("sample", "--preset=shapes", "-n", 1)


def test_a_checkpoint_of_another_autoencoder_fails(world, tmp_path):
    from latte_cli.checkpoints.folder import read_checkpoint_meta, write_meta

    shutil.copytree(list_checkpoints(world.run)[-1], tmp_path / "c")
    meta = read_checkpoint_meta(tmp_path / "c")
    write_meta(tmp_path / "c", meta.__class__(**{**vars(meta), "vae_fingerprint": "other"}))
    assert "another autoencoder" in fail("sample", "--checkpoint=c")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--label=8"], "no label `8`"),
        (["--label=09deg"], "did you mean `090deg`"),
        (["--label=-1"], "no label `-1`"),
        (["--sampler=heun"], "`sample.sampler` is 'heun'"),
        (["--precision=fp8"], "`sample.precision` is 'fp8'"),
        (["--steps=2000"], "more than the 1000"),
    ],
)
def test_invalid_values_fail(world, words, message):
    assert message in fail(*sample(world, "-n", 1, *words))


def test_missing_checkpoints_fail(world):
    assert "nothing to sample from" in fail("sample")
    assert "has no checkpoint" in fail("sample", "--preset=ucf101")
    said = fail("sample", "--preset=t2v-shapes")
    assert "what is shipped for it is a pipeline" in said
    assert "--model embedded" in said
    assert "no such file" in fail("sample", "--preset=ucf101", "--checkpoint=none")
    assert "no such file" in fail("sample", "--checkpoint=none.pt")


def test_an_unconditional_network_takes_no_label(world):
    latents = f"--latents-root={world.root / 'latents'}"
    values = tiny(model__condition="none", model__num_classes="null")
    succeed("train", "--preset=shapes", *values, latents, "--run=plain")
    run = ("sample", "--preset=shapes", "--run=plain", "-n", 2, "--steps=2", "--out=s")
    assert "takes no --label" in fail(*run, "--label=0")
    assert json.loads(succeed("--json", *run).stdout)["clips"] == 2
