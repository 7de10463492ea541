"""One PySyncObj member behind a RESP port, with a journal that is synced before anything is sent.

    python pysyncobj_member.py CLIENT_PORT DIRECTORY SELF_HOST:PORT OTHER_HOST:PORT...

PySyncObj maps its journal into memory and never syncs it. For durability equal to the others', this
program does: before each message, if anything was written since the last sync. So a leader has synced
what it sends, and a follower what it acknowledges. SET is replicated; INFO tells leader and term.
PySyncObj has no linearizable reads: GET is not offered.
"""

import asyncio
import sys
from typing import Any

import hiredis
from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated


class Store(SyncObj):  # type: ignore[misc]
    """A replicated dictionary of bytes."""

    def __init__(self, me: str, others: list[str], directory: str) -> None:
        config = SyncObjConf(
            journalFile=f"{directory}/journal", fullDumpFile=f"{directory}/dump", connectionRetryTime=0.5
        )
        super().__init__(me, others, config)
        self._data: dict[bytes, bytes] = {}

    @replicated  # type: ignore[untyped-decorator]
    def put(self, key: bytes, value: bytes) -> None:
        self._data[key] = value


def sync_before_sending(store: Store) -> None:
    """Wraps the journal's `add` and the transport's `send`; both run on PySyncObj's own thread."""
    journal, transport = store._SyncObj__raftLog, store._SyncObj__transport
    add, send = journal.add, transport.send
    unsynced = False

    def noted_add(*arguments: Any) -> None:
        nonlocal unsynced
        unsynced = True
        add(*arguments)

    def synced_send(*arguments: Any) -> Any:
        nonlocal unsynced
        if unsynced:
            unsynced = False
            journal.flush()
        return send(*arguments)

    journal.add, transport.send = noted_add, synced_send


class Client(asyncio.Protocol):
    """One connection: SET and INFO, replies in order (callers do not pipeline)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reader = hiredis.Reader()
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (request := self._reader.gets()) is not False:
            command = request[0].upper()
            if command == b"SET":
                self._store.put(request[1], request[2], callback=self._done)
            elif command == b"INFO":
                self._reply_info()
            else:
                self._transport.write(b"-ERR unknown command\r\n")

    def _done(self, _result: object, error: int) -> None:
        """On PySyncObj's thread."""
        reply = b"+OK\r\n" if error == FAIL_REASON.SUCCESS else b"-ERR not done (%d)\r\n" % error
        self._loop.call_soon_threadsafe(self._transport.write, reply)

    def _reply_info(self) -> None:
        status = self._store.getStatus()
        text = f"{status['leader'] or ''} {status['raft_term']}".encode()
        self._transport.write(b"$%d\r\n%b\r\n" % (len(text), text))


async def serve(client_port: int, store: Store) -> None:
    """Until the process is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: Client(store), "127.0.0.1", client_port)
    await server.serve_forever()


def main() -> None:
    port, directory, me, *others = sys.argv[1:]
    store = Store(me, others, directory)
    sync_before_sending(store)
    asyncio.run(serve(int(port), store))


if __name__ == "__main__":
    main()
