"""Order, overlap and bounds on one client connection, against a handler that answers when told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import hiredis
import pytest

from faultlab.runtime.resp import connection as connection_module
from faultlab.runtime.resp.handler import CommandSpec, Kind, Slot
from faultlab.runtime.resp.server import RespServer


class Recorder:
    """Keeps requests until the test answers them."""

    commands: Mapping[str, CommandSpec] = {
        "GET": CommandSpec("GET", 2, Kind.READ, "reads"),
        "SET": CommandSpec("SET", -3, Kind.WRITE, "writes"),
    }

    def __init__(self) -> None:
        self.open: list[tuple[Kind, bytes, Slot]] = []
        self.automatic = False

    def prepare(self, _spec: CommandSpec, args: list[bytes], _user: str) -> bytes | str:
        return "-ERR refused" if args[1] == b"bad" else b" ".join(args)

    def unwrap(self, spec: CommandSpec, args: list[bytes]) -> tuple[CommandSpec, list[bytes]] | str:
        return spec, args

    def submit(self, kind: Kind, command: bytes, slot: Slot) -> None:
        if self.automatic:
            slot.resolve(command, "demo-0", 3)
        else:
            self.open.append((kind, command, slot))

    def info(self) -> dict[str, dict[str, object]]:
        return {"Raft": {"term": 3}}


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._parser = hiredis.Reader()

    def send(self, *args: bytes) -> None:
        self.writer.write(hiredis.pack_command(args))

    async def reply(self) -> object:
        while (reply := self._parser.gets()) is False:
            data = await asyncio.wait_for(self.reader.read(65536), 5)
            assert data, "connection closed"
            self._parser.feed(data)
        return reply

    async def ask(self, *args: bytes) -> object:
        self.send(*args)
        return await self.reply()


async def until(condition: object, deadline_s: float = 5) -> None:
    assert callable(condition)
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.001)


class World:
    def __init__(self, server: RespServer, handler: Recorder, port: int) -> None:
        self.server, self.handler, self.port = server, handler, port
        self.clients: list[Client] = []

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client


@pytest.fixture
async def world() -> AsyncIterator[World]:
    handler = Recorder()
    server = RespServer(handler, software="test", version="1", max_connections=5)
    await server.start("127.0.0.1", 0)
    assert server._server is not None
    made = World(server, handler, server._server.sockets[0].getsockname()[1])
    yield made
    server.stop()
    for client in made.clients:
        client.writer.close()


async def test_replies_come_in_the_order_of_requests_whatever_the_order_of_answers(world: World) -> None:
    client = await world.client()
    for name in (b"a", b"b", b"c"):
        client.send(b"SET", name, b"1")
    await until(lambda: len(world.handler.open) == 3)
    for _, command, slot in reversed(world.handler.open):
        slot.resolve(command, None, None)
    assert [await client.reply() for _ in range(3)] == [b"SET a 1", b"SET b 1", b"SET c 1"]


async def test_a_read_waits_for_the_writes_before_it_and_a_write_for_the_reads(world: World) -> None:
    client = await world.client()
    for args in (
        (b"SET", b"a", b"1"),
        (b"SET", b"b", b"1"),
        (b"GET", b"a"),
        (b"PING",),
        (b"SET", b"c", b"1"),
    ):
        client.send(*args)
    waves = []
    while len(waves) < 3:
        await until(lambda: world.handler.open)
        wave, world.handler.open = world.handler.open, []
        waves.append([command for _, command, _ in wave])
        for _, command, slot in wave:
            slot.resolve(command, None, None)
    assert waves == [[b"SET a 1", b"SET b 1"], [b"GET a"], [b"SET c 1"]]
    assert [await client.reply() for _ in range(5)] == [b"SET a 1", b"SET b 1", b"GET a", b"PONG", b"SET c 1"]


async def test_meta_tells_who_answered_and_its_own_replies_are_plain(world: World) -> None:
    world.handler.automatic = True
    client = await world.client()
    assert await client.ask(b"CLIENT", b"META", b"ON") == b"OK"
    assert await client.ask(b"GET", b"a") == [b"GET a", [b"demo-0", 3]]
    assert await client.ask(b"PING") == [b"PONG", [None, None]]
    wrapped = await client.ask(b"GET", b"bad")
    assert isinstance(wrapped, list)
    assert isinstance(wrapped[0], hiredis.ReplyError)
    assert await client.ask(b"CLIENT", b"META", b"OFF") == b"OK"
    assert await client.ask(b"GET", b"a") == b"GET a"


async def test_a_client_that_pipelines_without_end_is_read_no_further(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection_module.MAX_IN_FLIGHT, Kind.WRITE, 16)
    client = await world.client()
    total = 100_000
    client.writer.write(hiredis.pack_command((b"SET", b"key", b"value")) * total)
    await until(lambda: len(world.handler.open) == 16)
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert len(world.handler.open) == 16
    [served] = world.server._connections
    assert served._read_ahead < 1024 * 1024, "more was taken in than the bound and one chunk"
    world.handler.automatic = True
    for _, command, slot in world.handler.open:
        slot.resolve(command, None, None)
    for _ in range(total):
        assert await client.reply() == b"SET key value"


async def test_a_client_that_does_not_read_its_replies_is_read_no_further(world: World) -> None:
    world.handler.automatic = True
    client = await world.client()
    request = hiredis.pack_command((b"SET", b"key", b"v" * 60_000))
    sent = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while sent < 500:
                client.writer.write(request)
                sent += 1
                await client.writer.drain()
    assert sent < 500, "30 MB of replies were kept for a client that reads none"
    for _ in range(sent - 1):
        assert await client.reply() == b"SET key " + b"v" * 60_000


async def test_a_client_whose_replies_pile_up_is_cut_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that are under way already bring their replies, whether the client reads or not."""
    monkeypatch.setattr(connection_module, "MAX_OUTPUT_BYTES", 8 * 1024 * 1024)
    client = await world.client()
    for _ in range(60):
        client.send(b"GET", b"key")
    await until(lambda: len(world.handler.open) == 60)
    for _, _, slot in world.handler.open:
        slot.resolve(bytes(1024 * 1024), None, None)
    await until(lambda: world.server.connections == 0)
    assert await (await world.client()).ask(b"PING") == b"PONG"


