"""What a run costs: the arithmetic, and the measured steps that it is based on."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
import torch

from latte_cli.checkpoints.folder import CheckpointMeta, save_for_sampling
from latte_cli.config import Config, known_keys, load_config
from latte_cli.models import build_model
from latte_cli.models.shapes import shape_from_config
from latte_cli.runtime.devices import memory_limit
from latte_cli.training.planning import measuring
from latte_cli.training.planning.measurement import (
    Measurement,
    measurement_path,
    read_measurement,
    write_measurement,
)
from latte_cli.training.planning.measuring import (
    bytes_without_clips,
    measure_training,
    synthetic_batch,
)
from latte_cli.training.planning.memory import StepMemory
from latte_cli.training.planning.memory_plan import MemoryPlan, plan_memory
from latte_cli.training.planning.parameters import Parameters
from latte_cli.training.planning.plan import DataSize, DeviceInfo, TrainPlan, plan_run
from latte_cli.training.planning.released import _NOT_COMPARED, compare_with_released
from latte_cli.training.planning.table import table_rows
from latte_cli.training.targets.teacher import teacher_shift

CPU = torch.device("cpu")
GB = 10**9
TINY = [
    *("data.size=32", "data.frames=4", "model.size=null", "model.width=32", "model.depth=2"),
    *("model.heads=2", "train.batch_size=4", "data.num_images=0"),
]

# 2 GB and 1 GB for each clip; half a second a clip.
KNOWN = Measurement("2026-01-02T03:04:05+00:00", 4, 10, 2.0, 1e12, [(1, 3 * GB), (4, 6 * GB)])


STEP = StepMemory(1, 1, GB, GB, 2 * GB, GB, 5 * GB)
MEMORY = MemoryPlan(STEP, GB, {24: 14}, {})


def config(*words: str) -> Config:
    return load_config(None, [*TINY, *words])


def planned(
    *words: str,
    measurement: Measurement | None = KNOWN,
    limit: int = 100 * GB,
    data: DataSize | None = None,
) -> TrainPlan:
    chosen = config(*words)
    parameters = Parameters.all_trained(1_000_000)
    least = bytes_without_clips(chosen.train, parameters, CPU)
    device = DeviceInfo("a device", "bf16", limit, least)
    released = compare_with_released(chosen, "faceforensics")
    flops = {"forward and backward": 10**11}
    return plan_run(chosen, device, parameters, flops, measurement, data, released, MEMORY)


def measured(*words: str) -> Measurement | None:
    return measure_training(config(*words), Parameters.all_trained(50_000), CPU, torch.float32)


def test_hours_are_the_clips_of_all_steps_over_the_rate_of_all_devices():
    plan = planned("train.steps=3600", "train.batch_size=40")
    assert plan.clips_per_s == 2
    assert plan.hours == {1: 20, 2: 10, 4: 5, 8: 2.5}
    assert plan.flops_per_step == 40 * 10**11
    assert plan.peak_share == pytest.approx(2 * 1e11 / 1e12)


def test_a_batch_that_does_not_divide_has_no_hours():
    plan = planned("train.batch_size=6")
    assert [count for count, hours in plan.hours.items() if hours is None] == [4, 8]
    shown = {what: (figure, how) for what, figure, how in table_rows(plan)}
    assert shown["step 1,000,000, 4 devices"] == ("-", "6 clips do not divide")


def test_memory_lies_on_a_line_and_the_largest_batch_is_where_it_meets_the_limit():
    assert KNOWN.memory_of(1) == 3 * GB
    assert KNOWN.memory_of(10) == 12 * GB
    most = KNOWN.largest_batch(20 * GB)
    assert KNOWN.memory_of(most) <= 0.92 * 20 * GB < KNOWN.memory_of(most + 1)
    assert KNOWN.largest_batch(1 * GB) == 0
    assert replace(KNOWN, memory=[(1, GB), (4, GB)]).largest_batch(GB) is None


def test_a_batch_that_does_not_fit_is_split_into_equal_micro_batches():
    plan = planned("train.batch_size=40", limit=20 * GB)
    assert plan.largest_batch == 16
    assert plan.accumulate == {1: 4, 2: 2, 4: 1, 8: 1}, "40 clips in micro-batches of at most 16"
    assert planned("train.batch_size=40", "train.accumulate=2").accumulate[1] == 2
    assert planned("train.batch_size=40", limit=GB).accumulate[8] is None
    halved = planned("train.batch_size=40", "train.accumulate=2")
    assert halved.memory_bytes == KNOWN.memory_of(20)


@pytest.mark.parametrize(("images", "clips"), [(0, 40), (8, 32), (2, 32)])
def test_a_step_is_compared_with_the_released_one(images, clips):
    """8 GPUs with 5 clips each, 4 with joint images (see tests/config)."""
    words = (f"data.num_images={images}", "train.batch_size=")
    same, smaller = (planned(words[0], f"{words[1]}{size}") for size in (clips, clips // 4))
    assert (same.share_of_paper_step, same.paper_step) == (1, 150_000)
    assert (smaller.share_of_paper_step, smaller.paper_step) == (0.25, 600_000)
    rows = {what: (figure, how) for what, figure, how in table_rows(same)}
    assert rows["a step"][0] == f"{clips} clips in all, 1.00 times the released 8 x {clips // 8}"
    kind = "with" if images else "without"
    assert rows["compared with"][0].endswith(f": faceforensics, {kind} joint images")


def test_what_is_not_compared_with_the_released_settings_exists():
    assert set(_NOT_COMPARED) <= set(known_keys())


PUBLISHED = ["train.ema_warmup=none"]
ONLY = ["model.joint=only-video", *PUBLISHED]


def test_what_differs_from_the_released_settings_is_listed():
    for name in ("faceforensics", "skytimelapse", "taichi-hd", "ucf101"):
        without = load_config(name, ["data.num_images=0", *PUBLISHED])
        assert compare_with_released(without, name).differs == {}
        assert compare_with_released(load_config(name, PUBLISHED), name).differs == {
            "model.joint": ("temporal-mask", "only-video")
        }
    study = compare_with_released(load_config("studies/interval-8", PUBLISHED), "faceforensics")
    assert study.clips_per_step == 40
    assert study.differs == {"data.interval": (8, 3), "train.steps": (150_000, 1_000_000)}
    changed = load_config("ucf101", [*ONLY, "train.lr=1e-3", "data.num_images=2", "train.keep=7"])
    assert compare_with_released(changed, "ucf101").differs == {
        "data.num_images": (2, 8),
        "train.lr": (1e-3, 1e-4),
    }
    other = load_config("ucf101", [*ONLY, "diffusion.objective=flow", "train.precision=bf16"])
    assert compare_with_released(other, "ucf101").differs == {
        "diffusion.objective": ("flow", "eps")
    }
    labelled = load_config("folder", ["model.num_classes=3"])
    ours = compare_with_released(labelled, "my-videos")
    assert ours.with_settings == "any data set, without joint images"
    assert ours.differs["train.batch_size"] == (16, 40)
    assert "train.clip_from_step" not in ours.differs, "the data sets have several"
    assert "model.num_classes" not in ours.differs


def test_what_processes_that_share_clips_send_is_counted():
    """Half of the frames by half of the tokens at each change of axis, there and back."""
    shared = planned("train.sequence_parallel=2")
    shape = shape_from_config(config())
    tokens = shape.num_frames // 2 * (shape.grid**2 // 2)
    assert shared.sent_bytes == 2 * shape.depth * tokens * shape.width * 4
    assert any(what == "sent to share clips" for what, *_ in table_rows(shared))
    assert planned().sent_bytes == 0
    assert not any(what == "sent to share clips" for what, *_ in table_rows(planned()))


def test_disk_space_is_counted():
    words = ["train.steps=100000", "train.save_every=10000", "train.keep=3", "data.flip=true"]
    plan = planned(*words)
    assert plan.disk.checkpoint_bytes == 4 * 4 * 1_000_000, "weights, EMA and two moments"
    assert plan.disk.checkpoints_bytes == 4 * plan.disk.checkpoint_bytes, (
        "three, and the one being written"
    )
    measured = planned(*words, "train.eval_every=50000")
    assert measured.disk.checkpoints_bytes == 5 * plan.disk.checkpoint_bytes, "and the best"
    more = planned(*words, "train.keep_every=50000", "train.ema_every=10000")
    assert more.disk.checkpoints_bytes == 6 * plan.disk.checkpoint_bytes + 10 * 4 * 1_000_000
    # A frame of 4 x 4 x 4 latents: mean and deviation of two bytes, plain and mirrored.
    assert plan.disk.latents_bytes_per_frame == 4**3 * 2 * 2 * 2
    assert plan.disk.latents_bytes is None
    shown = planned(*words, data=DataSize(videos=100, frames=5000))
    assert shown.disk.latents_bytes == 5000 * plan.disk.latents_bytes_per_frame
    assert shown.passes == 100_000 * 4 / 100
    assert planned(data=DataSize(100, 5000, latents_bytes=77)).disk.latents_bytes == 77


def test_without_a_measurement_there_are_no_times():
    plan = planned(measurement=None, limit=1000)
    assert plan.clips_per_s is None
    assert set(plan.hours.values()) == {None}
    rows = list(table_rows(plan))
    (fits,) = [figure for what, figure, _ in rows if what == "fits"]
    # 20 bytes a parameter, and on a CPU 16 more for the copies that checkpoints are written from.
    assert fits == "no: 36.0MB without a single clip; 92% of 1.00kB can be counted on"
    assert not [what for what, _, _ in rows if what.startswith("step ")]


def test_every_estimate_is_marked_as_one():
    rows = list(table_rows(planned("train.batch_size=40")))
    shown = {what: how for what, _, how in rows}
    assert shown["speed"] == "measured 2026-01-02: 10 x 4 clips"
    for what in ("memory, 40 clips at a time", "largest batch that fits"):
        assert shown[what] == "estimate"
    assert all(
        how.startswith("estimate") for what, how in shown.items() if what.startswith("step ")
    )
    of_small_batch = {what: how for what, _, how in table_rows(planned())}
    assert of_small_batch["memory, 4 clips at a time"] == "measured"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["model.condition=class", "model.num_classes=3", "data.num_images=2"],
        ["model.patch_embedding=compression", "train.checkpointing=blocks"],
        ["diffusion.objective=flow-map"],
    ],
)
def test_ten_steps_of_the_configured_batch_are_measured(words):
    found = measured(*words)
    assert (found.steps, found.clips) == (10, 4)
    assert found.clips_per_s > 0
    assert [clips for clips, _ in found.memory][-3:] == [1, 2, 4]
    assert found.memory[-1][1] <= memory_limit(CPU)


def test_a_network_that_does_not_fit_is_not_built(monkeypatch):
    def fail(*_: object) -> None:
        raise AssertionError("built")

    monkeypatch.setattr(measuring, "new_state", fail)
    assert measure_training(config(), Parameters.all_trained(10**13), CPU, torch.float32) is None


def test_a_clip_that_does_not_fit_is_not_tried(monkeypatch):
    """All that is taken is a quarter of a clip, and the rate follows from that."""
    held = iter([10 * GB])  # before, then of a quarter of a clip
    monkeypatch.setattr(measuring, "peak_memory", lambda device: next(held, 12 * GB))
    monkeypatch.setattr(measuring, "memory_limit", lambda device: 15 * GB)
    found = measured()
    assert found.clips == 0.25
    assert found.largest_batch(15 * GB) == 0, "10 GB and 8 more"
    assert found.largest_batch(20 * GB) == 1


def test_steps_that_take_long_have_fewer_clips(monkeypatch):
    monkeypatch.setattr(measuring, "_MAX_SECONDS", 0.0)
    assert measured("train.batch_size=64").clips == 1


def test_every_synthetic_clip_of_a_map_between_levels_has_one_of_its_steps():
    batch = synthetic_batch(load_config("shapes-map", ["diffusion.map_levels=[1,0.6,0.3]"]), 64)
    steps = set(zip(batch.t.tolist(), batch.end.tolist(), strict=True))
    assert steps == {(999, 599), (599, 299), (299, -1)}


def test_synthetic_batches_are_what_the_network_takes():
    joint = config("model.condition=class", "model.num_classes=3", "data.num_images=2")
    batch = synthetic_batch(joint, 2)
    assert build_model(joint)(batch.x_start, batch.t, **batch.cond).shape == (2, 6, 8, 4, 4)


def test_a_measurement_is_kept_and_found_again(tmp_path):
    path = measurement_path(tmp_path, config(), CPU, torch.float32)
    assert read_measurement(path) is None
    write_measurement(path, KNOWN)
    assert read_measurement(path) == KNOWN
    path.write_text("{}")
    assert read_measurement(path) is None


def test_measurements_are_kept_by_all_that_speed_depends_on(tmp_path):
    def path(*words: str, dtype: torch.dtype = torch.float32) -> object:
        return measurement_path(tmp_path, config(*words), CPU, dtype)

    own = path()
    for word in (
        *("model.width=64", "data.frames=8", "train.checkpointing=blocks", "data.size=64"),
        *("train.optimizer=muon", "diffusion.objective=flow-map"),
    ):
        assert path(word) != own
    assert path(dtype=torch.bfloat16) != own
    assert path("train.lr=1", "train.steps=7", "train.seed=3") == own


def test_a_cache_that_cannot_be_written_to_is_no_error(tmp_path):
    (tmp_path / "training").write_text("a file in the way")
    write_measurement(tmp_path / "training" / "x.json", KNOWN)


def test_peak_memory_includes_freed_memory():
    """In a process of its own: the peak of one that ran other tests is theirs."""
    code = """
