"""etcd members. Asked through the JSON gateway on their client ports, loaded by etcd's own `benchmark`."""

import base64
import http.client
import json
import subprocess
from typing import Any, ClassVar

from .cluster import Cluster
from .processes import BenchmarkError

_HTTP_TIMEOUT_S = 1.0
_QUOTA_BYTES = 8 * 1024**3
"""Every version of a key stays in the database until it is compacted: room for a whole run."""


class EtcdCluster(Cluster):
    """Members by the names m0, m1, ...; the ids that etcd gives them are learnt from their answers."""

    system: ClassVar[str] = "etcd"

    def __init__(self, *args: Any, binaries: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.binaries = binaries
        self._index_of: dict[str, int] = {}

    def command(self, index: int) -> list[str]:
        place = self.places[index]
        peers = [f"http://{other.host}:{other.ports[1]}" for other in self.places]
        client = self.endpoint(index)
        timing = self.timing
        options = {
            "name": f"m{index}",
            "data-dir": str(self.directory / f"data-{index}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": f"http://{place.host}:{place.ports[1]}",
            "initial-advertise-peer-urls": peers[index],
            "initial-cluster": ",".join(f"m{i}={url}" for i, url in enumerate(peers)),
            "initial-cluster-token": "bench",
            "log-level": "error",
            "quota-backend-bytes": str(_QUOTA_BYTES),
        }
        if timing is not None:
            options["election-timeout"] = str(timing.election_ms)
            options["heartbeat-interval"] = str(timing.heartbeat_ms)
        return [self.binaries["etcd"], *(f"--{key}={value}" for key, value in options.items())]

    def endpoint(self, index: int) -> str:
        """The URL for clients of one member."""
        host, port = self.client_address(index)
        return f"http://{host}:{port}"

    def leader_and_term(self, index: int) -> tuple[int | None, int] | None:
        try:
            status = self._post(index, "/v3/maintenance/status")
        except (OSError, http.client.HTTPException, ValueError):
            return None
        self._index_of[status["header"]["member_id"]] = index
        return self._index_of.get(status.get("leader", "0")), int(status.get("raftTerm", 0))

    def put_request(self, index: int) -> bytes:
        host, port = self.client_address(index)
        key = base64.b64encode(b"probe-%d" % index).decode()
        body = json.dumps({"key": key, "value": "eA=="})
        head = f"POST /v3/kv/put HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
        return (head + body).encode()

    def is_done(self, reply: bytes) -> bool | None:
        head, separator, body = reply.partition(b"\r\n\r\n")
        if not separator or not body.endswith((b"}", b"\n")):
            return None
        return head.startswith(b"HTTP/1.1 200")

    def transfer(self, leader: int, to: int) -> None:
        [target] = [member for member, index in self._index_of.items() if index == to]
        command = [self.binaries["etcdctl"], "--endpoints", self.endpoint(leader), "move-leader"]
        run = subprocess.run(
            [*command, f"{int(target):x}"], capture_output=True, text=True, timeout=15, check=False
        )
        if run.returncode != 0:
            raise BenchmarkError(f"etcdctl move-leader: {run.stderr.strip()}")

    def _post(self, index: int, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection(*self.client_address(index), timeout=_HTTP_TIMEOUT_S)
        try:
            connection.request("POST", path, "{}")
            document: dict[str, Any] = json.loads(connection.getresponse().read())
            return document
        finally:
            connection.close()
