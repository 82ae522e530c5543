"""Work on the nodes of a Ray cluster."""

from collections.abc import Generator, Iterable

from latte_cli.runtime.engines.engine import ANYWHERE, Advance, Answer, Item, Place, Work
from latte_cli.runtime.engines.ray_cluster import Need, capacity, cpus_beside, live_nodes
from latte_cli.runtime.engines.ray_pool import Pool
from latte_cli.runtime.errors import EngineError
from latte_cli.runtime.signals import hold_signals


class RayEngine:
    """Does work on the cluster that this process is connected to.

    Args:
        gpus_per_worker: may be a fraction; None: one, if the cluster has any.
    """

    def __init__(self, gpus_per_worker: float | None) -> None:
        if gpus_per_worker is None:
            gpus_per_worker = float(any(node.get("GPU", 0.0) >= 1 for node in live_nodes()))
        self._gpus = gpus_per_worker

    def processes(self, asked: int | None, most: int) -> int:
        """See `Engine`: the CPUs of a node for each of its GPUs; without GPUs, one."""
        return asked or cpus_beside(self._gpus, most)

    def run(
        self,
        work: Work[Item, Answer],
        items: Iterable[Item],
        advance: Advance,
        place: Place = ANYWHERE,
    ) -> Generator[tuple[Item, Answer], None, None]:
        """See `Engine`.

        Raises:
            EngineError: if no node is large enough, or several workers died over one item.
        """
        need = Need(place.cpus, self._gpus)
        if not capacity(need):
            raise EngineError(
                f"no node of the cluster has {need}",
                hint="fewer --workers or --gpus-per-worker; `ray status` shows what there is",
            )
        pool = Pool(work, items, need, place.paths)
        try:
            for reply in pool.replies():
                if reply.advanced:
                    advance(reply.advanced)
                for number, answer in reply.answers:
                    yield pool.taken.pop(number).item, answer
                if reply.error is not None:
                    raise reply.error
        except BaseException:
            with hold_signals():
                pool.stop()
            raise
