"""A login where one is needed, and the keys of a user's rules: the client port as Redis has it."""

import contextlib
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import hiredis
import pytest

from faultlab.raft.commands import COMMANDS, prepare, stamp, unwrap
from faultlab.raft.kv import KeyValueStore
from faultlab.raft.messages import Entry
from faultlab.raft.vetting import is_read
from faultlab.runtime.errors import ConfigError
from faultlab.runtime.resp.acl import AccessControl
from faultlab.runtime.resp.handler import MAX_USER_BYTES, CommandSpec, Kind, Slot
from faultlab.runtime.resp.server import RespServer
from faultlab.runtime.resp.session import MAX_FAILED_LOGINS

from .test_resp_connection import Client, World


class Store:
    """The key-value commands, each answered with OK."""

    commands: Mapping[str, CommandSpec] = COMMANDS

    def prepare(self, spec: CommandSpec, args: list[bytes], user: str) -> bytes | str:
        return prepare(spec, args, user)

    def unwrap(self, spec: CommandSpec, args: list[bytes]) -> tuple[CommandSpec, list[bytes]] | str:
        return unwrap(spec, args)

    def submit(self, _kind: Kind, _command: bytes, slot: Slot) -> None:
        slot.resolve("+OK", None, None)

    def info(self) -> dict[str, dict[str, object]]:
        return {}


class Applied(Store):
    """Applies at once what members prepare, after it has passed what a leader lets nobody pass on."""

    def __init__(self) -> None:
        self.store = KeyValueStore()

    def submit(self, _kind: Kind, command: bytes, slot: Slot) -> None:
        if is_read(command):
            slot.resolve(self.store.read(command), None, None)
        else:
            entry = Entry(self.store.applied_index + 1, 1, stamp(command, 1000))
            slot.resolve(self.store.apply(entry), None, None)


def user(name: str, password: str, **access: str) -> dict[str, object]:
    """`access`: what the keys that begin with the word may be used for."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    rules = [{"prefix": prefix.strip("_"), "access": what} for prefix, what in access.items()]
    return {"name": name, "passwordSha256": digest, "rules": rules}


USERS = {
    "users": [
        user("app", "secret", app="all", ro="read", wo="write"),
        user("admin", "root", _="all"),
        user("default", "plain"),
    ]
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    path = tmp_path / "users.json"
    path.write_text(json.dumps(USERS))
    times = itertools.count(0, 10)
    async with serving(Store(), AccessControl(path, lambda: float(next(times)))) as made:
        yield made


@contextlib.asynccontextmanager
async def serving(store: Store, access: AccessControl | None) -> AsyncIterator[World]:
    server = RespServer(store, software="test", version="1", access=access)
    await server.start("127.0.0.1", 0)
    assert server._server is not None
    made = World(server, store, server._server.sockets[0].getsockname()[1])  # type: ignore[arg-type]
    yield made
    server.stop()
    for client in made.clients:
        client.writer.close()


async def code(client: Client, *args: bytes) -> str:
    """OK, or the error's code."""
    reply = await client.ask(*args)
    return str(reply).split()[0] if isinstance(reply, hiredis.ReplyError) else "OK"


async def test_without_a_login_nothing_is_answered_but_how_to_log_in(world: World) -> None:
    client = await world.client()
    for args in ((b"GET", b"app"), (b"PING",), (b"INFO",), (b"CLIENT", b"ID"), (b"COMMAND",),
                 (b"ACL", b"WHOAMI"), (b"SESSION", b"OPEN")):  # fmt: skip
        assert str(await client.ask(*args)) == "NOAUTH Authentication required."
    assert "NOAUTH HELLO must be called" in str(await client.ask(b"HELLO", b"3"))
    assert await client.ask(b"RESET") == b"RESET"
    assert await client.ask(b"AUTH", b"app", b"secret") == b"OK"
    assert await client.ask(b"ACL", b"WHOAMI") == b"app"
    assert b"user=app" in (await client.ask(b"CLIENT", b"INFO") or b"")  # type: ignore[operator]
    assert await client.ask(b"RESET") == b"RESET"
    assert await code(client, b"PING") == "NOAUTH"


