"""Training from latents, and into runs, that lie in a bucket: the same as on the local disk."""

from pathlib import Path

import pytest
from conftest import fail, succeed, tiny
from helpers.runs import curve
from helpers.stub_s3 import URL, empty, running_s3

from latte_cli.checkpoints.folder import list_checkpoints, step_of


@pytest.fixture(scope="module")
def server():
    with running_s3() as running:
        yield running


@pytest.fixture
def s3(server, tmp_path, monkeypatch):
    return empty(server, tmp_path, monkeypatch)


def train(*words: object, **values: object):
    return succeed("train", "--preset=shapes", *tiny(**values), *words)


def test_latents_of_a_bucket_give_the_losses_of_the_disk(world, s3):
    url = s3.put(world.root / "latents", "latents")
    s3.asked.clear()
    train(f"--latents-root={url}")
    assert [row["loss"] for row in curve("runs/shapes")] == [
        row["loss"] for row in curve(world.run)
    ]
    assert len(s3.reads("index.jsonl")) == 1
    shards = s3.reads(".safetensors")
    assert all(shards), "by range"
    assert len(shards) <= 1 + 16  # the header, and each video once


def test_a_second_run_reads_the_cache_and_asks_for_changes_only(world, s3):
    url = s3.put(world.root / "latents", "latents")
    train(f"--latents-root={url}")
    s3.asked.clear()
    train(f"--latents-root={url}", "--run=again")
    assert s3.asked
    assert not s3.reads(".safetensors")
    assert not s3.reads("index.jsonl")
    assert curve("runs/again") == curve("runs/shapes")


def test_a_changed_byte_is_never_trained_on(world, s3):
    url = s3.put(world.root / "latents", "latents")
    (shard,) = world.latents.glob("shard-*")
    key = f"bucket/latents/{world.latents.name}/{shard.name}"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    s3.fs.pipe_file(key, bytes(content))
    said = fail("train", "--preset=shapes", *tiny(), f"--latents-root={url}")
    assert f"{url}/{world.latents.name}/{shard.name}: damaged" in said
    assert "fails its checksum" in said
    s3.fs.pipe_file(key, shard.read_bytes())
    train(f"--latents-root={url}")
    assert curve("runs/shapes") == curve(world.run)


def test_lost_connections_are_retried_and_named(world, s3):
    url = s3.put(world.root / "latents", "latents")
    lost = []

    def lose(environment):
        if "HTTP_RANGE" in environment and len(lost) < 6:
            lost.append(environment["PATH_INFO"])
            return 503
        return None

    s3.before = lose
    result = train(f"--latents-root={url}")
    assert "trying again in" in result.stderr
    assert curve("runs/shapes") == curve(world.run)


def test_a_shard_that_vanishes_ends_training_in_words_and_keeps_what_was_done(
    world, s3, monkeypatch
):
    url = s3.put(world.root / "latents", "latents")
    gone = []

    def vanish(environment):
        if environment["PATH_INFO"].endswith(".safetensors"):
            gone.append(environment["PATH_INFO"])
            return 404 if len(gone) > 4 else None
        return None

    monkeypatch.setattr("latte_cli.training.batches._FETCHED_AHEAD", 2)
    s3.before = vanish
    said = fail("train", "--preset=shapes", *tiny(train__batch_size=1), f"--latents-root={url}")
    assert ".safetensors: no such file" in said
    (saved,) = list_checkpoints(Path("runs/shapes"))
    assert step_of(saved) >= 1
    s3.before = lambda environment: None
    assert "resuming from" in train(f"--latents-root={url}", train__batch_size=1).stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://elsewhere/latents", "no such bucket"),
        ("s3://bucket/nothing", "no latents here"),
        ("nowhere://bucket/latents", "nowhere:// is unknown here"),
    ],
)
def test_a_wrong_url_is_refused_in_words(s3, url, said):
    assert said in fail("train", "--preset=shapes", *tiny(), f"--latents-root={url}")


def test_a_forbidden_bucket_is_named(world, s3):
    url = s3.put(world.root / "latents", "latents")
    s3.before = lambda environment: 403
    said = fail("train", "--preset=shapes", *tiny(), f"--latents-root={url}")
    assert f"{url}/shapes-32-embedded/meta.json: access is refused" in said


