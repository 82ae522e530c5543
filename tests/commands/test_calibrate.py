"""`latte calibrate`, and `--cache` and `--speed` of the commands that sample."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import fail, succeed, tiny
from safetensors.torch import load_file, save_file

from latte_cli.caching import mean_psnr
from latte_cli.config import load_config
from latte_cli.config.locations import asset
from latte_cli.models import build_model
from latte_cli.models.trained import weights_checksum

STEPS = 8
# Two pairs of blocks: with one, a cache that always computes the first has nothing to skip.
DEEP = tiny(model__depth=4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Random weights of four blocks, with a schedule beside them."""
    path = tmp_path_factory.mktemp("weights") / "network.safetensors"
    model = build_model(load_config("shapes", DEEP[1::2]))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    save_file(model.state_dict(), path)
    result = json.loads(succeed("--json", "calibrate", *of(path), "--speed", "2x", "-n", 2).stdout)
    assert [speed["fewer_blocks"] for speed in result["speeds"]] == [2.0]
    return path


def test_a_network_with_text_is_calibrated_by_its_model(tmp_path):
    said = fail(
        "calibrate", f"--checkpoint={asset('t2v-shapes') / 'transformer'}", "--preset=shapes"
    )
    assert "in diffusers' layout" in said


def of(checkpoint):
    sampled = ["--steps", STEPS, "--sampler", "ddim", "--guidance", 2]
    return ["--preset=shapes", *DEEP, "--checkpoint", checkpoint, *sampled]


def clips(checkpoint, out, *words, count=3):
    """The lossless clips of `latte sample`, and its messages."""
    place = out.with_suffix(".npz")
    result = succeed("sample", *of(checkpoint), "-n", count, "--out", place, *words)
    return np.load(place)["clips"], " ".join(result.stderr.split())


def test_the_file_is_beside_the_weights_and_records_its_setup(checkpoint):
    (path,) = checkpoint.parent.glob(f"cache-ddim-{STEPS}-g2-2x-*.json")
    result = json.loads(path.read_text())
    assert result["weights_sha256"] == weights_checksum(checkpoint)
    assert path.stem.endswith(f"-{result['weights_sha256'][:8]}")
    assert (result["sampler"], result["steps"], result["objective"]) == ("ddim", STEPS, "eps")
    assert (result["guidance"], result["frames"], result["size"]) == (2.0, 4, [32, 32])
    assert len(result["timesteps"]) == STEPS
    # Two clips in one batch.
    assert (result["blocks"], result["blocks_in_all"]) == (2 * STEPS, 4 * STEPS)
    assert result["psnr_db"] > 15
    assert sum(map(len, result["computed"])) == STEPS


def test_speed_selects_the_calibrated_file(checkpoint, tmp_path):
    plain, output = clips(checkpoint, tmp_path / "plain")
    assert "blocks computed" not in output
    by_speed, output = clips(checkpoint, tmp_path / "speed", "--speed", "2x")
    assert f"blocks computed: {2 * STEPS} of {4 * STEPS}" in output
    (path,) = checkpoint.parent.glob(f"cache-ddim-{STEPS}-g2-2x-*.json")
    by_path, _ = clips(checkpoint, tmp_path / "path", "--cache", path)
    assert np.array_equal(by_speed, by_path)
    assert not np.array_equal(by_speed, plain)


def test_a_cache_calibrated_under_other_conditions_is_used_with_a_warning(checkpoint, tmp_path):
    _, output = clips(checkpoint, tmp_path / "same", "--speed", "2x", count=1)
    assert "warning" not in output
    words = ("--speed", "2x", "--frames", 2, "--guidance", 7.5)
    found, output = clips(checkpoint, tmp_path / "other", *words, count=1)
    assert found.shape[1] == 2
    assert "was calibrated for guidance 2, not 7.5; frames 4, not 2: " in output
    assert "`latte calibrate` with the same options makes one that fits" in output


