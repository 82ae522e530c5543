"""`latte train --plan` through the command line."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import fail, succeed, tiny

from latte_cli.commands import train_plan
from latte_cli.config.locations import asset
from latte_cli.data.texts.batches import captions_of

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


def test_text_adapters_and_encoding_are_counted(tmp_path, monkeypatch):
    """Of a data set with a caption that two videos have, and one of its own for each other."""
    pytest.importorskip("peft")
    succeed("prepare", "shapes", "--count=16", "--size=32", "--out=data/shapes")
    text = {"model__condition": "text", "model__num_classes": "null", "model__text_width": 16}
    lora = {"train__init": "x", "train__lora.rank": 2}
    whole, adapters = plan(*FOLDERS, **text), plan(*FOLDERS, **text, **lora)
    assert whole["trained"] == whole["parameters"]
    # A pair of matrices of rank 2 for each of four layers of 32 x 32 in three attentions.
    assert adapters["trained"] == 3 * 4 * 2 * (32 + 32)
    assert adapters["parameters"] == whole["parameters"] + adapters["trained"]
    step = adapters["memory"]["step"]
    assert step["gradients"] == 4 * adapters["trained"]
    assert step["moments"] == 8 * adapters["trained"]
    assert step["weights"] == step["averages"] == 4 * adapters["parameters"]
    lines = Path("data/shapes/manifest.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    captions = {text for row in rows for text in captions_of(row)}
    assert whole["caching"]["captions"]["count"] == len(captions) + 1, "and the null text"
    assert whole["caching"]["frames"]["count"] == sum(row["frames"] for row in rows)
    assert whole["caching"]["encoder_bytes"] > 9e9, "T5-XXL's, in bf16"
    flipped = plan(*FOLDERS, data__flip="true")["caching"]
    assert flipped["frames"]["count"] == 2 * whole["caching"]["frames"]["count"]
    assert flipped["captions"] is None


def test_stages_are_planned_one_by_one_and_added_up(tmp_path):
    Path("two.yaml").write_text(
        "base: shapes\nstages: [{name: a, train.steps: 5}, {name: b, train.steps: 7}]\n"
    )
    own = [word for word in tiny() if word not in ("-o", "train.steps=6")]
    options = [word for pair in own for word in ("-o", pair)]
    command = ("train", "--preset=two", "--plan", *options, *FOLDERS)
    shown = json.loads(succeed("--json", *command).stdout)
    stages = shown["stages"]
    assert [(name, stage["steps"]) for name, stage in stages.items()] == [
        ("stage 1 of 2, a", 5),
        ("stage 2 of 2, b", 7),
    ]
    assert shown["steps"] == 12
    hours = [stage["hours"]["1"] for stage in stages.values()]
    assert shown["hours"]["1"] == pytest.approx(sum(hours))
    table = succeed(*command)
    lines = table.stdout.splitlines()
    assert [line.strip() for line in lines if line.startswith(("stage ", "all stages"))] == [
        *("stage 1 of 2, a", "stage 2 of 2, b", "all stages"),
    ]


def test_a_step_that_would_take_minutes_is_not_taken(monkeypatch):
    monkeypatch.setattr(train_plan, "_MOST_SECONDS", 0.0)
    monkeypatch.setattr(train_plan, "measure_training", lambda *_: pytest.fail("measured"))
    shown = succeed("train", "--preset=shapes", "--plan", *tiny(), *FOLDERS)
    assert "not measured: the smallest step takes" in shown.stderr
    assert "this device is too slow" in shown.stdout
    assert "together" in shown.stdout


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
    text = tiny(model__condition="text", model__num_classes="null", model__depth=3)
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


def test_a_run_is_named_as_a_teacher_as_it_is_for_training(tmp_path):
    checkpoint = tmp_path / "runs" / "flow" / "checkpoints" / "step-00000001"
    shutil.copytree(asset("shapes-fast"), checkpoint)
    teacher = ("-o", f"train.teacher={tmp_path / 'runs' / 'flow'}")
    flow = ("-o", "diffusion.objective=flow", "-o", "train.min_snr_gamma=null")
    assert plan(*flow, *teacher)["flops_per_clip"] > plan(*flow)["flops_per_clip"]
