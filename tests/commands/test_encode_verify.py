"""`latte encode-latents --verify`: each kind of damage is reported, with exit code 1."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import invoke, succeed
from helpers.small_data import BYTES_A_VIDEO, COUNT, copy_data, encode, videos_of, words

from latte_cli.data.latents import plan as latent_plan
from latte_cli.data.latents.reading import read_meta
from latte_cli.data.latents.shards import shard_files
from latte_cli.video_io import read_video, write_video


@pytest.fixture(autouse=True)
def _two_a_shard(monkeypatch) -> None:
    monkeypatch.setattr(latent_plan, "SHARD_BYTES", 2 * BYTES_A_VIDEO)


@pytest.fixture(scope="module")
def encoded(world, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("encoded")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(latent_plan, "SHARD_BYTES", 2 * BYTES_A_VIDEO)
        encode(copy_data(world, root), f"--out={root / 'l'}")
    return root


@pytest.fixture
def data(encoded, tmp_path) -> Path:
    """A copy of data and latents, to damage."""
    for name in ("data", "l"):
        shutil.copytree(encoded / name, tmp_path / name)
    return tmp_path / "data"


def first_shard() -> Path:
    return Path("l") / json.loads(Path("l/index.jsonl").read_text().splitlines()[0])["shard"]


def change_lines(path: Path, **values: object) -> None:
    """Change the first line of a JSON-lines file."""
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps({**json.loads(first), **values}) + "\n" + "".join(rest))


def problems(data: Path, *more: object) -> str:
    """All problems it reports."""
    result = invoke("--json", *words(data, "--verify", *more))
    said = " ".join(result.stderr.split())
    assert result.exit_code == 1, said
    assert "error: " in said
    assert "hint: " in said
    assert "Traceback" not in said
    return said + "".join(
        f"\n{name}: {message}"
        for name, message in json.loads(result.stdout or "{}").get("problems", {}).items()
    )


def test_intact_latents_pass(data):
    shown = json.loads(succeed("--json", *words(data, "--verify")).stdout)
    assert shown == {"out": "l", "checked": COUNT + COUNT // 2, "problems": {}}
    moved = data.rename(data.with_name("moved"))
    succeed(*words(moved, "--verify"))


def test_all_problems_are_in_the_json(data):
    first, second, *_ = shard_files(Path("l"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    result = invoke("--json", *words(data, "--verify"))
    assert result.exit_code == 1
    found = json.loads(result.stdout)["problems"]
    assert len(found) == 5, "a shard, and two videos of each"
    assert "damaged" in found[second.name]
    assert "and 4 more" in " ".join(result.stderr.split())


def overwritten(path: Path, at: int, value: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + len(value)] = value
    path.write_bytes(content)


def end_changed(path: Path) -> None:
    overwritten(path, path.stat().st_size - 2, b"\x01\x2c")  # 2 ** -4, about


def not_finite(path: Path) -> None:
    overwritten(path, path.stat().st_size - 2, b"\x00\x7c")  # infinity


def header_changed(path: Path) -> None:
    overwritten(path, 30, b"\x00\x00")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def renamed(path: Path) -> None:
    path.rename(path.with_name(f"shard-{'0' * 16}.safetensors"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (end_changed, "video 1 is damaged"),
        (not_finite, "1.std holds numbers that are not finite"),
        (header_changed, "damaged"),
        (truncated, "damaged"),
        (emptied, "damaged"),
        (renamed, "the index has another label, split or place"),
        (Path.unlink, "no shard has its latents"),
    ],
)
def test_damage_to_a_shard_is_found_and_repaired_by_encoding_again(data, damage, message):
    shard = first_shard()
    content = shard.read_bytes()
    damage(shard)
    assert message in problems(data)
    shard.unlink(missing_ok=True)
    encode(data)
    for path in Path("l").glob("shard-0000000000000000*"):
        path.unlink()
        encode(data)
    assert shard.read_bytes() == content
    succeed(*words(data, "--verify"))


def test_a_shard_with_the_name_of_another_is_found(data):
    first, second, *_ = shard_files(Path("l"))
    second.write_bytes(first.read_bytes())
    assert f"{second.name}: its name does not match its content" in problems(data)


def test_shards_of_other_settings_are_found(data):
    encode(data, "--flip", "--out=other")
    other = shard_files(Path("other"))[0]
    other.rename(Path("l") / other.name)
    assert f"{other.name}: encoded with other settings than the others" in problems(data)


def test_the_index_is_compared_with_manifest_and_shards(data):
    index, manifest = Path("l/index.jsonl"), data / "manifest.jsonl"
    lines, rows = index.read_text(), manifest.read_text()
    for path, values, message in (
        (index, {"label": 5}, "another label, split or place"),
        (index, {"position": 1}, "another label, split or place"),
        (manifest, {"split": "test"}, "another label, split or place"),
        (index, {"sha256": "0"}, "not in the index"),
        (manifest, {"sha256": "0"}, "no shard has its latents"),
    ):
        change_lines(path, **values)
        assert message in problems(data), (values, message)
        index.write_text(lines)
        manifest.write_text(rows)
    manifest.write_text("".join(rows.splitlines(keepends=True)[1:]))
    assert "in the index, but not in the manifest" in problems(data)
    manifest.write_text(rows)
    index.write_text("{}\n" + lines)
    assert "index.jsonl: damaged" in problems(data)
    index.write_text(lines + lines.splitlines(keepends=True)[0])
    assert "has 9 lines, meta.json says 8" in problems(data)


def test_settings_and_autoencoder_are_compared_with_the_configuration(data):
    for more, message in (
        (["--size=64"], "size is 32, the configuration says 64"),
        (["--crop=resize-crop"], "crop is crop-resize, the configuration says resize-crop"),
        (["--flip"], "flip is False, the configuration says True"),
    ):
        assert f"meta.json: {message}" in problems(data, *more)
    meta = Path("l/meta.json")
    text = meta.read_text()
    meta.write_text(text.replace(read_meta(Path("l")).vae_fingerprint, "0" * 16))
    assert "another autoencoder than embedded is now" in problems(data)
    meta.write_text(text.replace("000deg", "x"))
    assert "classes are not those of the data set" in problems(data)
    meta.write_text("{")
    assert "meta.json: damaged" in problems(data)
    meta.unlink()
    assert "no latents here" in problems(data)


def test_everything_else_is_checked_without_the_autoencoder(data):
    result = succeed(*words(data, "--verify", "--vae=nobody/nothing"))
    assert "not checked whether these are latents of nobody/nothing" in " ".join(
        result.stderr.split()
    )


def test_changed_and_missing_videos_are_found(data):
    first, second, *_ = videos_of(data)
    content = first.read_bytes()
    write_video(first, read_video(first)[::-1], 8)
    assert f"{first}: changed since it was prepared" in problems(data)
    first.write_bytes(content)
    second.unlink()
    assert f"{second}: no such file" in problems(data)


def test_an_unfinished_encoding_is_found(data):
    Path("l/.encoding").mkdir()
    assert "the encoding is still running, or was killed" in problems(data)
    encode(data)
    succeed(*words(data, "--verify"))
