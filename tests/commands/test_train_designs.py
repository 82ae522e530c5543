"""`latte train` with the paper's designs: joint images, weights to begin from, recomputation."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from conftest import World, fail, succeed, tiny
from safetensors.torch import load_file

from latte_cli.checkpoints.folder import list_checkpoints, read_checkpoint_meta, write_meta
from latte_cli.models import Latte, LatteShape


def train(world: World, *words: str, runs: str = "runs", **values: object) -> tuple[str, ...]:
    latents = f"--latents-root={world.root / 'latents'}"
    return ("train", "--preset=shapes", *tiny(**values), latents, f"--runs-root={runs}", *words)


def losses(runs: str) -> list[float]:
    lines = (Path(runs) / "shapes" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def weights(runs: str) -> dict[str, torch.Tensor]:
    return load_file(list_checkpoints(Path(runs) / "shapes")[-1] / "model.safetensors")


@pytest.fixture
def dit(tmp_path: Path) -> Path:
    """A picture network of the tiny world's width under DiT's names."""
    model = Latte(LatteShape(4, 1, 2, 32, 2, 2, num_classes=10))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    kept = {n: v for n, v in model.state_dict().items() if n != "temp_embed"}
    torch.save({"ema": kept}, tmp_path / "dit.pt")
    return tmp_path / "dit.pt"


@pytest.mark.parametrize("joint", ["temporal-mask", "only-video"])
@pytest.mark.parametrize("variant", [1, 3])
def test_joint_training_on_images_changes_the_loss_only(world, joint, variant):
    values = {"model__joint": joint, "model__variant": variant, "train__steps": 2}
    succeed(*train(world, **values))
    succeed(*train(world, runs="joint", data__num_images=3, **values))
    assert all(loss > 0 for loss in losses("joint"))
    assert losses("joint") != losses("runs")
    assert set(weights("joint")) == set(weights("runs"))


def test_checkpointed_blocks_have_the_same_losses(world):
    succeed(*train(world, train__precision="float32"))
    succeed(*train(world, runs="again", train__precision="float32", train__checkpointing="blocks"))
    assert losses("again") == losses("runs")


def test_a_run_is_initialized_from_an_image_network_once(world, dit):
    result = succeed(*train(world, f"--init={dit}", train__steps=3, train__lr=1e-30))
    assert "loaded from dit" in result.stderr
    assert "initialized: 1 (y_embedder.embedding_table.weight): zero" in result.stderr
    given, learnt = torch.load(dit, weights_only=True)["ema"], weights("runs")
    assert torch.equal(learnt["blocks.1.attn.qkv.weight"], given["blocks.1.attn.qkv.weight"])
    assert learnt["y_embedder.embedding_table.weight"].abs().max() < 1e-20
    dit.unlink()
    result = succeed(*train(world, f"--init={dit}", train__steps=4, train__lr=1e-30))
    assert "resuming from" in result.stderr, "a resumed run does not need its initial weights"


def test_weights_for_other_clips_are_loaded_with_a_note(world, tmp_path):
    larger = Latte(LatteShape(8, 16, 2, 32, 2, 2))
    torch.save(larger.state_dict(), tmp_path / "w.pt")
    result = succeed(*train(world, f"--init={tmp_path / 'w.pt'}", train__steps=1))
    said = " ".join(result.stderr.split())
    assert "the checkpoint is for 16 frames of 64x64, the preset is for 4 frames of 32x32" in said


def test_weights_that_do_not_fit_are_an_error(world, tmp_path):
    assert "no such file" in fail(*train(world, "--init=none.pt"))
    wider = Latte(LatteShape(4, 4, 2, 64, 2, 2))
    torch.save(wider.state_dict(), tmp_path / "w.pt")
    assert "(64," in fail(*train(world, f"--init={tmp_path / 'w.pt'}"))


def test_a_run_older_than_a_setting_resumes(world):
    succeed(*train(world, train__steps=3))
    (checkpoint,) = list_checkpoints(Path("runs/shapes"))
    config = checkpoint / "config.yaml"
    tree = yaml.safe_load(config.read_text())
    del tree["model"]["patch_embedding"]
    config.write_text(yaml.safe_dump(tree))
    write_meta(checkpoint, read_checkpoint_meta(checkpoint))
    assert "resuming from" in succeed(*train(world, train__steps=4)).stderr
    said = fail(*train(world, train__steps=5, model__temporal_position="rope"))
    assert "model.temporal_position was 'absolute', is 'rope'" in said


def test_training_on_text_is_an_error(world):
    said = fail(*train(world, model__condition="text", model__num_classes="null"))
    assert "no encoded captions" in said


def test_images_in_tubes_are_an_error(world):
    values = {"model__patch_embedding": "compression", "data__num_images": 2}
    assert "data.num_images is 2" in fail(*train(world, **values))
