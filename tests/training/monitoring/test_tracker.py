"""`train.tracker`: the same rows as metrics.jsonl, one run over restarts, and failures."""

import json
import shutil
import struct
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import World, fail, succeed, tiny

from latte_cli.config import load_config
from latte_cli.runtime.errors import ConfigError, LatteWarning
from latte_cli.training.monitoring.tracker import Tracker

ROWS = [
    {"step": 10, "loss": 1.0, "loss_q1": None, "lr": 1e-4},
    {"step": 20, "loss": 0.5, "loss_q1": 0.25, "lr": 1e-4},
    {"step": 30, "loss": 0.25, "loss_q1": None, "lr": 1e-4, "eval_fvd": 200.5},
]
KNOWN = [{key: value for key, value in row.items() if value is not None} for row in ROWS]


def tracker(run: Path, name: str) -> Tracker:
    run.mkdir(exist_ok=True)
    return Tracker(run, load_config("shapes", [f"train.tracker={name}"]))


@pytest.fixture(scope="module")
def trackio(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Trackio, which looks up its folder when it is first imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(tmp_path_factory.mktemp("trackio")))
        return pytest.importorskip("trackio")


def rows_in_trackio(name: str) -> list[dict[str, float]]:
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = (run for run in SQLiteStorage.get_runs("latte") if run.startswith(f"{name}-"))
    rows = SQLiteStorage.get_logs("latte", run)
    return [{key: value for key, value in row.items() if key != "timestamp"} for row in rows]


def records(path: Path) -> Iterator[bytes]:
    """The records of a file of W&B, which is a log as LevelDB writes it: parts in blocks."""
    content, place, record = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if (left := -place % 32768) and left < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", content[place : place + 7])
        record += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


def rows_in_wandb(run: Path) -> list[dict[str, float]]:
    """Rows of all parts of a run, which must have one number."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows, parts = [], sorted(run.glob("wandb/offline-run-*/*.wandb"))
    assert len({part.name for part in parts}) == 1
    for part in parts:
        for content in records(part):
            record = Record()
            record.ParseFromString(content)
            items = {(i.key or i.nested_key[0]): i.value_json for i in record.history.item}
            rows += [{k: json.loads(v) for k, v in items.items() if k[0] != "_"}] if items else []
    return rows


def test_tensorboard_has_the_curves_and_hides_steps_that_are_taken_again(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first, again = tracker(tmp_path, "tensorboard"), tracker(tmp_path, "tensorboard")
    first.start_after(0, [])
    for row in ROWS:
        first.write(row)
    first.close()
    again.start_after(10, ROWS[:1])
    again.write(ROWS[1] | {"loss": 5.0})
    again.write({"step": 20, "eval_fd-random": 0.5, "val_loss": 2.0})
    again.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss/loss")] == [(10, 1.0), (20, 5.0)]
    assert [(e.step, e.value) for e in events.Scalars("loss by noise/quarter 1")] == [(20, 0.25)]
    assert [e.step for e in events.Scalars("evaluation/fd-random")] == [20]
    assert {"held-out loss/val_loss", "run/lr"} <= set(events.Tags()["scalars"])


def test_wandb_has_the_rows_in_one_run_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for part in (ROWS[:2], ROWS[2:]):
        opened = tracker(tmp_path, "wandb")
        opened.start_after(0, [])
        for row in part:
            opened.write(row)
        opened.start_after(20, ROWS[:2])  # a run that is rolled back goes on in its part
        opened.close()
        time.sleep(1)  # each part's folder is named by the second
    assert rows_in_wandb(tmp_path) == KNOWN


def test_trackio_has_the_rows_in_one_run_and_leaves_stdout_alone(tmp_path, trackio, capsys):
    for part in (ROWS[:2], ROWS[2:]):
        opened = tracker(tmp_path / "mine", "trackio")
        opened.start_after(0, [])
        for row in part:
            opened.write(row)
        opened.close()
    trackio._cleanup_current_run()  # as at exit
    assert rows_in_trackio("mine") == KNOWN
    assert capsys.readouterr().out == ""


class FakeWandb:
    """A library that keeps what it is given, as W&B's; at a step it may fail."""

    def __init__(self, fails_at: int | None = None, *, opens: bool = True) -> None:
        self.fails_at, self.opens = fails_at, opens
        self.given: list[dict[str, Any]] = []
        self.rows: list[dict[str, float]] = []
        self.finished = 0

    def Settings(self, **_: object) -> None:
        return None

    def init(self, **given: Any) -> "FakeWandb":
        self.given.append(given)
        if not self.opens:
            raise ConnectionError("nobody answers")
        return self

    def define_metric(self, *_: object, **__: object) -> None:
        return None

    def log(self, row: dict[str, float]) -> None:
        if row["step"] == self.fails_at:
            raise OSError("disk full")
        self.rows.append(row)

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    library = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", library)
    return library


