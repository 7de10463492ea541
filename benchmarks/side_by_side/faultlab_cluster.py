"""The lab's own Raft members, as `faultlab-node raft` runs them."""

import http.client
import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from faultlab.contract.member import RaftConfig

from .cluster import Cluster, Timing
from .processes import BenchmarkError

_HTTP_TIMEOUT_S = 1.0


def default_timing() -> Timing:
    """What a RaftCluster gets that says nothing about it."""
    defaults = RaftConfig(cluster="", members=())
    return Timing(defaults.election_timeout_ms, defaults.heartbeat_interval_ms)


class FaultlabCluster(Cluster):
    """Members by the names m0, m1, ..."""

    system: ClassVar[str] = "faultlab"
    reads: ClassVar[str] = "linearizable"

    def __init__(self, *args: Any, settings: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """`settings`: more of the configuration, by its JSON names."""
        super().__init__(*args, **kwargs)
        self.settings = settings or {}

    def prepare(self) -> None:
        members = [
            {
                "name": f"m{index}",
                "host": place.host,
                "clientPort": place.ports[0],
                "peerPort": place.ports[1],
                "adminPort": place.ports[2],
            }
            for index, place in enumerate(self.places)
        ]
        timing = self.timing or default_timing()
        for index in range(len(self.places)):
            document = {
                "cluster": "bench",
                "members": members,
                "dataDir": str(self.directory / f"data-{index}"),
                "electionTimeoutMs": timing.election_ms,
                "heartbeatIntervalMs": timing.heartbeat_ms,
                "reads": self.reads,
                **self.settings,
            }
            msgspec.json.decode(json.dumps(document), type=RaftConfig)
            self._config(index).write_text(json.dumps(document))

    def command(self, index: int) -> list[str]:
        program = Path(sys.executable).with_name("faultlab-node")
        listen = self.places[index].host
        config = str(self._config(index))
        return [str(program), "raft", "--config", config, "--member", f"m{index}", "--listen", listen]

    def leader_and_term(self, index: int) -> tuple[int | None, int] | None:
        status = self.status(index)
        if status is None:
            return None
        leader = status["leader"]
        return (None if leader is None else int(leader[1:])), status["term"]

    def status(self, index: int) -> dict[str, Any] | None:
        """The member's /status; None if it does not answer."""
        try:
            code, body = self._ask(index, "GET", "/status")
        except (OSError, http.client.HTTPException):
            return None
        return json.loads(body) if code == 200 else None

    def put_request(self, index: int) -> bytes:
        key = b"probe-%d" % index
        return b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$1\r\nx\r\n" % (len(key), key)

    def is_done(self, reply: bytes) -> bool | None:
        return reply.startswith(b"+OK") if reply.endswith(b"\r\n") else None

    def transfer(self, leader: int, to: int) -> None:
        code, body = self._ask(leader, "POST", "/transfer", json.dumps({"to": f"m{to}"}))
        if code >= 300:
            raise BenchmarkError(f"POST /transfer: {code} {body.decode('utf-8', 'replace')}")

    def _config(self, index: int) -> Path:
        return self.directory / f"config-{index}.json"

    def _ask(self, index: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        place = self.places[index]
        connection = http.client.HTTPConnection(place.host, place.ports[2], timeout=_HTTP_TIMEOUT_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class LeaseCluster(FaultlabCluster):
    """Reads by the leader's lease, which rests on clocks; the others' reads ask a majority each time."""

    system: ClassVar[str] = "lease"
    reads: ClassVar[str] = "lease"