async def test_one_connection_too_many_is_told_so_and_closed(world: World) -> None:
    clients = [await world.client() for _ in range(5)]
    assert [await client.ask(b"PING") for client in clients] == [b"PONG"] * 5
    sixth = await world.client()
    assert b"max number of clients" in await asyncio.wait_for(sixth.reader.read(), 5)
    clients[0].writer.close()
    await until(lambda: world.server.connections == 4)
    assert await (await world.client()).ask(b"PING") == b"PONG"


async def test_garbage_is_answered_with_a_protocol_error_and_the_connection_closed(world: World) -> None:
    client = await world.client()
    client.writer.write(hiredis.pack_command((b"PING",)) + b"$5\r\nhello\r\n")
    answer = await asyncio.wait_for(client.reader.read(), 5)
    assert answer.startswith(b"+PONG\r\n-ERR Protocol error: ")
    assert b"array of bulk strings" in answer
    assert await (await world.client()).ask(b"PING") == b"PONG"


async def test_a_client_that_shuts_its_side_still_gets_its_replies(world: World) -> None:
    client = await world.client()
    client.send(b"SET", b"a", b"1")
    client.writer.write_eof()
    await until(lambda: world.handler.open)
    world.handler.open[0][2].resolve(b"done", None, None)
    assert await asyncio.wait_for(client.reader.read(), 5) == b"$4\r\ndone\r\n"


async def test_an_answer_to_a_client_that_has_gone_is_dropped(world: World) -> None:
    client = await world.client()
    client.send(b"SET", b"a", b"1")
    await until(lambda: world.handler.open)
    client.writer.transport.abort()
    world.handler.open[0][2].resolve(b"too late", None, None)
    await until(lambda: world.server.connections == 0)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((b"NOPE", b"x"), "unknown command 'NOPE'"),
        ((b"GET",), "wrong number of arguments for 'get'"),
        ((b"GET", b"a", b"b"), "wrong number of arguments for 'get'"),
        ((b"CLIENT",), "wrong number of arguments for 'client'"),
        ((b"CLIENT", b"KILL", b"1"), "unknown subcommand"),
        ((b"CLIENT", b"META", b"maybe"), "ON or OFF"),
        ((b"CLIENT", b"SETNAME", b"has space"), "without spaces"),
        ((b"SELECT", b"1"), "only database 0"),
        ((b"HELLO", b"4"), "unsupported protocol version"),
        ((b"HELLO", b"3", b"AUTH", b"a", b"b"), "WRONGPASS"),
        ((b"HELLO", b"3", b"AUTH", b"a"), "Syntax error in HELLO option 'AUTH'"),
        ((b"AUTH", b"password"), "without any password configured"),
        ((b"AUTH", b"a", b"b"), "WRONGPASS invalid username-password pair"),
        ((b"AUTH", b"a", b"b", b"c"), "syntax error"),
        ((b"ACL", b"LIST"), "ACL knows WHOAMI"),
        ((b"PING", b"a", b"b"), "wrong number of arguments for 'ping'"),
        ((b"COMMAND", b"GETKEYS"), "COMMAND knows"),
        ((b"\xff\r\n\x00",), "unknown command"),
    ],
)
async def test_a_wrong_command_gets_an_error_and_the_connection_goes_on(
    world: World, args: tuple[bytes, ...], message: str
) -> None:
    client = await world.client()
    reply = await client.ask(*args)
    assert isinstance(reply, hiredis.ReplyError)
    assert message in str(reply)
    assert await client.ask(b"ECHO", b"still here") == b"still here"


async def test_hello_chooses_the_protocol_and_reset_forgets_it(world: World) -> None:
    client = await world.client()
    hello = await client.ask(b"HELLO", b"3", b"SETNAME", b"tester")
    assert isinstance(hello, dict)
    assert hello[b"proto"] == 3
    assert await client.ask(b"CLIENT", b"GETNAME") == b"tester"
    info = await client.ask(b"INFO", b"raft")
    assert info == b"# Raft\r\nterm:3\r\n"
    assert await client.ask(b"RESET") == b"RESET"
    assert await client.ask(b"CLIENT", b"GETNAME") is None
    assert await client.ask(b"QUIT") == b"OK"
    assert await asyncio.wait_for(client.reader.read(), 5) == b""
