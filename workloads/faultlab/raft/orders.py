"""What a member can be told to do over its admin port: to hand over, and to change who the members are."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec

from faultlab.contract.member import (
    MembershipReply,
    MembershipRequest,
    RaftConfig,
    TransferReply,
    TransferRequest,
)

from .configuration import name_of
from .errors import RaftError
from .membership import Goal, HandOver, Reached, Wait
from .node import RaftNode
from .status import configuration_status

if TYPE_CHECKING:  # not loaded: aiohttp takes its time (member.py)
    from faultlab.runtime.admin import Action

_POLL_S = 0.002
_DECISION_S = 1.0
_T = TypeVar("_T")


def proof_of(cluster: str, key: bytes) -> str:
    """What an order must carry in KEY_HEADER where the cluster has a peer key."""
    return hmac.new(key, f"admin {cluster}".encode(), hashlib.sha256).hexdigest()


class Orders:
    """The orders that one member takes. One that does not lead answers 409 and names who does."""

    def __init__(self, config: RaftConfig, node: RaftNode) -> None:
        self._node = node
        self._core = node.core
        self._patience_s = 1.5 * config.election_timeout_ms / 1000
        self.actions: Mapping[str, Action] = {"/transfer": self.transfer, "/membership": self.membership}

    async def transfer(self, body: bytes) -> tuple[int, msgspec.Struct]:
        """`POST /transfer`: 200 once another leads; 409 where nothing came of it. Raises ValueError."""
        request = _decode(body or b"{}", TransferRequest)
        if self._core.role != "leader":
            return 409, self._leader()
        candidates = None
        if request.to is not None:
            voter = self._node.changes.voter_named(request.to)
            if voter is None:
                voters = ", ".join(map(name_of, self._core.configuration.voters))
                raise ValueError(f"to: {request.to!r} is no voter; one of {voters} can lead")
            if voter == self._core.leader:
                return 200, self._leader()
            candidates = [voter]
        try:
            begun = self._node.changes.hand_over(candidates) is not None
        except RaftError:
            begun = True  # to another, whom somebody named before: see how that ends
        if begun and await self._another_leads():
            return 200, self._leader()
        return 409, self._leader()

    async def membership(self, body: bytes) -> tuple[int, msgspec.Struct]:
        """`POST /membership`: 200 when it is reached, 202 while it is under way, 409 from who does not, or
        must not any longer, lead. Raises ValueError."""
        goal = Goal.of(_decode(body, MembershipRequest))
        if self._core.role != "leader":
            return 409, self._leader()
        step = self._node.changes.want(goal)
        if isinstance(step, HandOver):
            await self._another_leads()
            return 409, self._leader()
        await _until(self._is_decided, min(self._patience_s, _DECISION_S))
        if self._core.role != "leader":
            return 409, self._leader()
        reached = isinstance(step, Reached)
        waiting_for = step.reason if isinstance(step, Wait) else None
        return (200 if reached else 202), MembershipReply(
            reached, configuration_status(self._core), waiting_for, self._is_decided()
        )

    async def hand_over(self) -> None:
        """Before this member ends: gives the leadership away, if it has it, within an election timeout
        and a half."""
        if self._core.role != "leader":
            return
        try:
            if self._node.changes.hand_over() is not None:
                await self._another_leads()
        except RaftError:
            return

    def _is_decided(self) -> bool:
        """Whether the configuration will not be undone any more, or not by this member."""
        core = self._core
        return core.role != "leader" or core.configuration_index <= core.commit

    def _leader(self) -> TransferReply:
        leader = self._core.leader
        return TransferReply(None if leader is None else name_of(leader))

    async def _another_leads(self) -> bool:
        """Waits until another member leads, or the hand-over has failed; whether another does."""
        core = self._core

        def over() -> bool:
            return not core.transferring if core.role == "leader" else core.leader is not None

        await _until(over, self._patience_s)
        return core.role != "leader" and core.leader is not None


async def _until(condition: Callable[[], bool], patience_s: float) -> None:
    for _ in range(int(patience_s / _POLL_S)):
        if condition():
            return
        await asyncio.sleep(_POLL_S)


def _decode(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the body is no {kind.__name__}: {error}") from error