import torch
from latte_cli.runtime.devices import peak_memory, reset_peak_memory
cpu = torch.device("cpu")
reset_peak_memory(cpu)
before = peak_memory(cpu)
torch.ones(50_000_000)  # 200 MB
print(peak_memory(cpu) - before)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(shown.stdout) > 150_000_000


@pytest.mark.parametrize(
    ("days", "peak", "reason"),
    [
        (6.9, 1.4e12, None),
        (7.1, 1e12, "7 days ago"),
        (-2, 1e12, "that is in the future"),
        (1, 1.6e12, "its peak was 1 TFLOP/s then, 1.6 now"),
        (1, 0.6e12, "its peak was 1 TFLOP/s then, 0.6 now"),
    ],
)
def test_a_measurement_is_stale_when_it_is_old_or_the_device_is_another(days, peak, reason):
    when = datetime.now(timezone.utc) - timedelta(days=days)
    why = replace(KNOWN, when=when.isoformat(timespec="seconds")).why_stale(peak)
    assert (why is None) == (reason is None)
    assert reason is None or reason in why
    for unknown in ("yesterday", "2026-01-02T03:04:05", ""):
        assert replace(KNOWN, when=unknown).why_stale(1e12) == "it is not known when"


def test_a_measurement_says_under_what_load_it_was_made(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (9.876, 0.0, 0.0))
    found = measured()
    assert found.load == 9.88
    assert found.busy == f"under a load of 9.9 on {found.cpus} CPUs"
    shown = {what: figure for what, figure, _ in table_rows(planned(measurement=found))}
    assert shown["measured"] == found.busy
    monkeypatch.delattr("os.getloadavg")  # as on Windows
    assert measured().busy == ""