def test_wandb_is_offline_unless_its_own_variable_says_else(tmp_path, monkeypatch, fake):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    tracker(tmp_path, "wandb").start_after(0, [])
    monkeypatch.setenv("WANDB_MODE", "online")
    tracker(tmp_path, "wandb").start_after(0, [])
    assert [given["mode"] for given in fake.given] == ["offline", "online"]
    assert fake.given[0]["id"] == fake.given[1]["id"], "one run"
    assert fake.given[0]["dir"] == tmp_path


def test_a_tracker_that_is_new_to_a_run_gets_the_rows_so_far(tmp_path, fake):
    opened = tracker(tmp_path, "wandb")
    opened.start_after(20, ROWS[:2])
    opened.write(ROWS[2])
    again = tracker(tmp_path, "wandb")
    again.start_after(30, ROWS)
    assert fake.rows == KNOWN, "only once"


def test_a_tracker_that_fails_is_told_once(tmp_path, fake):
    fake.fails_at = 20
    opened = tracker(tmp_path, "wandb")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        opened.start_after(0, [])
        for row in ROWS:
            opened.write(row)
        opened.start_after(10, ROWS[:1])
        opened.close()
    (said,) = [str(each.message) for each in caught if each.category is LatteWarning]
    assert said == "wandb failed, and the run goes on without it: disk full"
    assert fake.rows == KNOWN[:1]


def test_a_tracker_that_does_not_open_leaves_the_run_alone(tmp_path, fake):
    fake.opens = False
    opened = tracker(tmp_path, "wandb")
    with pytest.warns(LatteWarning, match="nobody answers"):
        opened.start_after(0, [])
    opened.write(ROWS[0])
    opened.close()


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_missing_library_is_an_error_before_anything_is_made(tmp_path, monkeypatch, world, name):
    monkeypatch.setitem(sys.modules, name, None)
    for module in [module for module in sys.modules if module.startswith("torch.utils.tensorboa")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(ConfigError, match=f"train.tracker is {name}"):
        tracker(tmp_path, name)
    words = [*tiny(train__tracker=name), *world.roots[:2], f"--runs-root={tmp_path / 'runs'}"]
    said = fail("train", "--preset=shapes", *words)
    assert f"train.tracker is {name}, which cannot be imported" in said
    assert f"hint: pip install 'latte-cli[{name}]'" in said
    assert not (tmp_path / "runs" / "shapes" / "config.yaml").exists()


def test_a_resumed_run_gives_the_rows_of_metrics_jsonl(tmp_path, fake, world: World):
    """Steps after the checkpoint are taken again, and are there again, with the same loss."""
    words = ["train", "--preset=shapes", *tiny(train__tracker="wandb"), *world.roots[:2]]
    words += [f"--runs-root={tmp_path}"]
    succeed(*words)
    shutil.rmtree(tmp_path / "shapes" / "checkpoints" / "step-00000006")
    succeed(*words)
    text = (tmp_path / "shapes" / "metrics.jsonl").read_text()
    logged = {row["step"]: row["loss"] for row in map(json.loads, text.splitlines())}
    assert [row["step"] for row in fake.rows if "loss" in row] == [1, 2, 3, 4, 5, 6, 4, 5, 6]
    assert {row["step"]: row["loss"] for row in fake.rows if "loss" in row} == logged
    assert len({given["id"] for given in fake.given}) == 1


@pytest.mark.parametrize(("old", "new"), [("true", "tensorboard"), ("false", "none")])
def test_the_old_key_is_read_with_a_warning(old, new):
    with pytest.warns(LatteWarning, match=r"`train\.tensorboard` is now called `train\.tracker`"):
        assert load_config("shapes", [f"train.tensorboard={old}"]).train.tracker == new
