"""`latte train --plan` through the command line."""

import json
from pathlib import Path

import pytest
from conftest import fail, succeed, tiny

from latte_cli.commands import train_plan

FOLDERS = ("--data-root=data", "--latents-root=latents", "--runs-root=runs")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # A busy machine's peak varies from call to call.
    for module in ("commands.train_plan", "training.planning.measuring"):
        monkeypatch.setattr(f"latte_cli.{module}.matrix_peak", lambda *_: 1e11)


def plan(*words: object, **values: object) -> dict:
    command = ("--json", "train", "--preset=shapes", "--plan", *tiny(**values), *words)
    return json.loads(succeed(*command).stdout)


def test_it_needs_no_data_and_writes_nothing_but_its_measurement(tmp_path):
    shown = plan(*FOLDERS)
    assert shown["clips_per_step"] == 4
    assert shown["measured_steps"] == 10
    assert shown["hours"]["1"] == pytest.approx(6 * 4 / shown["clips_per_s"] / 3600)
    assert shown["disk"]["latents_bytes"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_measurement_is_read_again_until_the_network_is_another():
    first, again = plan(*FOLDERS), plan(*FOLDERS, train__steps=60)
    assert again["clips_per_s"] == first["clips_per_s"]
    assert again["hours"]["1"] == pytest.approx(10 * first["hours"]["1"])
    assert plan(*FOLDERS, model__width=64)["parameters"] > first["parameters"]
    said = succeed("train", "--preset=shapes", "--plan", *tiny()).stderr
    assert "measured before, " in said
    assert "--fresh measures again" in said


def test_it_is_measured_again_when_requested_or_when_the_machine_has_changed(monkeypatch):
    calls = []
    original = train_plan.measure_training

    def measure_training(*words):
        calls.append(1)
        return original(*words)

    monkeypatch.setattr(train_plan, "measure_training", measure_training)
    plan(*FOLDERS)
    plan(*FOLDERS, "--fresh")
    assert len(calls) == 2
    monkeypatch.setattr(train_plan, "matrix_peak", lambda *_: 4e11)
    said = succeed("train", "--preset=shapes", "--plan", *tiny()).stderr
    assert len(calls) == 3
    assert "measuring again: the last time was 20" in " ".join(said.split())
    assert "its peak was 0.1 TFLOP/s then, 0.4 now" in " ".join(said.split())
    assert "has no effect without --plan" in fail("train", "--preset=shapes", "--fresh")


@pytest.mark.usefixtures("terminal")
def test_the_table_fits_a_terminal_and_says_how_each_figure_is_known():
    shown = succeed("train", "--preset=shapes", "--plan", *tiny()).stdout
    assert max(len(line) for line in shown.splitlines()) <= 80
    words = ("counted", "measured", "estimate", "the paper's", "8 devices", "FLOP a clip")
    for word in (*words, "compared with", "the released 8 x 5", "train.lr 0.001 (0.0001)"):
        assert word in " ".join(shown.split())


def test_prepared_and_encoded_data_are_included(world, tmp_path):
    words = [f"--data-root={world.root / 'data'}", f"--latents-root={tmp_path}"]
    prepared = plan(*words)
    assert prepared["passes"] == pytest.approx(6 * 4 / 16)
    encoded = plan(words[0], f"--latents-root={world.root / 'latents'}")
    size = sum(path.stat().st_size for path in world.latents.glob("*.safetensors"))
    assert encoded["disk"]["latents_bytes"] == size
    # Shards hold the latents and little else.
    assert (
        prepared["disk"]["latents_bytes"]
        <= size
        <= 1.2 * prepared["disk"]["latents_bytes"] + 10_000
    )


def test_the_cost_of_a_flow_maps_derivative_is_shown():
    objective = {"diffusion__objective": "flow-map", "train__min_snr_gamma": "null"}
    shown = succeed("train", "--preset=shapes", "--plan", *tiny(**objective)).stdout
    assert "of this, derivative" in " ".join(shown.split())


def test_a_config_that_cannot_be_trained_is_an_error_before_measuring():
    text = tiny(model__condition="text", model__num_classes="null")
    assert "a text model" in fail("train", "--preset=shapes", "--plan", *text)
    assert "nothing to train" in fail("train", "--plan")


def test_a_warning_says_what_is_not_measured():
    said = succeed("train", "--preset=shapes", "--plan", *tiny(data__source="pixels")).stderr
    assert "decoding and encoding come on top" in said


def test_only_the_main_process_measures_and_prints(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    command = ("--json", "train", "--preset=shapes", "--plan", *tiny())
    monkeypatch.setenv("RANK", "1")
    with monkeypatch.context() as patch:
        patch.setattr("latte_cli.commands.train_plan.run", lambda *_: pytest.fail("measured"))
        assert succeed(*command).stdout == ""
    monkeypatch.setenv("RANK", "0")
    assert json.loads(succeed(*command).stdout)["clips_per_step"] == 4
