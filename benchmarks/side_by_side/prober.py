"""Small writes to every member at once, one under way on each, to see when a cluster can write and when not.

The same for each system: plain sockets, a request that is answered or given up after a tenth of a second
(then on a new connection), a pause of 2 ms after a refusal. So what is measured is the cluster's gap and
not a client's patience.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import msgspec

from .cluster import Cluster
from .processes import BenchmarkError

_ATTEMPT_S = 0.1
_PAUSE_S = 0.002
_STEADY_SUCCESSES = 20
_STEADY_S = 15.0
_MAX_REPLY_BYTES = 64 * 1024


class Success(msgspec.Struct, frozen=True):
    """One acknowledged write, in monotonic seconds."""

    sent_s: float
    done_s: float


class Prober:
    """Writes to `members` of a cluster until it is left; an asynchronous context manager."""

    def __init__(self, cluster: Cluster, members: Sequence[int]) -> None:
        self._cluster = cluster
        self._members = members
        self.successes: list[Success] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Prober":
        self._tasks = [asyncio.create_task(self._write(index)) for index in self._members]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def steady(self) -> None:
        """Waits until writes go through one after the other."""
        await self._until(lambda: len(self.successes) >= _STEADY_SUCCESSES, _STEADY_S, "steady writes")

    async def first_after(self, at_s: float, timeout_s: float) -> Success:
        """The write acknowledged first of those sent after `at_s`."""

        def found() -> bool:
            return any(success.sent_s >= at_s for success in reversed(self.successes))

        await self._until(found, timeout_s, "a write after the fault")
        return min((s for s in self.successes if s.sent_s >= at_s), key=lambda success: success.done_s)

    def longest_gap_s(self, since_s: float) -> float:
        """The longest time without any acknowledgement, from the last one before `since_s` on."""
        times = sorted(success.done_s for success in self.successes)
        before = max((at for at in times if at <= since_s), default=since_s)
        times = [before, *(at for at in times if at > since_s)]
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    async def _until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            for task in self._tasks:
                if task.done():
                    await task
            if time.monotonic() > deadline:
                raise BenchmarkError(
                    f"{what} did not come within {timeout_s:.0f} s on {self._cluster.system}"
                )
            await asyncio.sleep(0.001)

    async def _write(self, index: int) -> None:
        request = self._cluster.put_request(index)
        host, port = self._cluster.client_address(index)
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_ATTEMPT_S):
                    reader, writer = await asyncio.open_connection(host, port)
                try:
                    await self._write_on(reader, writer, request)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(_PAUSE_S)

    async def _write_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> None:
        """Until the connection fails or a request is not answered in time."""
        while True:
            sent_s = time.monotonic()
            writer.write(request)
            reply = b""
            async with asyncio.timeout(_ATTEMPT_S):
                while (done := self._cluster.is_done(reply)) is None:
                    chunk = await reader.read(_MAX_REPLY_BYTES)
                    if not chunk:
                        raise ConnectionResetError
                    reply += chunk
            if done:
                self.successes.append(Success(sent_s, time.monotonic()))
            else:
                await asyncio.sleep(_PAUSE_S)


async def in_thread(work: Callable[[], float]) -> float:
    """Runs what blocks beside the probes; gives its result."""
    with ThreadPoolExecutor(1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, work)
