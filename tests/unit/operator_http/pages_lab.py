"""The operator's HTTP servers on loopback, over a cache that tests fill and a store in a folder."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from faultlab.contract.load import LoadStatus, LoadWindow
from faultlab.contract.member import RaftStatus
from faultlab.contract.run import MemberView, RunSummary
from faultlab_operator.core import Cache, Services, Settings, SystemClock
from faultlab_operator.http.server import start
from faultlab_operator.scenario.store import RunStore
from faultlab_operator.scenario.times import format_time

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class FakeHub:
    """Members and loads at once; at first nobody answers."""

    def __init__(self) -> None:
        self._members: dict[str, MemberView] = {}
        self._load: LoadStatus | None = None

    def lead(self, member: str, *, term: int) -> None:
        """The member says that it leads."""
        status = RaftStatus(
            system="raft", cluster="demo", member=member, role="leader", term=term, leader=member,
            commit_index=1, applied_index=1, last_index=1, peers={}, version="1",
            started_at=format_time(NOW), ready=True,
        )  # fmt: skip
        self._members[member] = MemberView(member, True, status)

    def load(self, *, ok: int) -> None:
        """The load says that it had so many answers in the last second."""
        window = LoadWindow(ok, ok, ok, 0, 0, 1.0, 2.0)
        self._load = LoadStatus("demo", "running", ok, 0, 0, 0, 20, window, 0, format_time(NOW), 0)

    def statuses(self, _namespace: str, _name: str) -> dict[str, MemberView]:
        return self._members

    def status(self, _namespace: str, _name: str) -> LoadStatus | None:
        return self._load


@dataclass
class Lab:
    """What a test turns."""

    services: Services
    store: RunStore
    unready: str | None = None
    hub: FakeHub = field(default_factory=FakeHub)

    @property
    def cache(self) -> Cache:
        return self.services.cache

    def scenario(self, name: str, uid: str, phase: str | None = "Fault", **status: Any) -> None:
        self.cache.put(scenario(name, uid, phase, **status))

    def keep(self, name: str, uid: str, *, minutes: float = 0, size: int = 100, **said: Any) -> Path:
        """A run that began `minutes` after NOW, with a file of this size; over unless `ended_at` is None."""
        began = NOW + timedelta(minutes=minutes)
        summary = RunSummary("lab", name, uid, format_time(began), title=f"Run {uid}")
        path = self.store.open(summary)
        (path / "history.ndjson").write_bytes(b"x" * size)
        defaults = {
            "phase": "Done",
            "verdict": "Pass",
            "ended_at": format_time(began + timedelta(seconds=30)),
        }
        stored = self.store.by_uid(uid)
        assert stored is not None
        self.store.settle(stored, msgspec.structs.replace(summary, **{**defaults, **said}))
        return path


def scenario(name: str, uid: str, phase: str | None, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "faultlab.dev/v1alpha1",
        "kind": "Scenario",
        "metadata": {"name": name, "namespace": "lab", "uid": uid, "resourceVersion": uid},
        "spec": {
            "title": status.pop("title", "A <b>title</b>"),
            "systems": [{"kind": "RaftCluster", "metadata": {"name": "demo"}}],
            "load": {"system": {"kind": "RaftCluster", "name": "demo"}},
            "expect": [{"check": "linearizable"}],
        },
        "status": {"phase": phase, **status},
    }


def make_lab(data_dir: Path, **settings: Any) -> Lab:
    hub = FakeHub()
    services = Services(
        settings=Settings(data_dir=data_dir, http_port=0, locust_port=0, **settings),
        clock=SystemClock(),
        cache=Cache(),
        kube=None,  # type: ignore[arg-type]
        members=hub,  # type: ignore[arg-type]
        loads=hub,  # type: ignore[arg-type]
        http=None,  # type: ignore[arg-type]
        wake=lambda _key, _after: None,
    )
    return Lab(services, RunStore(data_dir), hub=hub)


@asynccontextmanager
async def serving(lab: Lab) -> AsyncIterator[tuple[aiohttp.ClientSession, aiohttp.ClientSession]]:
    """Clients of the pages and of the loads' port; redirects are up to the test."""
    pages = await start(lab.services, lab.store, lambda: lab.unready)
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{pages.port}") as page,
        aiohttp.ClientSession(f"http://127.0.0.1:{pages.locust_port}") as loads,
    ):
        yield page, loads
    await pages.close()


async def until(true: Callable[[], Awaitable[Any]], within_s: float = 20.0) -> Any:
    """What `true()` gives once it is truthy; fails when it is not in time."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        value = await true()
        if value:
            return value
        assert asyncio.get_running_loop().time() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.02)
