"""What the operator's parts are tried against: members that are HTTP servers of the test's own, and
the embedded API served on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from faultlab.contract.member import (
    ConfigurationStatus,
    MemberEvent,
    MemberIdentity,
    PeerProgress,
    RaftStatus,
)


async def until(true: Callable[[], Any], within_s: float = 10.0) -> Any:
    """What `true()` gives once it is truthy; fails when it is not in time."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        value = true()
        if value:
            return value
        assert asyncio.get_running_loop().time() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.01)


def configured(index: int, voters: Sequence[str], **groups: Sequence[str]) -> ConfigurationStatus:
    """A configuration by the members' ids."""

    def members(ids: Sequence[str]) -> tuple[MemberIdentity, ...]:
        return tuple(MemberIdentity(each.partition("#")[0], each) for each in ids)

    return ConfigurationStatus(
        index, members(voters), members(groups.get("outgoing", ())), members(groups.get("learners", ()))
    )


class FakeMember:
    """A member's admin port as its contract says, with switches to break it."""

    def __init__(self, name: str, address: str, port: int) -> None:
        self.configuration: ConfigurationStatus | None = None
        self.take_order: Callable[[str, bytes], tuple[int, Any]] = lambda _path, _body: (404, {})
        """What a POST does; the answer's status and document."""
        self.proofs: list[str | None] = []
        self.name, self.address, self.port = name, address, port
        self.role, self.term, self.leader, self.ready = "follower", 1, None, True
        self.peers: dict[str, PeerProgress] = {}
        self.commit_index = 1
        self.incarnation = 0
        self.events: list[MemberEvent] = []
        self.asked_after: list[str | None] = []
        self.polls = 0
        self._changed = asyncio.Event()
        self._streams: set[asyncio.WriteTransport] = set()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """A new process: ids begin again."""
        self.incarnation += 1
        self.events = []
        self.say("Started")
        app = web.Application()
        app.add_routes([web.get("/status", self._status), web.get("/events", self._stream)])
        app.add_routes([web.post("/membership", self._order), web.post("/transfer", self._order)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address, self.port, reuse_address=True).start()

    async def stop(self) -> None:
        if self._runner is not None:
            self.break_streams()
            await self._runner.cleanup()
            self._runner = None

    def say(self, kind: str, **fields: Any) -> MemberEvent:
        event = MemberEvent(
            id=len(self.events) + 1,
            member=self.name,
            type=kind,  # type: ignore[arg-type]
            term=fields.pop("term", self.term),
            wall_time=fields.pop("wall_time", "2100-01-01T00:00:00.000000Z"),
            monotonic_ns=0,
            incarnation=f"{self.name}-{self.incarnation}",
            **fields,
        )
        self.events.append(event)
        self._changed.set()
        return event

    def break_streams(self) -> None:
        for transport in list(self._streams):
            transport.abort()

    async def _status(self, _request: web.Request) -> web.Response:
        self.polls += 1
        status = RaftStatus(
            system="raft",
            cluster="demo",
            member=self.name,
            role=self.role,  # type: ignore[arg-type]
            term=self.term,
            leader=self.leader,
            commit_index=self.commit_index,
            applied_index=self.commit_index,
            last_index=self.commit_index,
            peers=self.peers,
            version="test",
            started_at=f"2026-01-01T00:00:{self.incarnation:02}Z",
            ready=self.ready,
            configuration=self.configuration,
        )
        return web.Response(body=msgspec.json.encode(status), content_type="application/json")

    async def _order(self, request: web.Request) -> web.Response:
        self.proofs.append(request.headers.get("X-Faultlab-Key"))
        status, answer = self.take_order(request.path, await request.read())
        return web.Response(status=status, body=msgspec.json.encode(answer), content_type="application/json")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID")
        self.asked_after.append(last)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        transport = request.transport
        assert isinstance(transport, asyncio.WriteTransport)
        self._streams.add(transport)
        sent = int(last or 0)
        try:
            while True:
                self._changed.clear()
                for event in self.events[sent:]:
                    data = msgspec.json.encode(event)
                    await response.write(b"id: %d\ndata: %s\n\n" % (event.id, data))
                    sent = event.id
                await self._changed.wait()
        except (ConnectionError, OSError):
            return response
        finally:
            self._streams.discard(transport)


@asynccontextmanager
async def started(count: int) -> AsyncIterator[list[FakeMember]]:
    """Members on addresses of their own and one port, as pods are."""
    with socket.create_server(("127.77.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    made = [FakeMember(f"demo-{index}", f"127.77.0.{index + 1}", port) for index in range(count)]
    for member in made:
        await member.start()
    yield made
    for member in made:
        await member.stop()


@pytest.fixture
async def members() -> AsyncIterator[list[FakeMember]]:
    """Three members, which are a cluster's voters."""
    async with started(3) as made:
        for member in made:
            member.configuration = configured(0, [each.name for each in made])
        yield made


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(name="until")
def _until() -> Callable[..., Any]:
    return until