def test_each_guidance_scale_has_its_own_cache(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint.parent, tmp_path / "copy")
    weights = folder / checkpoint.name
    succeed("calibrate", *of(weights), "--guidance", 1, "--speed", "2x", "-n", 1)
    named = weights_checksum(weights)[:8]
    assert sorted(path.name for path in folder.glob("*.json")) == [
        f"cache-ddim-{STEPS}-g1-2x-{named}.json",
        f"cache-ddim-{STEPS}-g2-2x-{named}.json",
    ]
    for scale in (1, 2):
        words = ("--speed", "2x", "--guidance", scale)
        assert "warning" not in clips(weights, tmp_path / f"{scale}", *words, count=1)[1]


def test_each_speed_is_printed_on_a_line_that_is_not_wrapped(checkpoint, tmp_path, monkeypatch):
    """The speed is reached although guidance begins and ends within the steps."""
    monkeypatch.setenv("COLUMNS", "80")
    folder = tmp_path / ("long" * 20)
    words = ["calibrate", *of(checkpoint), "--out", folder, "-n", 1, "--speed=1.5x", "--speed=2x"]
    shown = succeed(*words, "-o", "sample.guidance_interval=[0.3,0.7]").stdout
    *facts, slow, fast = shown.splitlines()
    named = weights_checksum(checkpoint)[:8]
    for line, speed in ((slow, 1.5), (fast, 2)):
        message, _, path = line.partition(" dB: ")
        assert path == str(folder / f"cache-ddim-{STEPS}-g2-{speed:g}x-{named}.json")
        stored = json.loads((folder / path).read_text())
        fewer = stored["blocks_in_all"] / stored["blocks"]
        assert fewer >= speed
        message, _, psnr_db = message.partition(", ")
        assert message == f"{fewer:.4g} times fewer blocks"
        assert float(psnr_db) == pytest.approx(stored["psnr_db"], abs=0.06)
    assert "speeds" not in "".join(facts)
    assert facts[0].startswith("checkpoint")


def test_a_sweep_checks_its_caches_before_it_samples(checkpoint, tmp_path, clip_folders):
    weights = shutil.copytree(checkpoint.parent, tmp_path / "copy") / checkpoint.name
    words = ["eval", f"--real={clip_folders[0]}", *of(weights)[:-6], "--clips=2"]
    words += ["--metrics=fd-random", "-o", "eval.resamples=0", "-o", "data.interval=1"]
    words += ["-o", f"sample.steps={STEPS}", "-o", "sample.guidance=3"]
    output = fail(*words, "--sweep=speed=2x,4x")
    assert f"no calibrated cache for 4x at {STEPS} steps of ddim" in output
    assert not (tmp_path / "sweeps").exists()
    words.append("--sweep=speed=2x")
    output = " ".join(succeed(*words).stderr.split())
    assert "was calibrated for guidance 2, not 3: " in output
    before = json.loads((tmp_path / "sweeps/network-safetensors/sweep.json").read_text())["points"]
    assert json.loads(succeed("--json", *words).stdout)["points"] == before
    (path,) = weights.parent.glob(f"cache-ddim-{STEPS}-g2-2x-*.json")
    other = {**json.loads(path.read_text()), "computed": [[0], [0]]}
    path.write_text(json.dumps(other))
    after = json.loads(succeed("--json", *words).stdout)["points"]
    assert after != before, "clips of another schedule are measured again"


def test_a_cache_that_skips_nothing_gives_the_same_clips(checkpoint, tmp_path):
    plain, _ = clips(checkpoint, tmp_path / "plain", "--batch", 1)
    same, _ = clips(checkpoint, tmp_path / "adaptive", "--cache", "adaptive:0", "--batch", 1)
    assert np.array_equal(plain, same)


def test_with_an_adaptive_cache_a_clip_does_not_depend_on_others(checkpoint, tmp_path):
    cache = ("--cache", "adaptive:0.3")
    many, output = clips(checkpoint, tmp_path / "many", *cache, "--batch", 3)
    one_by_one, _ = clips(checkpoint, tmp_path / "alone", *cache, "--batch", 1)
    assert np.array_equal(many, one_by_one)
    assert "blocks computed" in output


