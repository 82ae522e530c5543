"""`latte calibrate` of text-to-video pipelines, and caches of `latte t2v`."""

import gc
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands.pipelines import write_pipeline
from conftest import fail, succeed

from latte_cli.commands import calibrate
from latte_cli.runtime.files import sha256_of
from latte_cli.runtime.weight_files.hub import HubFolder
from latte_cli.sampling import text_to_video
from latte_cli.text.encoder import TextEncoder

STEPS = 8
PROMPT = "two dogs run"
SMALL = ("--frames", 4, "--steps", STEPS, "--precision", "float32")
STORED = f"cache-DDIMScheduler-{STEPS}-g7.5-2x-*.json"


@pytest.fixture(autouse=True)
def _no_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """Random weights of two pairs of blocks, with a schedule beside the network."""
    folder = write_pipeline(tmp_path_factory.mktemp("pipeline"))
    result = json.loads(succeed("--json", *of(folder)).stdout)
    assert result["checkpoint"] == str(folder)
    assert (result["sampler"], result["steps"], result["guidance"]) == (
        "DDIMScheduler",
        STEPS,
        7.5,
    )
    assert result["clips"] == len(calibrate.PROMPTS)
    assert [speed["fewer_blocks"] for speed in result["speeds"]] == [2.0]
    assert result["speeds"][0]["path"] == str(stored(folder))
    return folder


def stored(folder):
    """The one schedule beside a pipeline's network."""
    (path,) = (folder / "transformer").glob(STORED)
    return path


def of(folder, *words):
    return ["calibrate", "--model", folder, *SMALL, "--speed", "2x", *words]


def clip(pipeline, out, *words):
    """The lossless clip of `latte t2v`, and its messages."""
    result = succeed("t2v", PROMPT, *SMALL, "--model", pipeline, "-o", out, *words)
    return np.load(out)["clips"], " ".join(result.stderr.split())


def test_the_file_records_its_setup(pipeline):
    result = json.loads(stored(pipeline).read_text())
    (weights,) = (pipeline / "transformer").glob("*.safetensors")
    assert result["weights_sha256"] == sha256_of(weights)
    assert stored(pipeline).stem.endswith(f"-{result['weights_sha256'][:8]}")
    assert (result["objective"], result["frames"], result["size"]) == ("eps", 4, None)
    assert result["timesteps"] == list(range(0, 1000, 125)), "DDIM's own spacing, `leading`"
    clips = len(calibrate.PROMPTS)
    assert (result["clips"], result["blocks"]) == (clips, clips * 2 * STEPS)
    assert result["blocks_in_all"] == clips * 4 * STEPS
    assert 15 < result["psnr_db"] < 100


def test_speed_selects_the_calibrated_file(pipeline, tmp_path):
    plain, output = clip(pipeline, tmp_path / "plain.npz")
    assert "blocks computed" not in output
    by_speed, output = clip(pipeline, tmp_path / "speed.npz", "--speed", "2x")
    assert f"blocks computed: {2 * STEPS} of {4 * STEPS}" in output
    assert "warning" not in output
    path = stored(pipeline)
    by_path, _ = clip(pipeline, tmp_path / "path.npz", "--cache", path)
    assert np.array_equal(by_speed, by_path)
    assert not np.array_equal(by_speed, plain)


def test_attention_is_broadcast(pipeline, tmp_path):
    plain, _ = clip(pipeline, tmp_path / "plain.npz")
    found, output = clip(pipeline, tmp_path / "pab.npz", "--cache", "pab")
    assert "attentions computed" in output
    assert not np.array_equal(found, plain)


