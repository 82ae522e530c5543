"""A Ray cluster of this machine alone, with two workers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def running_ray(request: pytest.FixtureRequest) -> Iterator[None]:
    """Started once for the tests of a module; its processes compute with one thread each."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    paths = [str(TESTS.parent), str(TESTS), str(request.path.parent)]
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=100 << 20,
        _system_config={"worker_niceness": 0},  # else a busy machine leaves them no time
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}},
    )
    yield
    ray.shutdown()
