"""What `latte train` goes on from, and by which videos it knows that a run is still the same."""

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


def test_videos_of_other_content_are_other_videos_though_as_long_and_labelled_alike(world):
    own_latents(world, lambda line: line)
    succeed(*here(**SHORT))
    own_latents(world, lambda line: {**line, "path": f"/moved/{line['path']}"})
    assert "warning" not in said_by(*here(**LONGER)), "data sets may move"
    own_latents(world, of_another_video)
    said = fail(*here(**LONGER | {"train__steps": 5}))
    assert "learned from 16 videos of `shapes`, now they are others" in said


def test_a_checkpoint_of_before_contents_were_noted_is_known_by_lengths_and_labels(world):
    succeed(*train_words(world, **SHORT))
    (checkpoint,) = list_checkpoints(RUN)
    meta = json.loads((checkpoint / "meta.json").read_text())
    del meta["contents_digest"]
    (checkpoint / "meta.json").write_text(json.dumps(meta))
    assert "warning" not in said_by(*train_words(world, **LONGER))
    assert "contents_digest" in (list_checkpoints(RUN)[-1] / "meta.json").read_text()


def test_latents_of_other_videos_than_the_data_set_named_are_refused(world):
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


def test_a_manifest_that_is_the_one_encoded_is_not_read_line_by_line(world, monkeypatch):
    """A million lines take seconds; a checksum tells that latents are of them."""

    class Unread:
        def read(self, *words, **more):
            raise AssertionError

    monkeypatch.setattr(batches, "VideoTable", Unread())
    data = f"--data-root={world.root / 'data'}"
    succeed(*train_words(world, **SHORT), data)
    own_latents(world, lambda line: line)
    result = invoke(*here(data, "--run=other", **SHORT))
    assert isinstance(result.exception, AssertionError), "of another one it is"


def test_latents_of_some_of_the_videos_and_of_a_data_set_that_is_gone_are_learned_from(world):
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


def test_a_run_begun_from_anothers_checkpoint_goes_on_by_the_same_command(world):
    theirs = world.run / "checkpoints/step-00000003"
    words = ("--run=branch", f"--resume={theirs}")
    assert f"going on from {theirs}" in said_by(*train_words(world, *words, train__steps=4))
    said = said_by(*train_words(world, *words, train__steps=5))
    assert f"has checkpoints of its own: it goes on from these, not from {theirs}" in said
    assert "going on from runs/branch/checkpoints/step-00000004" in said
    gone = train_words(world, "--run=branch", "--resume=gone", train__steps=6)
    assert "going on from runs/branch/checkpoints/step-00000005" in said_by(*gone)
    assert "not a checkpoint" in fail(*train_words(world, "--run=new", "--resume=gone"))
    own_latents(world, of_another_video)
    assert "now they are others" in fail(*here(*words, train__steps=7)), "not named, so not meant"


@pytest.fixture
def stopped_run(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A run that is asked to stop after its first step; what it says."""
    original = train_command.train_step

    def step(*words):
        (RUN / "stop").touch()
        return original(*words)

    def stopped_run(*words: object) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(train_command, "train_step", step)
            result = invoke(*train_words(world, *words, train__lr_schedule="constant"))
        assert result.exit_code == 75, result.stderr
        return " ".join(result.stderr.split())

    return stopped_run


def test_what_is_not_gone_on_with_by_the_same_command_says_which_option_does(world, stopped_run):
    by_auto = "the same command with `--resume auto`, the default, goes on from there"
    assert "the same command goes on from there" in stopped_run()
    shutil.rmtree(RUN)
    assert by_auto in stopped_run("--resume=never")
    said = fail(*train_words(world, "--resume=never"))
    assert "holds a run already" in said
    assert "hint: `--resume auto`, the default, goes on with it" in said
    (first,) = list_checkpoints(RUN)
    assert by_auto in stopped_run(f"--resume={first}")
    said = fail(*train_words(world, f"--resume={first}"))
    assert "the run has newer checkpoints than" in said
    assert "hint: `--resume auto`, the default, goes on from the newest" in said
    assert "delete" not in said


def test_another_checkpoint_that_is_broken_does_not_keep_from_going_on(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    (RUN / "checkpoints/step-00000003/meta.json").unlink()
    newest = RUN / "checkpoints/step-00000006"
    said = said_by(*train_words(world, f"--resume={newest}", train__steps=7))
    assert f"going on from {newest}" in said


@pytest.mark.parametrize(("schedule", "told"), [("cosine", True), ("constant", False)])
def test_other_steps_are_told_where_the_rate_follows_from_them(world, schedule, told):
    succeed(*train_words(world, train__steps=3, train__lr_schedule=schedule))
    said = said_by(*train_words(world, train__steps=4, train__lr_schedule=schedule))
    assert ("train.steps was 3, is 4" in said) is told


def test_damaged_lines_of_what_a_run_wrote_are_left_out(world):
    """After power loss files may end in zero bytes; people write notes."""
    succeed(*train_words(world, **SHORT))
    for name in ("metrics.jsonl", "bad_steps.jsonl"):
        with (RUN / name).open("a") as file:
            file.write('note\n\0\0\0\n[1]\n7\n{"a": 1}\n{"step": null}\n{"step": 2, "why": "x"}\n')
    succeed(*train_words(world, **LONGER))
    assert [row["step"] for row in rows(RUN)] == [1, 2, 3, 2, 4]
    assert bad_steps(RUN) == [{"step": 2, "why": "x"}]
