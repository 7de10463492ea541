"""The client port against anything a socket can bring: it answers, it refuses, it never breaks or swells."""

import asyncio
import gc
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultlab.raft.commands import COMMANDS, prepare, unwrap
from faultlab.runtime.errors import ProtocolError
from faultlab.runtime.resp.acl import AccessControl
from faultlab.runtime.resp.connection import MAX_IN_FLIGHT, RespConnection
from faultlab.runtime.resp.handler import CommandSpec, Kind, Slot
from faultlab.runtime.resp.parser import MAX_REQUEST_BYTES, RequestParser
from faultlab.runtime.resp.server import RespServer

from .budget import budget
from .mutations import cut, mutated


class Store:
    """The key-value commands; answers at once, or when told to."""

    commands: Mapping[str, CommandSpec] = COMMANDS

    def __init__(self) -> None:
        self.later = False
        self.open: list[tuple[bytes, Slot]] = []

    def prepare(self, spec: CommandSpec, args: list[bytes], user: str) -> bytes | str:
        return prepare(spec, args, user)

    def unwrap(self, spec: CommandSpec, args: list[bytes]) -> tuple[CommandSpec, list[bytes]] | str:
        return unwrap(spec, args)

    def submit(self, _kind: Kind, command: bytes, slot: Slot) -> None:
        if self.later:
            self.open.append((command, slot))
        else:
            slot.resolve(command, "demo-0", 1)

    def info(self) -> dict[str, dict[str, object]]:
        return {"Raft": {"term": 3}}


