"""Checkpoints are whole or not there, and say what they are."""

import errno
import json

import pytest
import torch
from safetensors.torch import load_file

from latte_cli.checkpoints import folder as checkpoint
from latte_cli.checkpoints.folder import CheckpointMeta
from latte_cli.checkpoints.state import read_guard, read_progress
from latte_cli.config import load_config
from latte_cli.runtime.errors import CheckpointError

CONFIG = load_config("shapes")


def save(run, step, **changes):
    weights = {"w": torch.full((2,), float(step))}
    optimizer = {"state": {0: {"exp_avg": weights["w"]}}, "param_groups": [{"lr": step}]}
    parts = {"ema": weights, "model": weights, "optimizer": optimizer}
    parts |= {"guard": {"norms": weights["w"]}, "progress": {"data_offset": step}} | changes
    return checkpoint.save_checkpoint(
        run, CONFIG, CheckpointMeta(step, "abc", 1.0, ("a",)), **parts
    )


def test_a_checkpoint_describes_itself(tmp_path):
    folder = save(tmp_path, 7)
    assert folder == tmp_path / "checkpoints" / "step-00000007"
    assert checkpoint.find_corruption(folder) is None
    assert checkpoint.read_checkpoint_config(folder) == CONFIG
    assert json.loads((folder / "state/optimizer.json").read_text()) == [{"lr": 7}]
    assert load_file(folder / "state/optimizer.safetensors")["0.exp_avg"].tolist() == [7, 7]
    assert read_guard(folder)["norms"].tolist() == [7, 7]
    assert read_progress(folder) == {"data_offset": 7}
    meta = checkpoint.read_checkpoint_meta(folder)
    assert (meta.step, meta.vae_fingerprint, meta.classes) == (7, "abc", ("a",))
    assert set(meta.files) == {
        "config.yaml",
        "ema.safetensors",
        "model.safetensors",
        "state/optimizer.safetensors",
        "state/optimizer.json",
        "state/guard.safetensors",
        "state/progress.json",
    }


def test_a_checkpoint_without_a_guard_has_an_empty_state(tmp_path):
    assert read_guard(tmp_path) is None
    assert read_progress(tmp_path) == {}


def test_checkpoints_are_listed_by_step_and_the_oldest_removed(tmp_path):
    for step in (9, 10, 100):
        save(tmp_path, step)
    (tmp_path / "checkpoints" / ".part-step-00000200").mkdir()
    (tmp_path / "checkpoints" / "step-mine").mkdir()
    names = [path.name for path in checkpoint.list_checkpoints(tmp_path)]
    assert names == ["step-00000009", "step-00000010", "step-00000100"]
    checkpoint.remove_old_checkpoints(tmp_path, keep=2)
    assert [p.name for p in checkpoint.list_checkpoints(tmp_path)] == names[1:]


def test_some_checkpoints_are_kept_for_good(tmp_path):
    for step in range(1, 10):
        save(tmp_path, step)
        checkpoint.remove_old_checkpoints(tmp_path, keep=2, keep_every=4)
    steps = [checkpoint.step_of(path) for path in checkpoint.list_checkpoints(tmp_path)]
    assert steps == [4, 8, 9]


def test_the_best_one_is_kept_until_another_is(tmp_path):
    for step in range(1, 10):
        save(tmp_path, step)
        if step in (2, 5):
            best = json.dumps({"checkpoint": f"checkpoints/step-{step:08d}"})
            (tmp_path / checkpoint.BEST).write_text(best)
        checkpoint.remove_old_checkpoints(tmp_path, keep=2)
        steps = [checkpoint.step_of(path) for path in checkpoint.list_checkpoints(tmp_path)]
        assert steps == {4: [2, 3, 4], 9: [5, 8, 9]}.get(step, steps)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"checkpoint": 3}', "\x00"])
def test_a_damaged_best_json_keeps_no_checkpoint(tmp_path, text):
    (tmp_path / checkpoint.BEST).write_text(text)
    for step in (1, 2):
        save(tmp_path, step)
    checkpoint.remove_old_checkpoints(tmp_path, keep=1)
    assert [checkpoint.step_of(path) for path in checkpoint.list_checkpoints(tmp_path)] == [2]


def test_an_interrupted_deletion_leaves_no_checkpoint_and_is_finished_later(tmp_path, monkeypatch):
    folder = save(tmp_path, 1)
    (tmp_path / "ema" / ".part-1-step-00000001").mkdir(parents=True)

    def killed(*args, **kwargs):
        if not kwargs.get("ignore_errors"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint.shutil, "rmtree", killed)
        checkpoint.remove_checkpoint(folder)
    assert checkpoint.list_checkpoints(tmp_path) == []
    assert list((tmp_path / "checkpoints").iterdir())
    checkpoint.remove_unfinished_checkpoints(tmp_path)
    assert not list((tmp_path / "checkpoints").iterdir())
    assert not list((tmp_path / "ema").iterdir())


def test_a_broken_checkpoint_is_set_aside(tmp_path):
    aside = [checkpoint.set_aside(save(tmp_path, 5)) for _ in range(2)]
    assert aside == [tmp_path / "checkpoints/step-00000005-broken"] * 2
    assert checkpoint.list_checkpoints(tmp_path) == []
    assert checkpoint.find_corruption(aside[0]) is None


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, 3)
    again = {"state": {0: {"step": torch.tensor(9.0)}}, "param_groups": [{"lr": "again"}]}
    folder = save(tmp_path, 3, optimizer=again)
    assert load_file(folder / "state/optimizer.safetensors") == {"0.step": torch.tensor(9.0)}
    assert json.loads((folder / "state/optimizer.json").read_text()) == again["param_groups"]


@pytest.mark.parametrize("harm", ["delete", "truncate", "flip a bit", "no meta"])
def test_corruption_is_named(tmp_path, harm):
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
    message = checkpoint.find_corruption(folder)
    assert message is not None
    assert ("checkpoint folder" if harm == "no meta" else "ema.safetensors") in message


def test_a_failing_save_leaves_the_old_ones_and_nothing_else(tmp_path, monkeypatch):
    old = save(tmp_path, 1)

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("latte_cli.checkpoints.state.write_state", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, 2)
    assert list((tmp_path / "checkpoints").iterdir()) == [old]
    assert checkpoint.find_corruption(old) is None


def test_other_folders_are_not_checkpoints(tmp_path):
    with pytest.raises(CheckpointError, match="not a checkpoint folder"):
        checkpoint.read_checkpoint_meta(tmp_path)
    with pytest.raises(CheckpointError, match="it holds no config"):
        checkpoint.read_checkpoint_config(tmp_path)