async def test_hello_logs_in_and_a_wrong_password_changes_nothing(world: World) -> None:
    client = await world.client()
    wrong = await client.ask(b"HELLO", b"3", b"AUTH", b"app", b"wrong", b"SETNAME", b"x")
    assert str(wrong) == "WRONGPASS invalid username-password pair or user is disabled."
    assert await code(client, b"PING") == "NOAUTH"
    hello = await client.ask(b"HELLO", b"3", b"AUTH", b"app", b"secret", b"SETNAME", b"x")
    assert isinstance(hello, dict)
    assert await client.ask(b"CLIENT", b"GETNAME") == b"x"
    assert await code(client, b"AUTH", b"nobody", b"x") == "WRONGPASS"
    assert await client.ask(b"ACL", b"WHOAMI") == b"app", "a failed login ended the one before"
    assert await client.ask(b"AUTH", b"plain") == b"OK"
    assert await client.ask(b"ACL", b"WHOAMI") == b"default"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (b"GET app1", "OK"), (b"SET app1 x", "OK"), (b"INCR app1", "OK"), (b"SET app1 x GET", "OK"),
        (b"GET other", "NOPERM"), (b"SET other x", "NOPERM"), (b"GET ap", "NOPERM"), (b"GET APP1", "NOPERM"),
        (b"GET ro1", "OK"), (b"SET ro1 x", "NOPERM"), (b"DEL ro1", "NOPERM"),
        (b"SET wo1 x", "OK"), (b"SET wo1 GET", "OK"), (b"DEL wo1", "OK"), (b"GET wo1", "NOPERM"),
        (b"SET wo1 x GET", "NOPERM"), (b"SET wo1 x NX get", "NOPERM"), (b"INCR wo1", "NOPERM"),
        (b"INCRBY wo1 1", "NOPERM"), (b"DECR wo1", "NOPERM"), (b"DECRBY wo1 1", "NOPERM"),
        (b"CAS wo1 a b", "NOPERM"), (b"RPUSH wo1 a", "OK"), (b"LRANGE wo1 0 1", "NOPERM"),
        (b"LLEN wo1", "NOPERM"),
        (b"MGET app1 app2", "OK"), (b"MGET app1 other", "NOPERM"), (b"MGET other app1", "NOPERM"),
        (b"EXISTS app1 wo1", "NOPERM"), (b"DEL app1 other", "NOPERM"),
        (b"MSET app1 other app2 other", "OK"), (b"MSET app1 x other x", "NOPERM"),
        (b"SESSION OPEN", "OK"), (b"PING", "OK"), (b"INFO", "OK"),
        (b"REQ 7 1 SET app1 x", "OK"), (b"REQ 7 1 SET other x", "NOPERM"), (b"req 7 1 set ro1 x", "NOPERM"),
        (b"REQ 7 1 INCR wo1", "NOPERM"), (b"REQ 7 1 MSET app1 x other x", "NOPERM"),
        (b"REQ app1 1 SET other x", "NOPERM"), (b"REQ 7 1 REQ 7 1 SET other x", "ERR"),
        (b"REQ 7 1 GET other", "ERR"),
        (b"NOPE other", "ERR"), (b"GET", "ERR"),
    ],
)  # fmt: skip
async def test_every_key_of_a_command_is_held_to_the_rules(world: World, args: bytes, expected: str) -> None:
    client = await world.client()
    await client.ask(b"AUTH", b"app", b"secret")
    assert await code(client, *args.split()) == expected


@pytest.mark.parametrize("spec", [spec for spec in COMMANDS.values() if spec.first_key])
async def test_no_command_reaches_a_key_without_a_rule(world: World, spec: CommandSpec) -> None:
    """Whatever commands there will be: default has no rules at all."""
    client = await world.client()
    await client.ask(b"AUTH", b"plain")
    assert await code(client, spec.name.encode(), *[b"1"] * (abs(spec.arity) - 1)) == "NOPERM"


async def logged_in(world: World, *names: str) -> list[Client]:
    clients = [await world.client() for _ in names]
    for client, name in zip(clients, names, strict=True):
        assert await client.ask(b"AUTH", name.encode(), b"pw") == b"OK"
    return clients


async def test_what_is_kept_in_a_session_is_told_to_nobody_else_and_only_for_the_same_command(
    tmp_path: Path,
) -> None:
    """Through two members, of which a client may use either: a session is known by its user's name."""
    path = tmp_path / "users.json"
    path.write_text(json.dumps({"users": [user("app", "pw", app="all"), user("wo", "pw", wo="write")]}))
    store = Applied()
    times = itertools.count(0, 10)
    access = AccessControl(path, lambda: float(next(times)))
    async with serving(store, AccessControl(path)) as one, serving(store, access) as other:
        [app] = await logged_in(one, "app")
        [app_elsewhere, wo] = await logged_in(other, "app", "wo")
        session = str(await app.ask(b"SESSION", b"OPEN")).encode()
        await app.ask(b"SET", b"app/x", b"secret")
        asked = (b"REQ", session, b"1", b"SET", b"app/x", b"new", b"GET")
        assert await app.ask(*asked) == b"secret"
        assert await code(wo, b"REQ", session, b"1", b"SET", b"wo/x", b"z") == "SESSIONEXPIRED"
        assert await code(wo, b"REQ", session, b"2", b"SET", b"wo/x", b"z") == "SESSIONEXPIRED"
        assert await wo.ask(b"SESSION", b"CLOSE", session) == 0
        assert await app_elsewhere.ask(*asked) == b"secret", "the same user, at another member"
        path.write_text(json.dumps({"users": [user("app", "pw", app="write")]}))
        [narrowed] = await logged_in(other, "app")
        assert await code(narrowed, *asked) == "NOPERM"
        refused = await narrowed.ask(b"REQ", session, b"1", b"SET", b"app/x", b"z")
        assert "was used for another command" in str(refused)
        assert await narrowed.ask(b"SESSION", b"CLOSE", session) == 1
        assert await code(app_elsewhere, *asked) == "SESSIONEXPIRED"