class Socket(asyncio.Transport):
    """What a connection writes to, and whether it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.out = bytearray()
        self.closed = False
        self.reading = True

    def write(self, data: Any) -> None:
        assert not self.closed
        self.out += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Port(RespServer):
    """A server whose turns of the loop are called by hand."""

    def __init__(self, store: Store, access: AccessControl | None = None) -> None:
        super().__init__(store, software="test", version="1", access=access)
        self.due: list[RespConnection] = []

    def flush_soon(self, connection: RespConnection) -> None:
        self.due.append(connection)


class Client:
    """One connection, fed by hand."""

    def __init__(self, access: AccessControl | None = None) -> None:
        self.store = Store()
        self.server = Port(self.store, access)
        self.socket = Socket()
        self.connection = RespConnection(self.server)
        self.connection.connection_made(self.socket)

    def feed(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            if self.socket.closed:
                return
            self.connection.data_received(chunk)
            self.turn()
            self.check_bounds()

    def turn(self) -> None:
        due, self.server.due = self.server.due, []
        for connection in due:
            connection.flush()

    def answer(self, count: int) -> None:
        answered, self.store.open = self.store.open[:count], self.store.open[count:]
        for command, slot in reversed(answered):
            slot.resolve(command, None, None)
        self.turn()

    def check_bounds(self) -> None:
        served = self.connection
        assert len(served._slots) <= max(MAX_IN_FLIGHT.values())
        held = served._parser._unfinished_bytes + len(served._parser._held)
        assert held <= 2 * MAX_REQUEST_BYTES

    def replies(self) -> list[object]:
        """Everything that was answered, which has to be whole replies and nothing else."""
        reader = hiredis.Reader()
        reader.feed(bytes(self.socket.out))
        found = []
        while (reply := reader.gets()) is not False:
            found.append(reply)
        assert not reader.has_data(), f"half a reply at the end of {bytes(self.socket.out[-80:])!r}"
        return found


words = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([b"1", b"-1", b"0", b"9223372036854775807", b"9223372036854775808", b"k", b"GET", b"NX",
                     b"OPEN", b"SET", b"INCR", b"*3\r\n", b"$5\r\n", b"\r\n", b"*", b"$-1", b"TTL"]),
)  # fmt: skip
names = st.sampled_from(
    [
        *COMMANDS,
        "PING",
        "ECHO",
        "HELLO",
        "CLIENT",
        "COMMAND",
        "INFO",
        "SELECT",
        "RESET",
        "AUTH",
        "ACL",
        "NOPE",
    ]
)
requests = st.builds(lambda name, args: [name.encode(), *args], names, st.lists(words, max_size=6))
sizes = st.sampled_from(
    [b"-1", b"-2", b"0", b"1", b"2", b"99999", b"100000", b"4294967296", b"9223372036854775807",
     b"-9223372036854775808", b"99999999999999999999", b"1e9", b" 1", b"+1", b"", b"?", b"00000001"]
)  # fmt: skip
headers = st.builds(
    lambda kind, size: kind + size + b"\r\n",
    st.sampled_from(
        [b"*", b"$", b"%", b"~", b">", b"|", b"+", b"-", b":", b",", b"#", b"(", b"=", b"_", b"!"]
    ),
    sizes,
)
garbage = st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(headers, st.binary(max_size=20), st.just(b"$1\r\na\r\n")), max_size=12).map(b"".join),
    st.builds(lambda header, times: header * times, headers, st.integers(1, 300)),
    st.text("pinget set\r\n\x00\"'", max_size=60).map(str.encode),
)


def wire(many: list[list[bytes]]) -> bytes:
    return b"".join(hiredis.pack_command(tuple(args)) for args in many)


@budget(500)
@given(st.data())
def test_arbitrary_bytes_are_answered_or_refused_and_nothing_else(data: st.DataObject) -> None:
    sent = b"".join(
        data.draw(st.lists(st.one_of(garbage, st.lists(requests, max_size=3).map(wire)), max_size=4))
    )
    client = Client()
    client.store.later = data.draw(st.booleans())
    client.feed(data.draw(cut(sent)))
    while client.store.open and not client.socket.closed:
        client.answer(data.draw(st.integers(1, len(client.store.open))))
    client.replies()


@budget(400)
@given(st.data())
def test_mutated_requests_are_answered_or_refused_and_nothing_else(data: st.DataObject) -> None:
    client = Client()
    good = wire(data.draw(st.lists(requests, min_size=1, max_size=4)))
    client.feed(data.draw(cut(data.draw(mutated(good)))))
    client.replies()


@budget(200)
@given(st.data())
def test_every_request_before_the_first_bad_byte_is_answered(data: st.DataObject) -> None:
    good = [[b"ECHO", b"%d" % n] if data.draw(st.booleans()) else [b"GET", b"%d" % n]
            for n in range(data.draw(st.integers(1, 5)))]  # fmt: skip
    client = Client()
    client.store.later = data.draw(st.booleans())
    client.feed(data.draw(cut(wire(good) + data.draw(garbage))))
    while client.store.open:
        client.answer(data.draw(st.integers(1, len(client.store.open))))
    replies = client.replies()[: len(good)]
    expected = [args[1] if args[0] == b"ECHO" else prepare(COMMANDS["GET"], list(args)) for args in good]
    assert replies == expected


@budget(200)
@given(st.data())
def test_replies_do_not_depend_on_how_requests_are_cut(data: st.DataObject) -> None:
    sent = wire(data.draw(st.lists(requests, min_size=1, max_size=5)))
    whole, pieces = Client(), Client()
    whole.feed([sent])
    pieces.feed(data.draw(cut(sent)))
    assert whole.socket.out == pieces.socket.out
    assert whole.socket.closed == pieces.socket.closed


@budget(200)
@given(st.data())
def test_a_stranger_gets_nothing_but_refusals(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    client = Client(nobody(tmp_path_factory))
    client.store.later = True
    client.feed(data.draw(cut(data.draw(st.one_of(garbage, st.lists(requests, max_size=5).map(wire))))))
    assert client.store.open == []
    for reply in client.replies():
        assert reply == b"RESET" or (
            isinstance(reply, hiredis.ReplyError)
            and str(reply).split()[0] in ("NOAUTH", "ERR", "WRONGPASS", "NOPROTO")
        ), reply


_nobody: list[AccessControl] = []


def nobody(tmp_path_factory: pytest.TempPathFactory) -> AccessControl:
    if not _nobody:
        path = tmp_path_factory.mktemp("acl") / "users.json"
        path.write_text(json.dumps({"users": [{"name": "a", "passwordSha256": "0" * 64}]}))
        _nobody.append(AccessControl(path))
    return _nobody[0]


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


@pytest.mark.parametrize("chunk", [1 << 30, 7])
@pytest.mark.parametrize(
    "unit",
    [b"*99999\r\n", b"*1\r\n", b"%49999\r\n", b"%1\r\n", b"~99999\r\n", b">99999\r\n", b"|1\r\n", b"*0\r\n",
     b"$4194304\r\n", b"$2147483647\r\n", b"*99999\r\n$1\r\na\r\n", b"*2\r\n$1\r\na\r\n", b":1\r\n",
     b"+a\r\n", b"*-1\r\n", b"a", b"ping ", b"\r\n", b"\x00", b"*", b"*0", b"$", b"-", b"_\r\n",
     b"=4\r\ntxt:\r\n", b"*1\r\n*1\r\n$1\r\na\r\n"],
)  # fmt: skip
def test_what_a_connection_holds_is_bounded_whatever_is_declared(unit: bytes, chunk: int) -> None:
    """More than the largest request, by somebody who means no good: some requests' worth is kept at most."""
    parser = RequestParser()
    gc.collect()
    before = resident_bytes()
    sent = unit * ((MAX_REQUEST_BYTES + 100_000 if chunk > 7 else 40_000) // len(unit))
    try:
        for at in range(0, len(sent), chunk):
            parser.feed(sent[at : at + chunk])
            while parser.next() is not None:
                pass
    except ProtocolError:
        pass
    assert resident_bytes() - before < 64 * 1024 * 1024
