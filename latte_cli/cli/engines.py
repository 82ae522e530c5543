"""Options that say where the work of a command is done."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated

from latte_cli.cli.options import SPEED, option
from latte_cli.cli.setup import completion
from latte_cli.runtime.distributed import world_size
from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.runtime.console import Console
    from latte_cli.runtime.engines.engine import Engine

LOCAL = "local"
_RAY = "ray"
_ADDRESS = "ray://"

EngineName = Annotated[
    str,
    option(
        SPEED,
        "Do the work here (local), or on the nodes of a Ray cluster: the one at RAY_ADDRESS or of "
        "this machine (ray), or the one at ray://HOST:PORT.",
        "--engine",
        metavar="NAME",
        autocompletion=completion.choices(LOCAL, _RAY),
    ),
]
GpusPerWorker = Annotated[
    float | None,
    option(
        SPEED,
        "Give each worker of Ray this many GPUs, such as 0.5; by default one if there is any.",
        min=0,
        metavar="X",
    ),
]


def engine_of(
    name: str,
    console: "Console",
    gpus_per_worker: float | None = None,
    *,
    on_cpus: bool = False,
) -> AbstractContextManager["Engine"]:
    """The engine of a name; a cluster is reached when the `with` begins.

    Reaching one takes seconds: a command asks for its engine first, so that a wrong name is told
    at once, and enters it when it has checked all else.

    Args:
        name: `local`, `ray` or `ray://HOST:PORT`.
        console: says what the cluster has.
        gpus_per_worker: for Ray; None: not given.
        on_cpus: whether the work needs no GPUs.

    Raises:
        ConfigError: if there is no such engine, or an option has no effect on it.
        EngineError: at the `with`, if the cluster cannot be reached.
    """
    if name == LOCAL:
        if gpus_per_worker is not None:
            raise ConfigError(
                "--gpus-per-worker is for --engine ray", hint="leave --gpus-per-worker out"
            )
        from latte_cli.runtime.engines import engine

        return nullcontext(engine.LOCAL)
    if name != _RAY and not name.startswith(_ADDRESS):
        raise ConfigError(
            f"no engine named `{name}`", hint=f"known: {LOCAL}, {_RAY}, {_ADDRESS}HOST:PORT"
        )
    if world_size() > 1:
        raise ConfigError(
            f"--engine {name} shares out the work by itself, and {world_size()} processes of "
            "torchrun would all do so",
            hint="start the command once, without torchrun",
        )
    address = name.removeprefix(_ADDRESS) if name != _RAY else None
    return _on_ray(address, console, 0.0 if on_cpus else gpus_per_worker)


@contextmanager
def _on_ray(
    address: str | None, console: "Console", gpus_per_worker: float | None
) -> Iterator["Engine"]:
    """Ray's engine, connected to its cluster as long as the `with` lasts."""
    from latte_cli.runtime.engines.ray_cluster import connected, described
    from latte_cli.runtime.engines.ray_engine import RayEngine

    with connected(address):
        console.info(f"on a Ray cluster of {described()}")
        yield RayEngine(gpus_per_worker)
