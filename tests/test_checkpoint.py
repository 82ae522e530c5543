"""Checkpoints are whole or not there, and say what they are."""

import errno

import pytest
import torch

from latte_cli import checkpoint
from latte_cli.checkpoint import CheckpointMeta
from latte_cli.config import load_config
from latte_cli.errors import CheckpointError

CONFIG = load_config("shapes")


def save(run, step, **changes):
    weights = {"w": torch.full((2,), float(step))}
    optimizer = {"state": {0: {"exp_avg": weights["w"]}}, "param_groups": [{"lr": step}]}
    parts = {"ema": weights, "model": weights, "optimizer": optimizer} | changes
    return checkpoint.save_checkpoint(
        run, CONFIG, CheckpointMeta(step, "abc", 1.0, ("a",)), **parts
    )


def test_a_checkpoint_says_what_it_is(tmp_path):
    folder = save(tmp_path, 7)
    assert folder == tmp_path / "checkpoints" / "step-00000007"
    assert checkpoint.what_is_broken(folder) is None
    assert checkpoint.read_checkpoint_config(folder) == CONFIG
    optimizer = checkpoint.read_optimizer(folder)
    assert optimizer["param_groups"] == [{"lr": 7}]
    assert optimizer["state"][0]["exp_avg"].tolist() == [7, 7]
    meta = checkpoint.read_checkpoint_meta(folder)
    assert (meta.step, meta.vae_fingerprint, meta.classes) == (7, "abc", ("a",))
    assert set(meta.files) == {
        "config.yaml",
        "ema.safetensors",
        "model.safetensors",
        "state/optimizer.safetensors",
        "state/optimizer.json",
    }


def test_they_are_listed_by_step_and_the_oldest_go(tmp_path):
    for step in (9, 10, 100):
        save(tmp_path, step)
    (tmp_path / "checkpoints" / ".part-step-00000200").mkdir()
    (tmp_path / "checkpoints" / "step-mine").mkdir()
    names = [path.name for path in checkpoint.list_checkpoints(tmp_path)]
    assert names == ["step-00000009", "step-00000010", "step-00000100"]
    checkpoint.remove_old_checkpoints(tmp_path, keep=2)
    assert [p.name for p in checkpoint.list_checkpoints(tmp_path)] == names[1:]


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, 3)
    again = {"state": {0: {"step": torch.tensor(9.0)}}, "param_groups": [{"lr": "again"}]}
    folder = save(tmp_path, 3, optimizer=again)
    assert checkpoint.read_optimizer(folder) == again


@pytest.mark.parametrize("harm", ["delete", "truncate", "flip a bit", "no meta"])
def test_harm_is_named(tmp_path, harm):
    folder = save(tmp_path, 1)
    weights = folder / "ema.safetensors"
    content = bytearray(weights.read_bytes())
    if harm == "delete":
        weights.unlink()
    elif harm == "truncate":
        weights.write_bytes(content[:-4])
    elif harm == "flip a bit":
        content[-1] ^= 1
        weights.write_bytes(content)
    else:
        (folder / "meta.json").unlink()
    told = checkpoint.what_is_broken(folder)
    assert told is not None
    assert ("checkpoint folder" if harm == "no meta" else "ema.safetensors") in told


def test_a_failing_save_leaves_the_old_ones_and_nothing_else(tmp_path, monkeypatch):
    old = save(tmp_path, 1)

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write_optimizer", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, 2)
    assert list((tmp_path / "checkpoints").iterdir()) == [old]
    assert checkpoint.what_is_broken(old) is None


def test_other_folders_are_no_checkpoints(tmp_path):
    with pytest.raises(CheckpointError, match="not a checkpoint folder"):
        checkpoint.read_checkpoint_meta(tmp_path)
    with pytest.raises(CheckpointError, match="it holds no config"):
        checkpoint.read_checkpoint_config(tmp_path)
