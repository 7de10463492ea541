"""Every load pod that the operator follows."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from faultlab.contract.load import LoadStatus
from faultlab.contract.ports import LOCUST_PORT
from faultlab_operator.errors import MemberUnreachable, StorageError

log = logging.getLogger(__name__)

FAST_S: Final = 0.25
SLOW_S: Final = 1.0
IDLE_S: Final = 10.0
"""Between polls of a load that has finished."""
POLL_TIMEOUT_S: Final = 1.0
_decode = msgspec.json.Decoder(LoadStatus).decode


class _Load:
    """One load pod polled until closed."""

    def __init__(
        self, http: aiohttp.ClientSession, name: str, address: str, port: int, on_status: Callable[[], None]
    ) -> None:
        self.name = name
        self.address = address
        self.base = f"http://{f'[{address}]' if ':' in address else address}:{port}"
        self.status: LoadStatus | None = None
        self.reachable = False
        self._http = http
        self._on_status = on_status
        self.hurries = 0
        self.now = asyncio.Event()
        self.task = asyncio.create_task(self._poll(), name=f"load {name}")

    async def _poll(self) -> None:
        while True:
            self.now.clear()
            try:
                timeout = aiohttp.ClientTimeout(total=POLL_TIMEOUT_S)
                async with self._http.get(f"{self.base}/faultlab/status", timeout=timeout) as response:
                    body = await response.read()
                    response.raise_for_status()
                self.status = _decode(body)
                self.reachable = True
            except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError) as error:
                self.reachable = False
                log.debug("load %s: %s", self.name, error or type(error).__name__)
            self._on_status()
            try:
                async with asyncio.timeout(self._interval()):
                    await self.now.wait()
            except TimeoutError:
                continue

    def _interval(self) -> float:
        if self.status is not None and self.status.phase in ("finished", "failed"):
            return IDLE_S
        if self.hurries or self.status is None or self.status.phase in ("starting", "finishing"):
            return FAST_S
        return SLOW_S


class LoadsHub:
    """Follows load pods; the LoadTest reconciler says which (`follow`, `forget`)."""

    def __init__(self, http: aiohttp.ClientSession, *, port: int = LOCUST_PORT) -> None:
        self._http = http
        self._port = port
        self._loads: dict[tuple[str, str], _Load] = {}
        self._listeners: list[Callable[[str, str], None]] = []
        self._closing: set[asyncio.Task[None]] = set()

    def listen(self, listener: Callable[[str, str], None]) -> None:
        """Calls `listener(namespace, name)` after each poll."""
        self._listeners.append(listener)

    def follow(self, namespace: str, name: str, address: str) -> None:
        """Follows the load pod of LoadTest `name` at its pod IP."""
        key = (namespace, name)
        known = self._loads.get(key)
        if known is not None:
            if known.address == address:
                return
            self.forget(namespace, name)
        self._loads[key] = _Load(self._http, name, address, self._port, lambda: self._tell(key))

    def forget(self, namespace: str, name: str) -> None:
        load = self._loads.pop((namespace, name), None)
        if load is not None:
            load.task.cancel()
            self._closing.add(load.task)
            load.task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        for namespace, name in list(self._loads):
            self.forget(namespace, name)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def status(self, namespace: str, name: str) -> LoadStatus | None:
        """The last status that the load pod gave; None before its first answer."""
        load = self._loads.get((namespace, name))
        return None if load is None else load.status

    def reachable(self, namespace: str, name: str) -> bool:
        """Whether the last poll was answered."""
        load = self._loads.get((namespace, name))
        return load is not None and load.reachable

    @contextlib.contextmanager
    def hurried(self, namespace: str, name: str) -> Iterator[None]:
        """While inside, the load is polled every FAST_S. Does nothing for one that is not followed."""
        load = self._loads.get((namespace, name))
        if load is None:
            yield
            return
        load.hurries += 1
        load.now.set()
        try:
            yield
        finally:
            load.hurries -= 1

    async def finish(self, namespace: str, name: str) -> None:
        """Has the load stop, read every key once more and close its history; safe to repeat.

        Raises MemberUnreachable if the load pod does not take the request.
        """
        load = self._at(namespace, name)
        try:
            async with self._http.post(
                f"{load.base}/faultlab/finish", timeout=aiohttp.ClientTimeout(total=5)
            ) as response:
                if response.status >= 300:
                    raise MemberUnreachable(f"load {name} answered {response.status} to finish")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise MemberUnreachable(f"load {name}: finish: {error or type(error).__name__}") from error
        load.now.set()

    async def fetch_history(
        self, namespace: str, name: str, path: Path, *, longest: int, timeout_s: float = 60
    ) -> int:
        """Writes the history as it is now to `path`, and says how many bytes.

        Raises MemberUnreachable if it cannot be had whole, StorageError if it is longer than `longest`
        bytes or the disk is full; `path` is then not touched.
        """
        load = self._at(namespace, name)
        partial = path.with_name(path.name + ".partial")
        size = 0
        try:
            async with self._http.get(
                f"{load.base}/faultlab/history", timeout=aiohttp.ClientTimeout(total=timeout_s)
            ) as response:
                response.raise_for_status()
                with _on_disk():
                    out = partial.open("wb", buffering=0)
                with out:
                    async for chunk in response.content.iter_chunked(256 * 1024):
                        size += len(chunk)
                        if size > longest:
                            raise StorageError(
                                f"the history is longer than {longest} bytes: use a shorter run or a lower "
                                "rate, or raise FAULTLAB_KEEP_BYTES, half of which one history may take"
                            )
                        with _on_disk():
                            _write_whole(out, chunk)
            with _on_disk():
                partial.replace(path)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise MemberUnreachable(f"load {name}: history: {error or type(error).__name__}") from error
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        return size

    def _at(self, namespace: str, name: str) -> _Load:
        load = self._loads.get((namespace, name))
        if load is None:
            raise MemberUnreachable(f"load {namespace}/{name} has no running pod")
        return load

    def _tell(self, key: tuple[str, str]) -> None:
        for listener in self._listeners:
            listener(*key)


@contextlib.contextmanager
def _on_disk() -> Iterator[None]:
    """Tells errors of the operator's own disk from those of the connection, which is tried again."""
    try:
        yield
    except OSError as error:
        raise StorageError.after(error, "the history could not be kept") from error


def _write_whole(out: FileIO, chunk: bytes) -> None:
    """Unbuffered, so that what a full disk did not take is noticed here and not when the file is closed."""
    left = memoryview(chunk)
    while left:
        left = left[out.write(left) :]
