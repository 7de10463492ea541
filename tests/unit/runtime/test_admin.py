"""The admin port's answers, and event streams that can be taken up again."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

import aiohttp
import msgspec
import pytest

from faultlab.runtime import admin as admin_module
from faultlab.runtime.admin import Action, AdminServer
from faultlab.runtime.events import EventRing


class Note(msgspec.Struct):
    id: int
    text: str


class Subject:
    incarnation = "now"
    proof: str | None = None

    def __init__(self) -> None:
        self.done: list[bytes] = []
        self.actions: Mapping[str, Action] = {"/act": self.act}
        self.events: EventRing[Note] = EventRing()
        self.reason: str | None = "no leader is known"

    def note(self, text: str) -> None:
        self.events.add(Note(self.events.next_id, text))

    def status(self) -> msgspec.Struct:
        return Note(0, "status")

    def not_ready(self) -> str | None:
        return self.reason

    async def metrics(self) -> bytes:
        return b"up 1\n"

    async def act(self, body: bytes) -> tuple[int, msgspec.Struct]:
        if not body:
            raise ValueError("say what to do")
        self.done.append(body)
        return 202, Note(0, body.decode())


class World:
    def __init__(self, subject: Subject, session: aiohttp.ClientSession) -> None:
        self.subject, self.session = subject, session

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(path) as response:
            return response.status, await response.text()

    async def stream(
        self, path: str, count: int, headers: dict[str, str] | None = None
    ) -> list[tuple[int, str]]:
        """The first `count` events: (id, text)."""
        found: list[tuple[int, str]] = []
        async with asyncio.timeout(5), self.session.get(path, headers=headers) as response:
            assert response.content_type == "text/event-stream"
            number = 0
            async for line in response.content:
                if line.startswith(b"id: "):
                    number = int(line[4:])
                elif line.startswith(b"data: "):
                    found.append((number, json.loads(line[6:])["text"]))
                    if len(found) == count:
                        break
        return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    subject = Subject()
    server = AdminServer(subject)
    await server.start("127.0.0.1", 0)
    assert server._runner is not None
    host, port = server._runner.addresses[0][:2]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
        yield World(subject, session)
    await server.stop()


async def test_an_action_takes_the_body_and_gives_status_and_document(world: World) -> None:
    async with world.session.post("/act", data=b"go") as response:
        assert (response.status, (await response.json())["text"]) == (202, "go")
    async with world.session.post("/act", data=b"") as response:
        assert (response.status, (await response.json())["error"]) == (400, "say what to do")
    assert world.subject.done == [b"go"]


@pytest.mark.parametrize("given", [None, "", "ab", "abc", "ABCD", "\u00e4bcd"])
async def test_an_action_without_the_proof_is_forbidden_and_not_done(world: World, given: str | None) -> None:
    world.subject.proof = "abcd"
    headers = {} if given is None else {admin_module.KEY_HEADER: given}
    async with world.session.post("/act", data=b"go", headers=headers) as response:
        assert response.status == 403
    assert world.subject.done == []
    async with world.session.post("/act", data=b"go", headers={admin_module.KEY_HEADER: "abcd"}) as response:
        assert response.status == 202


async def test_health_does_not_depend_on_readiness(world: World) -> None:
    assert (await world.get("/healthz"))[0] == 200
    assert await world.get("/readyz") == (503, "no leader is known\n")
    world.subject.reason = None
    assert (await world.get("/readyz"))[0] == 200


async def test_status_and_metrics_are_served(world: World) -> None:
    assert json.loads((await world.get("/status"))[1]) == {"id": 0, "text": "status"}
    assert await world.get("/metrics") == (200, "up 1\n")


async def test_an_unknown_path_is_a_json_404(world: World) -> None:
    status, body = await world.get("/nope")
    assert status == 404
    assert "error" in json.loads(body)


async def test_events_are_resumed_by_header_or_query(world: World) -> None:
    for text in "abcd":
        world.subject.note(text)
    assert await world.stream("/events", 4) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert await world.stream("/events?after=2", 2) == [(3, "c"), (4, "d")]
    assert await world.stream("/events", 1, {"Last-Event-ID": "3"}) == [(4, "d")]


async def test_an_open_stream_gets_what_comes_later(world: World) -> None:
    stream = asyncio.create_task(world.stream("/events", 3))
    for text in "xyz":
        await asyncio.sleep(0.01)
        world.subject.note(text)
    assert await stream == [(1, "x"), (2, "y"), (3, "z")]


async def test_a_position_in_an_earlier_process_starts_over(world: World) -> None:
    world.subject.note("a")
    assert await world.stream("/events?after=5000", 1) == [(1, "a")]
    assert await world.stream("/events?after=1&incarnation=before", 1) == [(1, "a")]


async def test_a_position_that_is_no_id_is_refused(world: World) -> None:
    status, body = await world.get("/events?after=soon")
    assert status == 400
    assert "soon" in body


async def test_streams_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_module, "MAX_WATCHERS", 1)
    async with world.session.get("/events") as first:
        assert first.status == 200
        assert (await world.get("/events"))[0] == 503


async def test_stopping_ends_open_streams_quickly() -> None:
    server = AdminServer(Subject())
    await server.start("127.0.0.1", 0)
    assert server._runner is not None
    host, port = server._runner.addresses[0][:2]
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/events") as response:
        async with asyncio.timeout(1):
            await server.stop()
            assert await response.content.read() == b""