def test_an_address_that_does_not_answer_is_named(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    said = fail("train", "--preset=shapes", *tiny(), "--latents-root=s3://bucket/latents")
    assert "cannot be reached" in said
    monkeypatch.undo()
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    from fsspec.registry import _registry

    monkeypatch.delitem(_registry, "s3", raising=False)
    said = fail("train", "--preset=shapes", *tiny(), "--latents-root=s3://bucket/latents")
    assert "needs s3fs" in said
    assert "pip install 'latte-cli[remote]'" in said


def test_a_run_in_a_bucket_is_resumed_on_another_machine(world, s3, tmp_path, monkeypatch):
    words = [f"--latents-root={world.root / 'latents'}", f"--runs-root={URL}/runs"]
    train(*words, train__steps=4, train__lr_schedule="constant")
    there = s3.files("runs/shapes")
    steps = {name.split("/")[1] for name in there if name.startswith("checkpoints/")}
    assert steps == {"step-00000003", "step-00000004"}
    assert there.keys() >= {"metrics.jsonl", "config.yaml", "report.html"}

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    result = train(*words, train__steps=6, train__lr_schedule="constant")
    assert f"fetching {URL}/runs/shapes/checkpoints/step-00000004" in result.stderr
    assert f"resuming from {URL}/runs/shapes/checkpoints/step-00000004" in result.stderr
    assert f"{URL}/runs/shapes/checkpoints/step-00000006 is the network" in result.stderr

    train(words[0], train__steps=6, train__lr_schedule="constant")  # on the disk, at once
    there = s3.files("runs/shapes")
    whole = Path("runs/shapes/checkpoints/step-00000006")
    for path in whole.rglob("*.safetensors"):
        name = f"checkpoints/step-00000006/{path.relative_to(whole)}"
        assert there[name] == path.read_bytes(), name


def test_only_what_is_kept_stays_in_the_bucket(world, s3):
    words = [f"--latents-root={world.root / 'latents'}", f"--runs-root={URL}/runs"]
    train(*words, train__save_every=1, train__keep=2)
    names = s3.files("runs/shapes/checkpoints")
    assert {name.split("/")[0] for name in names} == {"step-00000005", "step-00000006"}


def test_a_damaged_checkpoint_of_the_bucket_is_named_and_the_one_before_taken(
    world, s3, tmp_path, monkeypatch
):
    words = [f"--latents-root={world.root / 'latents'}", f"--runs-root={URL}/runs"]
    train(*words)
    s3.fs.pipe_file("bucket/runs/shapes/checkpoints/step-00000006/model.safetensors", b"x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    result = train(*words)
    assert "step-00000006/model.safetensors is not as it was written" in result.stderr
    assert "resuming from s3://bucket/runs/shapes/checkpoints/step-00000003" in result.stderr


def test_a_bucket_that_refuses_checkpoints_does_not_end_the_run_before_its_last_step(world, s3):
    words = [f"--latents-root={world.root / 'latents'}", f"--runs-root={URL}/runs"]
    s3.before = lambda environment: 403 if environment["REQUEST_METHOD"] == "PUT" else None
    said = fail("train", "--preset=shapes", *tiny(), *words)
    assert "access is refused" in said
    assert "checkpoints are kept in file:///" in said
    s3.before = lambda environment: None
    train(*words)
    assert "checkpoints/step-00000006/meta.json" in s3.files("runs/shapes")


def test_clips_are_sampled_from_a_run_of_a_bucket(world, s3):
    url = s3.put(world.root / "runs", "runs")
    few = ("-n", 1, "-o", "sample.steps=1")
    result = succeed("sample", "--preset=shapes", f"--runs-root={url}", *few, "--out=a")
    assert "fetching s3://bucket/runs/shapes/checkpoints/step-00000006" in result.stderr
    succeed("sample", f"--checkpoint={url}/shapes/checkpoints/step-00000003", *few, "--out=b")
    fetched = {path.parent.name for path in Path().glob("**/step-*/ema.safetensors")}
    assert fetched == {"step-00000003", "step-00000006"}
