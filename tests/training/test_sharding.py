"""FSDP by gloo on the CPU: the same losses, and checkpoints that fit any number of processes."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from conftest import World, invoke, succeed
from helpers.runs import Launched, bad_steps, launch, rows, several_words
from helpers.small import random_batch, small_config
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.testing._internal.distributed.fake_pg import FakeStore

from latte_cli.checkpoints.folder import find_corruption, list_checkpoints
from latte_cli.checkpoints.reading import read_into
from latte_cli.diffusion import Diffusion
from latte_cli.runtime.errors import CheckpointError
from latte_cli.training.state import new_state
from latte_cli.training.step import train_step

CURVE = ("loss", "mse", "vlb", "grad_norm", "val_loss", "val_loss_q1", "val_loss_q4")
SPOILED = {
    "data__num_images": 0,
    "train__max_bad_steps": 1,
    "train__save_every": 1,
    "train__steps": 9,
}
MUON = {"train__optimizer": "muon", "train__lr": 1e-2, "train__adamw_lr": 3e-3}


def chosen(world: World, runs: str, shard: str = "fsdp", **values: object) -> list[object]:
    """Gradients clipped from the first step, joint images, two videos held out."""
    values = {
        "train__shard": shard,
        "train__clip_from_step": 0,
        "data__num_images": 1,
        "train__validate_every": 3,
        "train__validate_clips": 4,
    } | values
    return several_words(world, runs, **values)


def same(ours: Path | str, theirs: Path | str, within: float, first: int = 1) -> bool:
    """Whether two runs' curves are the same from a step on, missing and non-finite values too."""
    parts = [
        {(row["step"], key): row.get(key) for row in rows(run) for key in CURVE}
        for run in (Path(ours, "shapes"), Path(theirs, "shapes"))
    ]
    mine, other = ({k: v for k, v in part.items() if k[0] >= first} for part in parts)
    assert mine.keys() == other.keys()
    assert any(value is not None for value in mine.values())
    return all(
        value is other[key] if value is None else abs(value - other[key]) < within
        for key, value in mine.items()
    )


def newest(runs: Path | str) -> Path:
    return list_checkpoints(Path(runs, "shapes"))[-1]


def resume_in(checkpoint: Path, runs: str) -> None:
    """Let another run resume from a checkpoint."""
    shutil.copytree(checkpoint, Path(runs, "shapes/checkpoints", checkpoint.name))


