"""Where weights are looked for, and what of them is believed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.published import expect, write_lpips

from latte_cli.metrics import load_features
from latte_cli.metrics.loading import load_network
from latte_cli.metrics.networks import c3d
from latte_cli.metrics.weights import read_tensors
from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.runtime.weight_files.published import WeightFile, WeightFolders

CONTENT = b"numbers"


@pytest.fixture
def file(tmp_path):
    """A published file; its official place is another folder."""
    import hashlib

    place = tmp_path / "official" / "numbers.bin"
    place.parent.mkdir()
    place.write_bytes(CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    return WeightFile(("numbers.bin", "other/name.bin"), place.as_uri(), len(CONTENT), digest)


def folders(tmp_path: Path, *, download: bool = True, said: list[str] | None = None):
    (tmp_path / "given").mkdir(exist_ok=True)
    say = (said if said is not None else []).append
    return WeightFolders(tmp_path / "given", tmp_path / "cache", download, say)


def write(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_given_folder_comes_before_the_cache(tmp_path, file):
    kept = write(tmp_path / "cache" / "numbers.bin")
    assert folders(tmp_path, download=False).fetch(file) == kept
    given = write(tmp_path / "given" / "other" / "name.bin")
    assert folders(tmp_path, download=False).fetch(file) == given


def test_a_missing_file_is_downloaded_once(tmp_path, file):
    said: list[str] = []
    path = folders(tmp_path, said=said).fetch(file)
    assert path == tmp_path / "cache" / "numbers.bin"
    assert path.read_bytes() == CONTENT
    assert folders(tmp_path, said=said).fetch(file) == path
    assert len(said) == 1
    assert file.url in said[0]


def test_without_downloads_the_hint_names_the_url_and_the_option(tmp_path, file):
    with pytest.raises(
        CheckpointError, match=r"numbers.bin \(0 kB\) is not on this machine"
    ) as refusal:
        folders(tmp_path, download=False).fetch(file)
    assert file.url in refusal.value.hint
    assert "--weights" in refusal.value.hint


def test_a_failed_download_is_an_error(tmp_path, file):
    Path(file.url.removeprefix("file://")).unlink()
    with pytest.raises(CheckpointError, match="cannot be downloaded"):
        folders(tmp_path).fetch(file)
    assert not list((tmp_path / "cache").iterdir())


def test_a_downloaded_file_with_another_checksum_is_not_kept(tmp_path, file):
    write(Path(file.url.removeprefix("file://")), b"NUMBERS")
    with pytest.raises(CheckpointError, match="its sha256 is"):
        folders(tmp_path).fetch(file)
    assert not list((tmp_path / "cache").iterdir())


def test_a_given_file_with_another_checksum_or_size_is_an_error(tmp_path, file):
    write(tmp_path / "given" / "numbers.bin", b"NUMBERS")
    with pytest.raises(CheckpointError, match="its sha256 is"):
        folders(tmp_path).fetch(file)
    write(tmp_path / "given" / "numbers.bin", b"numbers, more of them")
    with pytest.raises(CheckpointError, match="its size in bytes is 21 instead of 7"):
        folders(tmp_path).fetch(file)


def test_without_a_published_checksum_later_copies_must_equal_the_first(tmp_path, file):
    unpinned = WeightFile(file.names, file.url)
    folders(tmp_path).fetch(unpinned)
    write(tmp_path / "given" / "numbers.bin")
    folders(tmp_path).fetch(unpinned)
    write(tmp_path / "given" / "numbers.bin", b"NUMBERS")
    with pytest.raises(CheckpointError, match="not the file used before") as refusal:
        folders(tmp_path).fetch(unpinned)
    assert "numbers.bin.sha256" in refusal.value.hint


def test_the_standard_folders_follow_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = WeightFolders.standard(None, download=True)
    assert (found.given, found.cache) == (None, tmp_path / "latte" / "weights")
    assert not found.download  # the tests' HF_HUB_OFFLINE
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert WeightFolders.standard(None, download=True).download
    assert not WeightFolders.standard(None).download, "not unasked"
    with pytest.raises(CheckpointError, match="no such folder of weights"):
        WeightFolders.standard(tmp_path / "nowhere")


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


def test_code_in_a_pickle_is_not_run(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"weight": Trap()}, path)
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        read_tensors(path)
    assert not Path("sprung").exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_damaged_file_is_an_error(tmp_path, name):
    with pytest.raises(CheckpointError, match=name):
        read_tensors(write(tmp_path / name, b"no tensors at all"))
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no table"):
        read_tensors(tmp_path / "list.pth")


def test_a_damaged_npz_or_one_of_another_network_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.savez(tmp_path / "mean2.npz", mean=np.zeros(c3d.MEAN_SHAPE, np.float32))
    np.savez(tmp_path / "conv3d_deepnetA_ucf.npz", **{"conv1a/W": np.zeros(3, np.float32)})
    with pytest.raises(CheckpointError, match=r"conv1a.bias is missing"):
        load_features("c3d", tmp_path)
    (tmp_path / "cache" / "latte" / "weights" / "mean2.npz.sha256").unlink()
    write(tmp_path / "mean2.npz")
    with pytest.raises(CheckpointError, match=r"mean2.npz: cannot be read"):
        load_features("c3d", tmp_path)


def test_lpips_needs_both_of_its_files(tmp_path, monkeypatch):
    alexnet, channels = write_lpips(tmp_path)
    expect(monkeypatch, "ALEXNET", alexnet)
    channels.unlink()
    with pytest.raises(CheckpointError, match=r"lpips_alex.pth \(6 kB\) is not on this machine"):
        load_network("lpips", WeightFolders(tmp_path, tmp_path / "cache", False))


def test_the_error_for_an_unknown_network_lists_the_known_ones():
    with pytest.raises(ConfigError, match="vgg") as refusal:
        load_features("vgg", None)
    assert "inception" in refusal.value.hint
