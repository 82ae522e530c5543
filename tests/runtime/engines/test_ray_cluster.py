"""Clusters that cannot be used are told in words, before any work begins."""

import sys

import pytest
from conftest import fail

from latte_cli.runtime.engines import ray_cluster
from latte_cli.runtime.engines.ray_cluster import Need

WORDS = "prepare", "folder", "--source=.", "--out=d"


def test_engines_that_are_none_are_refused():
    assert "no engine named `spark` hint: known: local, ray" in fail(*WORDS, "--engine=spark")


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    said = fail(*WORDS, "--engine=ray")
    assert "--engine ray needs Ray" in said
    assert "pip install 'latte-cli[ray]'" in said


def test_options_without_effect_are_refused(monkeypatch):
    words = "eval", "--preset=shapes", "--gpus-per-worker=1"
    assert "--gpus-per-worker is for --engine ray" in fail(*words)
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "0"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert "2 processes of torchrun would all do so" in fail(*WORDS, "--engine=ray")


@pytest.mark.ray
@pytest.mark.parametrize("address", ["", "host:port", "host:0", "a:99999"])
def test_addresses_that_are_none(address):
    pytest.importorskip("ray")
    assert f"`ray://{address}` is no address" in fail(*WORDS, f"--engine=ray://{address}")


@pytest.mark.ray
def test_nobody_listens(monkeypatch):
    pytest.importorskip("ray")
    said = fail(*WORDS, "--engine=ray://127.0.0.1:9")
    assert "no Ray cluster at ray://127.0.0.1:9: connection refused" in said
    assert "ray start --head" in said
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert "no Ray cluster at 127.0.0.1:9" in fail(*WORDS, "--engine=ray")


@pytest.mark.ray
@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (RuntimeError("Version mismatch: The cluster was started with Ray: 2.9"), "Ray: 2.9"),
        (ConnectionError("ray client connection timeout"), "connection timeout"),
        (SystemExit(15), "no Ray cluster at this machine"),
        (ImportError("Ray Client requires grpcio"), "pip install 'latte-cli[ray]'"),
    ],
)
def test_what_ray_raises_is_told(monkeypatch, raised, told):
    ray = pytest.importorskip("ray")

    def init(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(ray, "init", init)
    assert told in fail(*WORDS, "--engine=ray")


def test_workers_fill_nodes(monkeypatch):
    nodes = [{"CPU": 64.0, "GPU": 8.0}, {"CPU": 7.0}, {"CPU": 16.0, "GPU": 1.0}]
    monkeypatch.setattr(ray_cluster, "live_nodes", lambda: nodes)
    assert ray_cluster.capacity(Need(1, 0.0)) == 64 + 7 + 16
    assert ray_cluster.capacity(Need(8, 1.0)) == 8 + 1
    assert ray_cluster.capacity(Need(4, 0.5)) == 16 + 2
    assert ray_cluster.capacity(Need(1, 0.1)) == 64 + 10, "fractions are not cut off by rounding"
    assert ray_cluster.cpus_beside(1.0, 8) == 8
    assert ray_cluster.cpus_beside(0.25, 8) == 2
    assert ray_cluster.cpus_beside(0.0, 8) == 1
    assert ray_cluster.described() == "3 nodes with 87 CPUs and 9 GPUs"
