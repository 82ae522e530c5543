"""CPUs that a process may use, by affinity and quota, and what OpenMP is told."""

import os
import subprocess
import sys

import pytest

from latte_cli.runtime import cpus


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Empty control groups, of a process on sixteen CPUs; writes files into them by path."""

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.setattr(cpus, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cpus, "_OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(cpus, "_CPUS", tmp_path / "cpus")
    monkeypatch.setattr(cpus, "_affinity", lambda: set(range(16)))
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    cpus.usable_cpus.cache_clear()
    cpus.compute_threads.cache_clear()
    yield write
    cpus.usable_cpus.cache_clear()
    cpus.compute_threads.cache_clear()


def test_without_a_quota_all_cpus_of_the_affinity_are_usable(groups):
    groups(cgroup__cpu_DOT_max="max 100000\n")
    assert cpus.usable_cpus() == cpus.compute_threads() == 16


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cgroup__cpu_DOT_max": "200000 100000\n"}, 2),
        ({"cgroup__cpu_DOT_max": "150000 100000\n"}, 2),
        ({"cgroup__cpu_DOT_max": "1000 100000\n"}, 1),
        ({"cgroup__cpu_DOT_max": "9900000 100000\n"}, 16),
        ({"own": "0::/a/b\n", "cgroup__a__b__cpu_DOT_max": "400000 100000\n"}, 4),
        ({"own": "0::/a/b\n", "cgroup__a__cpu_DOT_max": "300000 100000\n"}, 3),
        (
            {
                "own": "0::/a/b\n",
                "cgroup__a__cpu_DOT_max": "300000 100000\n",
                "cgroup__a__b__cpu_DOT_max": "800000 100000\n",
            },
            3,
        ),
        (
            {
                "cgroup__cpu__cpu_DOT_cfs_quota_us": "250000\n",
                "cgroup__cpu__cpu_DOT_cfs_period_us": "50000\n",
            },
            5,
        ),
        (
            {
                "own": "4:cpu,cpuacct:/docker/x\n",
                "cgroup__cpu,cpuacct__docker__x__cpu_DOT_cfs_quota_us": "200000\n",
                "cgroup__cpu,cpuacct__docker__x__cpu_DOT_cfs_period_us": "100000\n",
            },
            2,
        ),
        (
            {
                "cgroup__cpu__cpu_DOT_cfs_quota_us": "-1\n",
                "cgroup__cpu__cpu_DOT_cfs_period_us": "100000\n",
            },
            16,
        ),
        ({"own": "3:cpuset:/\n", "cgroup__cpu_DOT_max": "damaged"}, 16),
    ],
)
def test_a_quota_limits_the_usable_cpus(groups, files, expected):
    groups(**files)
    assert cpus.usable_cpus() == cpus.compute_threads() == expected


def test_two_hyperthreads_of_a_core_get_one_thread_of_arithmetic(groups):
    for cpu in range(16):
        path = f"cpus__cpu{cpu}__topology__thread_siblings_list"
        groups(**{path: f"{cpu % 8},{cpu % 8 + 8}\n"})
    assert cpus.usable_cpus() == 16
    assert cpus.compute_threads() == 8


def test_cpus_are_shared_among_the_processes_of_a_node(groups, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert cpus.cpu_share(8) == 4
    assert cpus.cpu_share(2) == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
    assert cpus.cpu_share(8) == 1


def test_defaults_are_set_and_the_users_own_settings_stay(groups):
    environment: dict[str, str] = {}
    cpus.set_thread_defaults(environment)
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["GOMP_SPINCOUNT"] == "1000"
    assert environment["OMP_NUM_THREADS"] == "16"
    own = {"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "5"}
    cpus.set_thread_defaults(environment := dict(own))
    assert environment == own
    cpus.set_thread_defaults(environment := {"GOMP_SPINCOUNT": "1000"})
    assert "OMP_WAIT_POLICY" not in environment


def test_children_compute_with_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with cpus.one_thread_for_children():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_the_command_line_sets_the_defaults_before_torch_is_imported():
    script = (
        "import os, sys; sys.argv = ['latte', 'presets', 'shapes', '--quiet']\n"
        "from latte_cli.cli import main\n"
        "try: main()\n"
        "finally:\n"
        " assert 'torch' not in sys.modules\n"
        " print(os.environ['OMP_WAIT_POLICY'], os.environ['OMP_NUM_THREADS'], file=sys.stderr)"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP", "GOMP"))}
    shown = subprocess.run(
        [sys.executable, "-c", script], env=clean, capture_output=True, text=True, check=True
    )
    assert shown.stderr.split() == ["PASSIVE", str(cpus.compute_threads())]
