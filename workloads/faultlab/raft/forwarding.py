"""Requests that a follower passes on to the leader, and the leader's answers.

One frame carries all requests of one turn of the loop, one frame all answers of one. A request goes out at
most once. What the client is told when the answer does not come: a write `-UNKNOWN`, for the leader may have
proposed it; a read `-NOTLEADER`, for nothing happened; and `-NOTLEADER` or `-BUSY` for what was never sent.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from faultlab.runtime.errors import ProtocolError
from faultlab.runtime.resp.encoder import Result, error_line, is_result
from faultlab.runtime.resp.handler import Kind, Slot

from .configuration import name_of
from .host import Link, Scheduler
from .vetting import is_read

REQUEST_CHANNEL = 17
ANSWER_CHANNEL = 18

MAX_OUTSTANDING = 16_384
"""Requests passed on and not answered; more are refused with -BUSY."""
MAX_FRAME_REQUEST_BYTES = 8 * 1024 * 1024
"""Requests beyond that go in a further frame."""

_BUSY = error_line(f"BUSY {MAX_OUTSTANDING} requests wait for the leader; nothing happened, try again later")
_LOST_WRITE = error_line(
    "UNKNOWN the leader was lost after the write was passed on; it may or may not happen"
)
_LOST_READ = error_line("NOTLEADER the leader was lost before it answered the read; nothing happened")

Request = tuple[Kind, bytes, Slot]

_encode = msgspec.msgpack.Encoder().encode
_decode_requests = msgspec.msgpack.Decoder(tuple[int, list[bytes]]).decode
_decode_answers = msgspec.msgpack.Decoder(list[tuple[int, Any, int | None]]).decode


class _Outstanding(msgspec.Struct):
    kind: Kind
    slot: Slot
    leader: str
    deadline_s: float


class Forwarder:
    """The follower's side."""

    def __init__(self, links: Mapping[str, Link], after_id: int = 0) -> None:
        """Requests are numbered behind `after_id`. Let no two lives of a member use the same numbers: an
        answer to the one before would be taken for an answer to this one."""
        self._links = links
        self._outstanding: dict[int, _Outstanding] = {}
        self._last_id = after_id

    def __len__(self) -> int:
        return len(self._outstanding)

    def forward(self, leader: str, requests: list[Request], deadline_s: float) -> None:
        """Passes requests on to `leader`; each is answered by `deadline_s` at the latest."""
        if len(self._outstanding) + len(requests) > MAX_OUTSTANDING:
            _resolve(requests, _BUSY)
            return
        link = self._links.get(leader)
        for chunk in _chunks(requests):
            first_id = self._last_id + 1
            payload = _encode((first_id, [command for _, command, _ in chunk]))
            if link is None or not link.send_request(REQUEST_CHANNEL, payload):
                _resolve(chunk, _not_sent(leader, link))
                continue
            for kind, _, slot in chunk:
                self._last_id += 1
                self._outstanding[self._last_id] = _Outstanding(kind, slot, leader, deadline_s)

    def answered(self, leader: str, payload: bytes) -> None:
        """A frame of answers from `leader`; raises ProtocolError."""
        try:
            answers = _decode_answers(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolError(f"malformed answers: {error}") from error
        for request_id, result, term in answers:
            if not is_result(result):
                raise ProtocolError(f"the answer to request {request_id} is none that a command gives")
            waiting = self._outstanding.get(request_id)
            if waiting is not None and waiting.leader == leader:
                del self._outstanding[request_id]
                waiting.slot.resolve(result, None if term is None else name_of(leader), term)

    def lost(self, leader: str) -> None:
        """The connection to `leader` is gone, and with it perhaps what was sent."""
        self._give_up([i for i, waiting in self._outstanding.items() if waiting.leader == leader])

    def expire(self, now_s: float) -> None:
        """Gives up on those whose time is up."""
        self._give_up([i for i, waiting in self._outstanding.items() if waiting.deadline_s <= now_s])

    def abandon(self) -> None:
        """The process ends."""
        self._give_up(list(self._outstanding))

    def _give_up(self, request_ids: list[int]) -> None:
        for request_id in request_ids:
            waiting = self._outstanding.pop(request_id)
            waiting.slot.resolve(_LOST_READ if waiting.kind is Kind.READ else _LOST_WRITE, None, None)


class _RemoteSlot:
    """The place of one answer to a follower."""

    __slots__ = ("_desk", "_peer", "_request_id")

    def __init__(self, desk: "ForwardDesk", peer: str, request_id: int) -> None:
        self._desk = desk
        self._peer = peer
        self._request_id = request_id

    def resolve(self, result: Result, member: str | None, term: int | None) -> None:
        self._desk.answer(self._peer, self._request_id, result, None if member is None else term)


class ForwardDesk:
    """The leader's side."""

    def __init__(
        self, links: Mapping[str, Link], scheduler: Scheduler, submit: Callable[[Kind, bytes, Slot], None]
    ) -> None:
        """`submit` takes a request as if from a client, but never passes it on again."""
        self._links = links
        self._scheduler = scheduler
        self._submit = submit
        self._answers: dict[str, list[tuple[int, Result, int | None]]] = {}

    def requested(self, peer: str, payload: bytes) -> None:
        """A frame of requests from `peer`; raises ProtocolError."""
        try:
            request_id, commands = _decode_requests(payload)
            kinds = [Kind.READ if is_read(command) else Kind.WRITE for command in commands]
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ProtocolError(f"malformed requests: {error}") from error
        for kind, command in zip(kinds, commands, strict=True):
            self._submit(kind, command, _RemoteSlot(self, peer, request_id))
            request_id += 1

    def answer(self, peer: str, request_id: int, result: Result, term: int | None) -> None:
        """Sends an answer with the others of this turn. What cannot be sent the follower gives up in time."""
        if not self._answers:
            self._scheduler.call_soon(self._flush)
        self._answers.setdefault(peer, []).append((request_id, result, term))

    def _flush(self) -> None:
        for peer, answers in self._answers.items():
            link = self._links.get(peer)
            if link is not None:
                for payload in _answer_frames(answers):
                    link.send_request(ANSWER_CHANNEL, payload)
        self._answers = {}


def _answer_frames(answers: list[tuple[int, Result, int | None]]) -> list[bytes]:
    """One frame, or more where many large values would make it too long."""
    payload = _encode(answers)
    if len(payload) <= MAX_FRAME_REQUEST_BYTES or len(answers) == 1:
        return [payload]
    middle = len(answers) // 2
    return _answer_frames(answers[:middle]) + _answer_frames(answers[middle:])


def _chunks(requests: list[Request]) -> list[list[Request]]:
    chunks: list[list[Request]] = [[]]
    size = 0
    for request in requests:
        size += len(request[1])
        if size > MAX_FRAME_REQUEST_BYTES and chunks[-1]:
            chunks.append([])
            size = len(request[1])
        chunks[-1].append(request)
    return chunks


def _not_sent(leader: str, link: Link | None) -> str:
    name = name_of(leader)
    if link is not None and link.connected:
        return error_line(
            f"BUSY the connection to the leader {name} is full; nothing happened, try again later"
        )
    return error_line(f"NOTLEADER the leader {name} cannot be reached from here; nothing happened, try again")


def _resolve(requests: list[Request], reply: str) -> None:
    for _, _, slot in requests:
        slot.resolve(reply, None, None)
