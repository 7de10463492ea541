"""A RESP server on loopback whose behaviour a test chooses, and that counts what it was sent."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import hiredis

Answer = Callable[[list[bytes]], bytes | None]


def meta(reply: bytes, member: bytes = b"m-0", term: int = 3) -> bytes:
    """A reply in META mode."""
    return b"*2\r\n%b*2\r\n$%d\r\n%b\r\n:%d\r\n" % (reply, len(member), member, term)


class FakeMember:
    """Answers each command with what `answer` returns; None closes the connection unanswered."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.commands: list[list[bytes]] = []
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
    """A single register store that is linearizable."""
    data: dict[bytes, bytes] = {}
    lock = threading.Lock()

    def answer(command: list[bytes]) -> bytes:
        with lock:
            name, key = command[0], command[1]
            if name == b"SET":
                data[key] = command[2]
                return meta(b"+OK\r\n")
            if name == b"CAS":
                swapped = data.get(key) == command[2]
                if swapped:
                    data[key] = command[3]
                return meta(b":%d\r\n" % swapped)
            value = data.get(key)
            return meta(b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value))

    return answer