@pytest.fixture(scope="module")
def clips(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    """The small world's latents with two videos held out, and the same with one not finite."""
    healthy, spoiled = (World(tmp_path_factory.mktemp(name)) for name in ("healthy", "spoiled"))
    for copy in (healthy, spoiled):
        shutil.copytree(world.latents, copy.latents)
        index = copy.latents / "index.jsonl"
        lines = [json.loads(line) for line in index.read_text().splitlines()]
        split = [line | {"split": "test"} for line in lines[:2]] + lines[2:]
        index.write_text("".join(json.dumps(line) + "\n" for line in split))
    (shard,) = spoiled.latents.glob("shard-*")
    with safe_open(shard, "pt") as file:
        metadata = file.metadata()
    held = load_file(shard)
    held["11.mean"][:] = torch.nan
    save_file(held, shard, metadata)
    return {"healthy": healthy, "spoiled": spoiled}


@pytest.fixture(scope="module")
def launched(clips: dict[str, World], tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """Two processes to step 3, four from there; two from one's checkpoint; bf16; bad batches."""
    folder = tmp_path_factory.mktemp("sharded")
    healthy, spoiled = clips["healthy"], clips["spoiled"]
    alone = chosen(healthy, str(folder / "alone"), "none", train__steps=3)
    succeed(*alone)
    resume_in(newest(folder / "alone"), str(folder / "taken-up"))
    shown = {"train__preview_every": 3, "train__ema_every": 3, "sample__steps": 2}
    split = {"train__accumulate": 2, "train__checkpointing": "blocks"}
    launches = [
        (2, chosen(healthy, "two-four", train__steps=3, **shown)),
        (4, chosen(healthy, "two-four", **split)),
        (2, chosen(healthy, "taken-up")),
        (2, chosen(healthy, "bf16", train__precision="bf16", train__steps=3)),
        (2, chosen(spoiled, "spoiled", **SPOILED)),
        (2, chosen(healthy, "muon", **MUON, train__steps=3)),
        (4, chosen(healthy, "muon", **MUON)),
    ]
    entries = [{"processes": processes, "words": line} for processes, line in launches]
    return launch(folder, entries)


def test_two_and_four_sharded_processes_have_the_losses_of_one(clips, launched):
    """Four resume what two have saved, with micro-batches and checkpointed blocks."""
    assert launched.codes[:2] == [0, 0], launched.said
    assert "resuming from two-four/shapes/checkpoints/step-00000003" in launched.said[1]
    succeed(*chosen(clips["healthy"], "runs", "none"))
    assert [row["step"] for row in rows(Path("runs/shapes"))] == [1, 2, 3, 4, 5, 6]
    assert same(launched.folder / "two-four", "runs", 1e-5)
    assert "Warning" not in launched.said[0]


def test_muon_orthogonalizes_whole_matrices_of_shards(clips, launched):
    """Also of four processes that resume what two have saved."""
    succeed(*chosen(clips["healthy"], "muon-alone", "none", **MUON))
    assert same(launched.folder / "muon", "muon-alone", within=2e-3)
    assert not same(launched.folder / "two-four", "muon-alone", within=2e-3)


def test_one_process_resumes_from_a_sharded_checkpoint(clips, launched):
    first = list_checkpoints(launched.folder / "two-four/shapes")[0]
    assert first.name == "step-00000003"
    resume_in(first, "runs")
    said = succeed(*chosen(clips["healthy"], "runs", "none")).stderr
    assert "resuming from runs/shapes/checkpoints/step-00000003" in said
    assert "Warning" not in said
    assert same("runs", launched.folder / "two-four", 1e-5, first=4)


def test_two_sharded_processes_resume_from_the_checkpoint_of_one(launched):
    assert launched.codes[2] == 0, launched.said[2]
    assert "resuming from taken-up/shapes/checkpoints/step-00000003" in launched.said[2]
    ours, theirs = launched.folder / "taken-up", launched.folder / "two-four"
    assert same(ours, theirs, 1e-5, first=4)


def test_a_sharded_checkpoint_holds_whole_float32_tensors_for_people(launched):
    """The very files, with the very names and sizes, that a run without sharding writes."""
    theirs = newest(launched.folder / "alone")
    ours = list_checkpoints(launched.folder / "two-four/shapes")[0]
    assert find_corruption(ours) is None
    names = [path.relative_to(theirs) for path in theirs.rglob("*") if path.is_file()]
    assert sorted(names) == sorted(p.relative_to(ours) for p in ours.rglob("*") if p.is_file())
    for name in [name for name in names if name.suffix == ".safetensors"]:
        mine, other = load_file(ours / name), load_file(theirs / name)
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)  # types and sizes, too


def test_snapshots_and_previews_are_of_the_whole_ema(launched):
    run = launched.folder / "two-four/shapes"
    snapshot = load_file(run / "ema/step-00000003/ema.safetensors")
    torch.testing.assert_close(
        snapshot, load_file(list_checkpoints(run)[0] / "ema.safetensors"), rtol=0, atol=0
    )
    assert (run / "previews/step-00000003.mp4").stat().st_size > 0


def test_in_bf16_the_losses_are_those_of_one_process_and_checkpoints_are_float32(clips, launched):
    assert launched.codes[3] == 0, launched.said[3]
    values = {"train__precision": "bf16", "train__steps": 3}
    succeed(*chosen(clips["healthy"], "runs", "none", **values))
    assert same(launched.folder / "bf16", "runs", 1e-2)
    checkpoint = newest(launched.folder / "bf16")
    for name in ("model", "ema", "state/optimizer"):
        held = load_file(checkpoint / f"{name}.safetensors")
        assert {value.dtype for value in held.values()} == {torch.float32}


def test_bad_steps_are_skipped_and_rolled_back_as_by_one_process(clips, launched):
    """The loss is not finite: the run is rolled back to step 3, and gives up the next time."""
    result = invoke(*chosen(clips["spoiled"], "spoiled", "none", **SPOILED))
    assert launched.codes[4] == result.exit_code == 1, launched.said[4] + result.stderr
    assert "the run has diverged" in " ".join(launched.said[4].split())
    logged = bad_steps(launched.folder / "spoiled/shapes")
    assert logged == bad_steps("spoiled/shapes")
    assert [row["back_to"] for row in logged if "back_to" in row] == [3]
    assert same(launched.folder / "spoiled", "spoiled", 1e-5)


@pytest.fixture
def one_of_four(monkeypatch):
    """This process as one of four; the other three do not exist, and send nothing."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "1")
    dist.init_process_group("fake", store=FakeStore(), rank=1, world_size=4)
    yield
    dist.destroy_process_group()


def test_a_process_holds_a_quarter_in_float32_and_multiplies_in_bf16(one_of_four):
    """Modulations are computed in float32, so the weights of a block have two types."""
    config = small_config(train__shard="fsdp", train__precision="bf16")
    state, seen = new_state(config, torch.device("cpu")), {}
    block = state.model.blocks[0]
    for name, part in (("qkv", block.attn.qkv), ("modulation", block.adaLN_modulation[1])):
        part.register_forward_hook(lambda part, *_, n=name: seen.update({n: part.weight.dtype}))
    batch, diffusion = random_batch(config), Diffusion(**config.diffusion.model_dump())
    train_step(state, [batch], diffusion, config.train, torch.bfloat16)
    assert seen == {"qkv": torch.bfloat16, "modulation": torch.float32}
    for network in (state.model, state.ema):
        weight = network.blocks[0].attn.qkv.weight
        assert weight.to_local().shape == (weight.shape[0] // 4, weight.shape[1])
    kept = [*state.model.parameters(), *state.ema.parameters()]
    kept += [v for each in state.optimizer.state.values() for v in each.values() if v.ndim]
    whole = sum(value.numel() for value in kept)
    assert sum(value.to_local().numel() for value in kept) < 0.27 * whole
    assert {value.dtype for value in kept} == {torch.float32}


@pytest.mark.parametrize(
    ("wanted", "why"), [({"v": torch.zeros(4)}, "v"), ({"w": torch.zeros(5)}, "5")]
)
def test_a_tensor_that_is_missing_or_of_another_size_is_an_error(tmp_path, wanted, why):
    save_file({"w": torch.arange(4.0)}, tmp_path / "model.safetensors")
    into = {"w": torch.zeros(4)}
    read_into({"model.safetensors": into}, tmp_path)
    assert into["w"].tolist() == [0, 1, 2, 3]
    with pytest.raises(CheckpointError, match=f"does not fit the run: .*{why}"):
        read_into({"model.safetensors": wanted}, tmp_path)
