"""Threads that enter pods' networks, several at once, so that a cut of many pods is quick and close together.

Closing a netlink socket after a transaction that removed something makes the kernel wait for a grace period
(some 10 ms, nf_tables' `rcu_barrier`). Nobody has to wait for that: the result is handed over as soon as the
transaction is in force, and the thread closes and comes home afterwards.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from faultlab_chaos.injectors import nftables
from faultlab_chaos.injectors.namespaces import NetworkNamespace
from faultlab_chaos.injectors.partition import Partitions

T = TypeVar("T")
_THREADS: Final = 8


class PodWorkers:
    """A pool; further work waits for a free thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, "pods")

    def start(self, namespace: NetworkNamespace, work: Callable[[Partitions], T]) -> Future[T]:
        """Runs `work` inside. The namespace may be closed once the future is done."""
        result: Future[T] = Future()

        def inside() -> None:
            with nftables.kernel() as kernel:
                result.set_result(work(Partitions(kernel)))

        def run() -> None:
            try:
                namespace.run(inside)
            except Exception as error:
                if result.done():
                    raise  # The closing failed, not the work: nobody waits, the pool keeps it.
                result.set_exception(error)

        self._pool.submit(run)
        return result

    def run(self, namespace: NetworkNamespace, work: Callable[[Partitions], T]) -> T:
        """As `start`, and waits. Raises NamespaceRefused or what `work` raises."""
        return self.start(namespace, work).result()

    def shutdown(self) -> None:
        """Waits until every socket is closed."""
        self._pool.shutdown()
