"""What `latte train` resumes from, and how it recognizes the videos of a run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import World, fail, invoke, succeed, tiny
from helpers.runs import bad_steps, rows, train_words

from latte_cli.checkpoints.folder import list_checkpoints
from latte_cli.commands import train as train_command
from latte_cli.training import batches

RUN = Path("runs/shapes")
SHORT = {"train__steps": 3, "train__lr_schedule": "constant"}
LONGER = SHORT | {"train__steps": 4}


def said_by(*words: object) -> str:
    """What a run that ends well says, on one line."""
    return " ".join(succeed(*words).stderr.split())


def own_latents(world: World, change: Callable[[dict], dict], count: int = 16) -> None:
    """The world's latents in this folder, their index changed line by line."""
    shutil.rmtree("latents", ignore_errors=True)
    shutil.copytree(world.root / "latents", "latents")
    folder = Path("latents/shapes-32-embedded")
    lines = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    changed = "".join(json.dumps(change(line)) + "\n" for line in lines[:count])
    (folder / "index.jsonl").write_text(changed)
    meta = json.loads((folder / "meta.json").read_text())
    own = {**meta, "videos": count, "manifest": "of another data set"}
    (folder / "meta.json").write_text(json.dumps(own))


def of_another_video(line: dict) -> dict:
    """As of a file of other bytes that is as long, and labelled alike."""
    return {**line, "sha256": line["sha256"][::-1]} if line["position"] == 5 else line


def here(*words: object, **values: object) -> tuple[object, ...]:
    """`latte train` on what lies in this folder."""
    return ("train", "--preset=shapes", *tiny(**values), *words)


def test_videos_of_other_content_are_other_videos(world):
    own_latents(world, lambda line: line)
    succeed(*here(**SHORT))
    own_latents(world, lambda line: {**line, "path": f"/moved/{line['path']}"})
    assert "warning" not in said_by(*here(**LONGER)), "data sets may move"
    own_latents(world, of_another_video)
    said = fail(*here(**LONGER | {"train__steps": 5}))
    assert "learned from 16 videos of `shapes`, now they are others" in said


def test_an_old_checkpoint_without_content_digest_is_compared_by_lengths_and_labels(world):
    succeed(*train_words(world, **SHORT))
    (checkpoint,) = list_checkpoints(RUN)
    meta = json.loads((checkpoint / "meta.json").read_text())
    del meta["contents_digest"]
    (checkpoint / "meta.json").write_text(json.dumps(meta))
    assert "warning" not in said_by(*train_words(world, **LONGER))
    assert "contents_digest" in (list_checkpoints(RUN)[-1] / "meta.json").read_text()


def test_latents_of_other_videos_than_the_named_data_set_are_an_error(world):
    """As where two data sets of one folder name share a folder of latents."""
    data = world.root / "data/shapes"
    own_latents(world, of_another_video)
    said = fail(*here("-o", f"data.root={data}", **SHORT))
    assert "latents/shapes-32-embedded holds latents of other videos than" in said
    assert f"{data}/manifest.jsonl" in said
    assert "-o data.latents=" in said
    assert "other videos" in fail(*here(f"--data-root={data.parent}", **SHORT))
    meant = "data.latents=latents/shapes-32-embedded"
    succeed(*here(f"--data-root={data.parent}", "-o", meant, **SHORT))


def test_the_encoded_manifest_is_compared_by_checksum_only(world, monkeypatch):
    """A million lines take seconds; a checksum shows that the latents are of them."""

    class Unread:
        def read(self, *words, **more):
            raise AssertionError

    monkeypatch.setattr(batches, "VideoTable", Unread())
    data = f"--data-root={world.root / 'data'}"
    succeed(*train_words(world, **SHORT), data)
    own_latents(world, lambda line: line)
    result = invoke(*here(data, "--run=other", **SHORT))
    assert isinstance(result.exception, AssertionError), "of another one it is"