def test_the_psnr_of_the_file_is_measured_on_its_clips(pipeline, monkeypatch):
    """Sampled once to record, then twice for the speed; compared with the first here."""
    sampled = []
    clip = text_to_video.TextGenerator.clip

    def recorded(self, *values):
        sampled.append(clip(self, *values))
        return sampled[-1]

    monkeypatch.setattr(text_to_video.TextGenerator, "clip", recorded)
    result = json.loads(succeed("--json", *of(pipeline, "-n", 2, PROMPT, "--out", "new")).stdout)
    assert len(sampled) == 3 * 2
    whole = np.stack(sampled[:2]).astype(float)
    assert not np.array_equal(whole[0], whole[1]), "each clip has its own noise"
    found = []
    for first in (2, 4):
        errors = ((np.stack(sampled[first : first + 2]) - whole) ** 2).mean(axis=(1, 2, 3, 4))
        found.append(np.mean(10 * np.log10(255**2 / errors)))
    assert result["speeds"][0]["psnr_db"] == pytest.approx(max(found), abs=0.01)


def test_prompts_come_from_a_file(pipeline, tmp_path, monkeypatch):
    seen = []
    encode = TextEncoder.encode
    monkeypatch.setattr(
        TextEncoder, "encode", lambda self, texts, **k: seen.extend(texts) or encode(self, texts)
    )
    lines = tmp_path / "prompts.csv"
    lines.write_text(f"prompt,negative,guidance\n{PROMPT},grass,3\nthe sea at night,,3\n")
    words = of(pipeline, "--prompts", lines, "--negative", "low quality", "--out", "new")
    result = json.loads(succeed("--json", *words).stdout)
    assert sorted(seen) == sorted([PROMPT, "grass", "the sea at night", "low quality"])
    assert (result["clips"], result["guidance"]) == (2, 3.0)
    assert result["speeds"][0]["path"] == str(
        *Path("new").glob(f"cache-DDIMScheduler-{STEPS}-g3-2x-*.json")
    )
    lines.write_text(f"prompt,guidance\n{PROMPT},3\nthe sea at night,\n")
    assert "prompts of guidance 3 and 7.5, but a schedule is for one" in fail(*words)


def test_the_text_encoder_is_freed_before_the_network_loads(pipeline, monkeypatch):
    there, load = [], text_to_video.load_latte_t2v

    def loaded(path):
        there.append([o for o in gc.get_objects() if isinstance(o, TextEncoder)])
        return load(path)

    monkeypatch.setattr(text_to_video, "load_latte_t2v", loaded)
    succeed(*of(pipeline, PROMPT, "--out", "new"))
    assert there == [[]]


def test_other_samplers_and_scales_have_their_own_files(pipeline, tmp_path):
    succeed(*of(pipeline, PROMPT, "--sampler", "euler", "--guidance", 2, "--out", tmp_path))
    (path,) = tmp_path.glob("cache-*.json")
    assert path.name.startswith(f"cache-euler-{STEPS}-g2-2x-")
    words = ("--cache", path, "--sampler", "euler", "--guidance")
    assert "warning" not in clip(pipeline, tmp_path / "a.npz", *words, 2)[1]
    _, output = clip(pipeline, tmp_path / "b.npz", *words, 7.5, "--frames", 2, "--size", 32)
    message = (
        "was calibrated for guidance 2, not 7.5; frames 4, not 2; size as trained, not 32x32: "
    )
    assert message in output
    refused = ("t2v", PROMPT, *SMALL, "--model", pipeline, "--cache", path)
    assert "was calibrated for the sampler euler, not DDIMScheduler" in fail(*refused)


def test_every_guidance_scale_of_a_prompt_file_is_compared(pipeline, tmp_path):
    lines = tmp_path / "prompts.csv"
    lines.write_text(f"prompt,guidance\n{PROMPT},7.5\n{PROMPT},3\n{PROMPT},2\n")
    words = ("t2v", "--prompts", lines, *SMALL, "--model", pipeline, "--speed", "2x")
    output = " ".join(succeed(*words, "-o", tmp_path / "out").stderr.split())
    assert output.count("was calibrated for guidance 7.5, not 3 or 2: ") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--speed", "3x"), "no calibrated cache for 3x at 8 steps of DDIMScheduler"),
        (("--speed", "2x", "--sampler", "euler"), "for 2x at 8 steps of euler; it has cache-DDIM"),
        (("--speed", "2x", "--steps", 6), "for 2x at 6 steps of DDIMScheduler"),
    ],
)
def test_a_missing_calibration_fails(pipeline, tmp_path, words, message):
    output = fail("t2v", PROMPT, *SMALL, "--model", pipeline, *words, "-o", tmp_path / "a.mp4")
    assert message in output
    assert "latte calibrate --speed" in output


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("scheduler_config.json", {"timestep_spacing": "trailing"}, "for other timesteps"),
        ("scheduler_config.json", {"prediction_type": "v_prediction"}, "objective eps, not v"),
    ],
)
def test_a_cache_of_another_noise_schedule_fails(pipeline, tmp_path, file, change, message):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    config = copy / "scheduler" / file
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    assert message in fail("t2v", PROMPT, *SMALL, "--model", copy, "--speed", "2x")