async def test_who_changes_the_login_on_a_connection_leaves_the_sessions_of_the_one_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "users.json"
    path.write_text(json.dumps({"users": [user("app", "pw", _="all"), user("b", "pw", _="all")]}))
    async with serving(Applied(), AccessControl(path)) as world:
        [client] = await logged_in(world, "app")
        assert await client.ask(b"SESSION", b"OPEN") == 1
        for args in (b"REQ 1 1 INCR n", b"AUTH b pw", b"REQ 1 1 INCR n", b"AUTH app pw", b"REQ 1 1 INCR n"):
            client.send(*args.split())
        replies = [await client.reply() for _ in range(5)]
        assert [str(r).split()[0] if isinstance(r, Exception) else r for r in replies] == [
            1, b"OK", "SESSIONEXPIRED", b"OK", 1]  # fmt: skip


async def test_pipelined_requests_behind_a_login_are_held_to_it_and_those_before_are_not(
    world: World,
) -> None:
    client = await world.client()
    for args in (b"GET app1", b"AUTH app secret", b"GET app1", b"GET other", b"RESET", b"GET app1"):
        client.send(*args.split())
    replies = [await client.reply() for _ in range(6)]
    assert [str(r).split()[0] if isinstance(r, Exception) else r for r in replies] == [
        "NOAUTH", b"OK", b"OK", "NOPERM", b"RESET", "NOAUTH"]  # fmt: skip


async def test_guessing_is_counted_and_ends_the_connection(world: World) -> None:
    client = await world.client()
    for number in range(MAX_FAILED_LOGINS):
        assert await code(client, b"AUTH", b"app", b"guess%d" % number) == "WRONGPASS"
    assert await client.reader.read() == b""
    assert world.server.access is not None
    assert world.server.access.failed_logins == MAX_FAILED_LOGINS


async def test_a_stranger_cannot_send_what_a_user_can(world: World) -> None:
    client = await world.client()
    client.send(b"SET", b"app1", b"x" * 500_000)
    assert "Protocol error: request over" in str(await client.reply())
    client = await world.client()
    client.send(b"AUTH", b"app", b"secret")
    client.send(b"SET", b"app1", b"x" * 500_000)
    assert [await client.reply(), await client.reply()] == [b"OK", b"OK"]


async def test_a_changed_file_counts_at_the_next_login_and_a_broken_one_not(
    world: World, tmp_path: Path
) -> None:
    client = await world.client()
    path = tmp_path / "users.json"
    path.write_text('{"users": [{"name": "broken"')
    assert await code(client, b"AUTH", b"app", b"secret") == "OK"
    path.write_text(json.dumps({"users": [user("app", "changed")]}))
    assert await code(client, b"AUTH", b"app", b"secret") == "WRONGPASS"
    assert await code(client, b"AUTH", b"app", b"changed") == "OK"
    assert await code(client, b"GET", b"app1") == "NOPERM"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the clients' users"),
        ("{", "are not as they should be"),
        ('{"users": [{"name": "a"}]}', "passwordSha256"),
        ('{"users": [{"name": "a", "passwordSha256": "ABC"}]}', "64 lower-case hex digits"),
        (json.dumps({"users": [user("a", "x"), user("a", "y")]}), "a name occurs twice"),
        (json.dumps({"users": [user("", "x")]}), "the name '' has 0 bytes"),
        (json.dumps({"users": [user("é" * (MAX_USER_BYTES // 2) + "x", "x")]}), "has 257 bytes"),
        (json.dumps({"users": [user("\ud800", "x")]}), "are not as they should be"),
        (json.dumps({"users": [user("a", "x", k="execute")]}), "are not as they should be"),
        ("x" * (1024 * 1024 + 1), "are longer than"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_what_is(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "users.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        AccessControl(path)