def test_latents_of_some_videos_or_of_a_deleted_data_set_can_be_trained_on(world):
    own_latents(world, lambda line: line, count=12)
    succeed(*here("-o", f"data.root={world.root / 'data/shapes'}", **SHORT))
    succeed(
        *here(
            "--run=gone",
            "-o",
            "data.root=gone/shapes",
            **SHORT,
            data__latents="latents/shapes-32-embedded",
        )
    )


def test_a_run_started_from_anothers_checkpoint_resumes_by_the_same_command(world):
    theirs = world.run / "checkpoints/step-00000003"
    words = ("--run=branch", f"--resume={theirs}")
    assert f"resuming from {theirs}" in said_by(*train_words(world, *words, train__steps=4))
    said = said_by(*train_words(world, *words, train__steps=5))
    assert f"has checkpoints of its own: it resumes from these, not from {theirs}" in said
    assert "resuming from runs/branch/checkpoints/step-00000004" in said
    gone = train_words(world, "--run=branch", "--resume=gone", train__steps=6)
    assert "resuming from runs/branch/checkpoints/step-00000005" in said_by(*gone)
    assert "not a checkpoint" in fail(*train_words(world, "--run=new", "--resume=gone"))
    own_latents(world, of_another_video)
    assert "now they are others" in fail(*here(*words, train__steps=7)), "not named, so not meant"


@pytest.fixture
def stopped_run(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A run that is stopped after its first step; what it prints."""
    original = train_command.train_step

    def step(*words):
        (RUN / "stop").touch()
        return original(*words)

    def stopped_run(*words: object) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(train_command, "train_step", step)
            patch.setattr("latte_cli.runtime.signals._POLL_INTERVAL_S", 0.0)
            result = invoke(*train_words(world, *words, train__lr_schedule="constant"))
        assert result.exit_code == 75, result.stderr
        return " ".join(result.stderr.split())

    return stopped_run


def test_a_stopped_run_says_which_option_resumes_it(world, stopped_run):
    by_auto = "the same command with `--resume auto`, the default, resumes from there"
    assert "the same command resumes from there" in stopped_run()
    shutil.rmtree(RUN)
    assert by_auto in stopped_run("--resume=never")
    said = fail(*train_words(world, "--resume=never"))
    assert "already holds a run" in said
    assert "hint: `--resume auto`, the default, resumes it" in said
    (first,) = list_checkpoints(RUN)
    assert by_auto in stopped_run(f"--resume={first}")
    said = fail(*train_words(world, f"--resume={first}"))
    assert "the run has newer checkpoints than" in said
    assert "hint: `--resume auto`, the default, resumes from the newest" in said
    assert "delete" not in said


def test_another_broken_checkpoint_does_not_prevent_resuming(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    (RUN / "checkpoints/step-00000003/meta.json").unlink()
    newest = RUN / "checkpoints/step-00000006"
    said = said_by(*train_words(world, f"--resume={newest}", train__steps=7))
    assert f"resuming from {newest}" in said


@pytest.mark.parametrize(("schedule", "reported"), [("cosine", True), ("constant", False)])
def test_changed_steps_are_reported_if_the_learning_rate_depends_on_them(world, schedule, reported):
    succeed(*train_words(world, train__steps=3, train__lr_schedule=schedule))
    said = said_by(*train_words(world, train__steps=4, train__lr_schedule=schedule))
    assert ("train.steps was 3, is 4" in said) is reported


def test_damaged_lines_of_a_runs_logs_are_left_out(world):
    """After power loss files may end in zero bytes; people write notes."""
    succeed(*train_words(world, **SHORT))
    for name in ("metrics.jsonl", "bad_steps.jsonl"):
        with (RUN / name).open("a") as file:
            file.write('note\n\0\0\0\n[1]\n7\n{"a": 1}\n{"step": null}\n{"step": 2, "why": "x"}\n')
    succeed(*train_words(world, **LONGER))
    assert [row["step"] for row in rows(RUN)] == [1, 2, 3, 2, 4]
    assert bad_steps(RUN) == [{"step": 2, "why": "x"}]