@pytest.mark.parametrize("why", ["hub", "read-only"])
def test_the_user_s_cache_folder_is_used_if_the_pipeline_is_not_writable(
    pipeline, tmp_path, monkeypatch, why
):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    stored(copy).unlink()
    name = copy
    if why == "hub":
        name = "somebody/model"
        monkeypatch.setattr(HubFolder, "fetch", lambda self: copy / self.folder)
        monkeypatch.setattr(HubFolder, "check", lambda self: None)
    else:
        monkeypatch.setattr("os.access", lambda path, mode: False)
    succeed(*of(name, PROMPT))
    assert not [*(copy / "transformer").glob(STORED)]
    assert len([*(tmp_path / "user/latte/calibrated").glob(f"*/{STORED}")]) == 1
    _, output = clip(name, tmp_path / "a.npz", "--speed", "2x")
    assert f"blocks computed: {2 * STEPS} of {4 * STEPS}" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--speed", "9x"), "9x cannot be reached in 8 steps"),
        (("--sampler", "magic"), "--sampler magic is unknown"),
        (("--steps", 2000), "2000 steps, but the network was trained on 1000 timesteps"),
        (("--size", 30), "frames of 30x30 pixels: this model makes multiples of 16"),
        (("--prompts", "none.txt"), "none.txt: cannot be read"),
        (("--model", "./none"), "./none: no such folder"),
        (("--text-encoder-bits", 2), "--text-encoder-bits 2 is unknown"),
    ],
)
def test_invalid_options_fail(pipeline, tmp_path, words, message):
    assert message in fail(*of(pipeline, "--out", tmp_path / "new", *words))
    assert not (tmp_path / "new").exists()


def test_a_pipeline_is_not_a_checkpoint(pipeline):
    output = fail("calibrate", "--checkpoint", pipeline)
    assert f"{pipeline} is a text-to-video pipeline" in output
    assert f"--model {pipeline}" in output


def test_samplers_by_name_need_a_known_prediction_type(pipeline, tmp_path):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    config = copy / "scheduler/scheduler_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "prediction_type": "sample"}))
    words = of(copy, PROMPT, "--out", tmp_path / "new")
    assert "network predicts sample, --sampler needs" in fail(*words, "--sampler", "ddim")
    succeed(*words)
    (path,) = (tmp_path / "new").iterdir()
    assert json.loads(path.read_text())["objective"] == "sample"


def test_a_cache_of_another_number_of_blocks_fails(pipeline, tmp_path):
    path = tmp_path / "cache.json"
    values = json.loads(stored(pipeline).read_text())
    path.write_text(json.dumps({**values, "computed": values["computed"][:1]}))
    words = ("t2v", PROMPT, *SMALL, "--model", pipeline, "--cache", path)
    assert "a cache for 1 pairs of blocks, this network has 2" in fail(*words)


@pytest.mark.parametrize("decoder", ["frame", "temporal"])
def test_the_trained_size_may_be_given(tmp_path, decoder):
    folder = write_pipeline(tmp_path / "pipeline")
    succeed(*of(folder))
    words = ("t2v", PROMPT, *SMALL, "--speed=2x", f"--model={folder}", f"--vae-decoder={decoder}")
    same = succeed(*words, "--size", 64, "-o", "a.npz")
    assert np.load("a.npz")["clips"].shape[2:4] == (64, 64)
    assert "warning" not in same.stderr
    other = " ".join(succeed(*words, "--size", 32, "-o", "b.npz").stderr.split())
    assert "size as trained, not 32x32" in other
