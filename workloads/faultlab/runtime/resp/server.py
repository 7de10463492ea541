"""The listening socket of the client port and the connections behind it."""

import asyncio

from ..errors import ListenError
from .acl import AccessControl
from .connection import RespConnection
from .handler import Handler
from .session import LOCAL_COMMANDS

MAX_CONNECTIONS = 1000
"""One more is told so and closed."""

_BACKLOG = 512


class RespServer:
    """Serves one `Handler` to up to MAX_CONNECTIONS clients."""

    def __init__(
        self,
        handler: Handler,
        *,
        software: str,
        version: str,
        max_connections: int = MAX_CONNECTIONS,
        access: AccessControl | None = None,
    ) -> None:
        """`access`: who may do what; None: everybody everything."""
        self.handler = handler
        self.access = access
        commands = {**LOCAL_COMMANDS, **handler.commands}.items()
        self.commands = {word.encode(): spec for name, spec in commands for word in (name, name.lower())}
        """By the word as clients send it, upper or lower case."""
        self.software = software
        self.version = version
        self._max_connections = max_connections
        self._connections: set[RespConnection] = set()
        self._dirty: list[RespConnection] = []
        self._last_id = 0
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    async def start(self, host: str, port: int) -> None:
        """Listens; raises ListenError."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: RespConnection(self), host, port, backlog=_BACKLOG
            )
        except OSError as error:
            raise ListenError(f"cannot listen for clients on {host}:{port}: {error.strerror}") from error

    def stop(self) -> None:
        """Stops listening and closes every connection after what was written to it."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()

    def admit(self, connection: RespConnection) -> bool:
        """A client has connected; False when there are enough."""
        if len(self._connections) >= self._max_connections:
            return False
        self._last_id += 1
        connection.session.id = self._last_id
        self._connections.add(connection)
        return True

    def forget(self, connection: RespConnection) -> None:
        """A client has gone."""
        self._connections.discard(connection)

    def flush_soon(self, connection: RespConnection) -> None:
        """Flushes at the loop's next turn, together with all others that have replies by then."""
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self._flush)
        self._dirty.append(connection)

    def info(self) -> dict[str, dict[str, object]]:
        """The sections of INFO that do not depend on the system."""
        return {
            "Server": {
                "server_name": self.software,
                "server_version": self.version,
                "redis_mode": "standalone",
            },
            "Clients": {"connected_clients": self.connections, "maxclients": self._max_connections},
        }

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.flush()
