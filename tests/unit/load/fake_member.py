"""A RESP server on loopback whose behaviour a test chooses, and that counts what it was sent."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import hiredis

from faultlab.raft.commands import COMMANDS, prepare, stamp
from faultlab.raft.kv import KeyValueStore
from faultlab.raft.messages import Entry
from faultlab.runtime.resp.encoder import Result, encode
from faultlab.runtime.resp.handler import Kind

Answer = Callable[[list[bytes]], bytes | None]


def meta(reply: bytes, member: bytes = b"m-0", term: int = 3) -> bytes:
    """A reply in META mode."""
    return b"*2\r\n%b*2\r\n$%d\r\n%b\r\n:%d\r\n" % (reply, len(member), member, term)


class FakeMember:
    """Answers each command with what `answer` returns; None closes the connection unanswered."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.commands: list[list[bytes]] = []
        """All but those that open sessions."""
        self.port = 0


@contextmanager
def serving(answer: Answer) -> Iterator[FakeMember]:
    member = FakeMember(answer)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            reader = hiredis.Reader()
            while received := self.request.recv(65536):
                reader.feed(received)
                while (command := reader.gets()) is not False:
                    if command[:2] == [b"CLIENT", b"META"]:
                        self.request.sendall(b"+OK\r\n")
                        continue
                    if command[0] != b"SESSION":
                        member.commands.append(command)
                    reply = member.answer(command)
                    if reply is None:
                        return
                    self.request.sendall(reply)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        member.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield member
        finally:
            server.shutdown()
            thread.join(5)


def store() -> Answer:
    """The lab's own state machine, as if each command had been committed at once."""
    machine = KeyValueStore()
    lock = threading.Lock()

    def answer(command: list[bytes]) -> bytes:
        spec = COMMANDS[command[0].decode()]
        with lock:
            prepared = prepare(spec, list(command))
            if isinstance(prepared, str):
                result: Result = prepared
            elif spec.kind is Kind.READ:
                result = machine.read(prepared)
            else:
                result = machine.apply(Entry(machine.applied_index + 1, 1, stamp(prepared, 1000)))
            return meta(encode(result, False))

    return answer


def in_session(answer: Answer) -> Answer:
    """Opens sessions, and has `answer` say what becomes of the command within a REQ."""

    def run(command: list[bytes]) -> bytes | None:
        if command[0] == b"SESSION":
            return meta(b":7\r\n")
        return answer(command[3:] if command[0] == b"REQ" else command)

    return run