def test_attention_is_broadcast(checkpoint, tmp_path):
    """The inner five of eight steps are in its range; step 1 is the last before.

    So spatial attention is computed at 0, 1, 3, 5 and 7, temporal at 0, 1, 5 and 7: two of each.
    """
    _, output = clips(checkpoint, tmp_path / "pab", "--cache", "pab")
    assert "attentions computed: 18 of 32" in output


def test_clips_of_another_cache_do_not_mix(checkpoint, tmp_path):
    words = ["sample", *of(checkpoint), "-n", 1, "--out", tmp_path / "out"]
    succeed(*words, "--cache", "pab")
    assert "other settings: cache `pab" in fail(*words)
    assert "cache `pab" in fail(*words, "--speed", "2x")
    again = json.loads(succeed("--json", *words, "--cache", "pab").stdout)
    assert again["sampled_now"] == 0
    row = json.loads((tmp_path / "out" / "samples.jsonl").read_text().splitlines()[0])
    assert row["settings"]["cache"].startswith("pab")


def test_long_clips_use_a_cache_with_windows_only(checkpoint, tmp_path):
    words = ["--long", 6, "--frames", 4, "--cache", "pab"]
    found, output = clips(checkpoint, tmp_path / "long", *words, count=1)
    assert found.shape[1] == 6
    assert "attentions computed: 36 of 64" in output, "nothing is reused from the window before"
    fifo = ["sample", *of(checkpoint), *words, "--long-method", "fifo", "--out", tmp_path / "a.mp4"]
    assert "--long-method fifo cannot use a cache" in fail(*fifo)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--speed", "4x"),
            "for 4x at 8 steps of ddim; it has cache-ddim-8-g2-2x",
        ),
        (("--speed", "2x", "--steps", 6), "no calibrated cache for 2x at 6 steps of ddim"),
        (("--speed", "2x", "--sampler", "euler"), "no calibrated cache for 2x at 8 steps of euler"),
        (("--speed", "fast"), "--speed fast is not a speed"),
        (("--speed", "1x"), "--speed 1x is not a speed"),
        (("--speed", "2x", "--cache", "pab"), "--speed 2x and --cache pab exclude each other"),
        (("--cache", "magic"), "magic: no such cache"),
        (("--cache", "adaptive:much"), "--cache adaptive:much: the threshold must be"),
        (("--cache", "broken.json"), "broken.json is not a calibrated cache, or is broken"),
    ],
)
def test_invalid_options_fail(checkpoint, tmp_path, words, message):
    (tmp_path / "broken.json").write_text("{}")
    output = fail("sample", *of(checkpoint), "--out", tmp_path / "out", *words)
    assert message in output
    assert not (tmp_path / "out").exists()


def test_a_cache_of_other_weights_fails(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint.parent, tmp_path / "copy")
    weights = {key: 1.01 * value for key, value in load_file(checkpoint).items()}
    save_file(weights, folder / checkpoint.name)
    words = ("sample", *of(folder / checkpoint.name), "--speed", "2x")
    assert "was calibrated for other weights" in fail(*words)


@pytest.mark.parametrize(("speed", "least_db"), [("2x", 30), ("3x", 25)])
def test_the_shipped_network_samples_nearly_the_same_clips_faster(tmp_path, speed, least_db):
    words = ["sample", "--preset=shapes", "--checkpoint=embedded", "-n", 2]
    succeed(*words, "--out", tmp_path / "plain.npz")
    result = succeed(*words, "--speed", speed, "--out", tmp_path / "fast.npz")
    plain, fast = (np.load(tmp_path / name)["clips"] for name in ("plain.npz", "fast.npz"))
    assert mean_psnr(plain, fast) >= least_db
    computed = {"2x": 200, "3x": 132}[speed]
    assert f"blocks computed: {computed} of 400" in " ".join(result.stderr.split())


def test_invalid_speeds_fail(checkpoint, tmp_path):
    words = ["calibrate", *of(checkpoint), "--out", tmp_path / "out", "-n", 1]
    assert "9x cannot be reached in 8 steps" in fail(*words, "--speed", "9x")
    assert "--speed half is not a speed" in fail(*words, "--speed", "half")
    assert not (tmp_path / "out").exists()
