"""`train.route`, and `sample.guidance_routing`, through the command line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import fail, succeed, tiny
from helpers.runs import curve, launch, rows, several_words, train_words
from helpers.small import random_batch, small_config, take_step

from latte_cli.config import load_config
from latte_cli.data.batch import Batch
from latte_cli.models.designs import count_training_flops
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.randomness import random_positions, seeded
from latte_cli.training.batches import open_store
from latte_cli.training.state import new_state

ROUTE = {"train__route": "{from: 0, to: -1, share: 0.5, off_from: 0.7}"}
CONSTANT = {"train__lr_schedule": "constant"}


def test_a_routed_run_resumes_exactly(world):
    """The positions of a step follow from the seed and its number; off from step 4.2 of 6."""
    always = {"train__route": "{from: 0, to: -1, off_from: 1}", **CONSTANT}
    succeed(*train_words(world, train__steps=3, **always))
    assert "resuming" in succeed(*train_words(world, **always)).stderr
    succeed(*train_words(world, runs="whole", **always))
    succeed(*train_words(world, runs="plain", **CONSTANT))
    assert curve("runs/shapes") == curve("whole/shapes")
    plain, routed = ([row["loss"] for row in curve(f"{r}/shapes")] for r in ("plain", "whole"))
    assert plain[0] == pytest.approx(routed[0], rel=1e-4), "the first output is all zeros"
    assert all(a != b for a, b in zip(plain[2:], routed[2:], strict=True))


def passing_at(config, steps):
    """How many tokens of a frame block 0 gets at each step."""
    state, seen = new_state(config, torch.device("cpu")), []
    state.model.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2]))
    batch = random_batch(config)
    tokens = config.tokens_per_frame
    rows = [random_positions(tokens, tokens // 2, seeded(row)) for row in range(len(batch.t))]
    routed = Batch(batch.x_start, batch.noise, batch.t, batch.y, positions=torch.stack(rows))
    for _ in range(steps):
        take_step(state, config, routed)
    return seen


def test_routing_is_off_in_the_last_share_of_the_run():
    assert passing_at(small_config(train__steps=6, **ROUTE), 6) == [2, 2, 2, 2, 2, 4]


def test_with_share_0_a_step_is_that_of_the_plain_network(world):
    for name, values in (("runs", {}), ("none", {"train__route": "{from: 0, to: -1, share: 0}"})):
        succeed(*train_words(world, runs=name, **values))
    for path in Path("runs/shapes/checkpoints").rglob("*.safetensors"):
        other = Path("none", path.relative_to("runs"))
        assert path.read_bytes() == other.read_bytes()


def test_several_processes_route_as_one(world, tmp_path):
    """Also sharded; a process takes every second clip, with that clip's positions."""
    values = {**ROUTE, "train__clip_from_step": 0}
    launched = launch(
        tmp_path,
        [
            {"processes": 2, "words": list(map(str, several_words(world, shard, **more)))}
            for shard, more in (("none", values), ("fsdp", values | {"train__shard": "fsdp"}))
        ],
    )
    assert launched.codes == [0, 0], launched.said
    succeed(*several_words(world, **values))
    alone = [row["loss"] for row in rows("runs/shapes")]
    for shard in ("none", "fsdp"):
        assert [row["loss"] for row in rows(f"{shard}/shapes")] == pytest.approx(alone, abs=1e-5)


def test_operations_of_waiting_tokens_are_not_counted():
    whole = small_config()
    routed = small_config(train__route="{from: 0, to: -1, share: 0.5}")
    none_waits = small_config(train__route="{from: 0, to: -1, share: 0}")
    assert count_training_flops(none_waits) == count_training_flops(whole)
    assert 0.5 < count_training_flops(routed) / count_training_flops(whole) < 0.75