def test_measurements_of_earlier_versions_are_read(tmp_path):
    path = tmp_path / "x.json"
    write_measurement(path, KNOWN)
    values = json.loads(path.read_text())
    del values["load"], values["cpus"]
    path.write_text(json.dumps(values))
    assert read_measurement(path) == KNOWN


def test_a_teacher_that_is_asked_every_third_time_is_measured_so(tmp_path, monkeypatch):
    """Of ten timed steps or more, a whole number of rounds."""
    flow = ["diffusion.objective=flow", "train.min_snr_gamma=null", "model.num_classes=2"]
    teacher = tmp_path / "teacher"
    meta = CheckpointMeta(step=1, vae_fingerprint="0", scaling_factor=1.0)
    save_for_sampling(teacher, config(*flow), meta, build_model(config(*flow)).state_dict())
    taught = config(*flow, f"train.teacher={teacher}", "train.teacher_reuse=3")
    asked, steps = [], []
    monkeypatch.setattr(
        "latte_cli.training.step.teacher_shift",
        lambda *given: asked.append(len(steps)) or teacher_shift(*given),
    )
    parameters = Parameters.all_trained(50_000)
    found = measure_training(taught, parameters, CPU, torch.float32, lambda: steps.append(1))
    timed = len(steps) - found.steps
    assert found.steps == 12
    assert [number - timed for number in asked if number >= timed] == [0, 3, 6, 9]


@pytest.mark.parametrize("words", [[], ["train.guidance_target=1"]])
def test_a_teacher_of_a_network_with_text_is_measured_and_simulated(words):
    """It is asked for labels, and the network is given captions."""
    if words:
        words = [*words, "train.guidance_target_from=teacher"]
    small = ["stages=[]", "train.init=null", "model.depth=2", "train.batch_size=2"]
    taught = load_config("t2v-shapes", [*small, "train.teacher=embedded/shapes-fast", *words])
    assert plan_memory(taught, [1]).step.activations > 0
    found = measure_training(taught, Parameters.all_trained(50_000), CPU, torch.float32)
    assert found.steps >= 10
