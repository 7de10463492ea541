"""Replacing a member by hand: `faultlab-node raft --replace`, for whoever runs members without the operator.

The leader removes the id whose data is lost and adds the name again under a new one; this process then starts
under that, as a learner, and the leader gives it its vote once it has caught up.
"""

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec

from faultlab.contract.member import (
    KEY_HEADER,
    MembershipReply,
    MembershipRequest,
    PeerAddress,
    RaftConfig,
    RaftStatus,
)
from faultlab.runtime.peers.key import read_key

from .errors import RaftError
from .orders import proof_of

log = logging.getLogger("faultlab.raft")

_PATIENCE_S = 30.0
_RETRY_S = 0.25
_REPEAT_S = 2.0
_TIMEOUT_S = 5.0


class NotReplaced(RaftError):
    """The cluster did not give this member a new id."""


def replace(config: RaftConfig, name: str) -> RaftConfig:
    """Asks the leader for a new id of the member `name`; the configuration to start it with.

    Returns once a committed configuration has the new id, and goes on asking, in a thread, until it has its
    vote: a leader forgets what it was asked when another is elected. Raises NotReplaced after half a minute.
    """
    cluster = _Cluster(config, name)
    status = cluster.leaders_status()
    configuration = status.configuration
    assert configuration is not None
    lost = [m.id for m in (*configuration.voters, *configuration.learners) if m.name == name]
    by_name = {peer.name: peer for peer in config.members}
    wanted = {member.name for member in configuration.voters} | {name}
    unknown = sorted(wanted - by_name.keys())
    if unknown:
        raise NotReplaced(
            f"{', '.join(unknown)} are members of {config.cluster!r} and not in the configuration file; add"
            " their addresses there first"
        )
    request = MembershipRequest(tuple(by_name[each] for each in sorted(wanted)), tuple(lost))
    log.info("asking the leader %s to replace %s", status.leader, ", ".join(lost) or name)
    ids = cluster.ask_until_new(request, lost)
    threading.Thread(target=cluster.ask_until_reached, args=(request,), daemon=True).start()
    members = tuple(msgspec.structs.replace(peer, id=ids.get(peer.name, peer.id)) for peer in config.members)
    return msgspec.structs.replace(config, members=members, initial_state="existing")


class _Cluster:
    """The other members, as their admin ports show them."""

    def __init__(self, config: RaftConfig, name: str) -> None:
        self._config = config
        self._name = name
        self._others = [peer for peer in config.members if peer.name != name]
        self._headers = {"Content-Type": "application/json"}
        if config.peer_key_file is not None:
            self._headers[KEY_HEADER] = proof_of(config.cluster, read_key(Path(config.peer_key_file)))

    def leaders_status(self) -> RaftStatus:
        """Of whoever leads now."""
        for _ in self._attempts("a leader to be found"):
            for peer in self._others:
                answer = self._call(peer, "/status", None)
                if answer is not None:
                    status = msgspec.json.decode(answer[1], type=RaftStatus)
                    if status.role == "leader":
                        return status
        raise AssertionError

    def ask_until_new(self, request: MembershipRequest, lost: list[str]) -> dict[str, str]:
        """Until the name has another id; the ids by name then."""
        for _ in self._attempts(f"a new id of {self._name}"):
            reply = self._ask(request)
            if reply is not None and reply.committed:
                configuration = reply.configuration
                ids = {m.name: m.id for m in (*configuration.voters, *configuration.learners)}
                if ids.get(self._name, lost[0] if lost else "") not in (*lost, ""):
                    return ids
        raise AssertionError

    def ask_until_reached(self, request: MembershipRequest) -> None:
        """Until it has its vote, or the process ends."""
        while (reply := self._ask(request)) is None or not reply.reached:
            time.sleep(_REPEAT_S)

    def _ask(self, request: MembershipRequest) -> MembershipReply | None:
        """The leader's answer; None if nobody who was asked leads."""
        body = msgspec.json.encode(request)
        for peer in self._others:
            answer = self._call(peer, "/membership", body)
            if answer is None or answer[0] == 409:
                continue
            if answer[0] not in (200, 202):
                raise NotReplaced(f"{peer.name} refuses: {json.loads(answer[1]).get('error', answer[0])}")
            return msgspec.json.decode(answer[1], type=MembershipReply)
        return None

    def _call(self, peer: PeerAddress, path: str, body: bytes | None) -> tuple[int, bytes] | None:
        """Status and body of the answer; None if there is none."""
        url = f"http://{peer.host}:{peer.admin_port}{path}"
        request = urllib.request.Request(url, body, self._headers, method="POST" if body else "GET")
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return None

    def _attempts(self, what: str) -> Iterator[None]:
        end_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end_s:
            yield
            time.sleep(_RETRY_S)
        raise NotReplaced(
            f"waited {_PATIENCE_S:.0f} s for {what} of {self._config.cluster!r}; a majority of the other"
            f" members ({', '.join(peer.name for peer in self._others)}) has to run"
        )