def test_positions_of_a_clip_do_not_depend_on_its_batch(world):
    from latte_cli.config.locations import Locations
    from latte_cli.data.clips import ClipSampler

    words = [word for word in tiny(**ROUTE) if word != "-o"]
    config = load_config("shapes", words)
    locations = Locations(world.root / "data", world.root / "latents", world.root / "runs")
    store, *_ = open_store(config, locations, torch.device("cpu"))
    sampler = ClipSampler(store, config, 1.0)
    whole, part = sampler.batch(5), sampler.batch(5, [2, 3])
    assert torch.equal(whole.positions[2:], part.positions)
    others = [sampler.batch(step).positions for step in range(20)]
    assert any(not torch.equal(each, whole.positions) for each in others)
    plain = ClipSampler(store, load_config("shapes", [w for w in tiny() if w != "-o"]), 1.0)
    assert torch.equal(plain.batch(5).x_start, whole.x_start), "other random numbers are the same"
    assert plain.batch(5).positions is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.patch_embedding=compression", "data.num_images=0"], "its tokens are tubes"),
        (["model.condition=text", "model.num_classes=null"], "model.condition is text"),
        (["model.variant=5"], "model.variant 5 attends to whole frames"),
        (["data.size=16"], "a frame is a single token"),
        (["train.route.share=1"], "less than 1"),
        (["train.route.share=half"], "`train.route.share` is 'half'"),
        (["train.route.form=3"], "did you mean `train.route.from`"),
        (["diffusion.objective=flow-map"], "which diffusion.objective flow-map lacks"),
    ],
)
def test_routes_that_do_not_go_with_the_network_are_errors_in_words(words, said):
    given = [word for word in tiny() if word != "-o"]
    with pytest.raises(ConfigError) as caught:
        load_config("shapes", [*given, "train.route.from=0", "train.route.to=-1", *words])
    assert said in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(("first", "last"), [(2, -1), (0, 2), (1, 0), (0, -3), (-3, -1)])
def test_blocks_out_of_range_are_an_error_before_anything_is_made(world, first, last):
    said = fail(*train_words(world, train__route=f"{{from: {first}, to: {last}}}"))
    assert f"train.route goes from block {first} to {last}, but the network's 2 blocks" in said
    assert not Path("runs").exists()


def test_a_route_is_shown_and_noted_when_it_changes(world):
    shown = succeed("presets", "shapes", "-o", "train.route.share=0.25").stdout
    lines = [line.split() for line in shown.splitlines()]
    assert ["train.route.share", "0.25", "override"] in [line[:3] for line in lines]
    assert ["train.route.from", "2", "default"] in [line[:3] for line in lines]
    assert ["train.route.to", "-4", "null"] in [
        line.split()
        for line in succeed(
            "presets", "shapes", "--diff=shapes", "-o", "train.route={}"
        ).stdout.splitlines()
    ]
    succeed(*train_words(world, train__steps=3, **CONSTANT))
    said = succeed(*train_words(world, train__steps=4, **CONSTANT, **ROUTE)).stderr
    assert "train.route.share was None, is 0.5" in " ".join(said.split())


def sampled(name: str, *words: object) -> np.ndarray:
    more = [word for text in words for word in ("-o", text)]
    common = ["--checkpoint=runs/shapes", "-n3", "--format=npz", f"--out={name}", "--steps=3"]
    succeed("sample", *common, *more)
    with np.load(Path(name, "clips.npz")) as file:
        return file["clips"]


def test_guidance_by_routing_depends_on_the_clip_alone(world):
    succeed(*train_words(world, **ROUTE, train__lr=3e-2))
    plain = sampled("plain", "sample.guidance=1")
    by = "sample.guidance_routing=0.5"
    assert (sampled("one", "sample.guidance=1", by) == plain).all()
    guided = sampled("guided", "sample.guidance=30", by)
    assert (guided != plain).any()
    assert (sampled("labels", "sample.guidance=30") != guided).any()
    again = sampled("alone", "sample.guidance=30", by, "sample.batch=1").astype(int)
    assert np.abs(again - guided).max() <= 1, "but for rounding"
    more = sampled("more", "sample.guidance=30", "sample.guidance_routing=0.75")
    assert (more != guided).any()
    words = ("sample", "--checkpoint=runs/shapes", "-n1", "--out=x", "-o", by)
    assert "cache knows nothing" in fail(*words, "--cache=pab")
    assert "networks trained with train.route" in fail(*words, "-o", "train.route=null")
    other = fail("sample", "--checkpoint=runs/shapes", "-n3", "--format=npz", "--out=guided")
    assert "guidance routing 0.5 against none" in other
