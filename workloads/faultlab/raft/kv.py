"""The replicated state machine: a map of byte strings and lists, changed only by commands in log order.

Deterministic: the same commands in the same order give the same map, the same sessions, the same results
and the same digest on every member. Nothing here knows of time, chance or who asked; what time it is, the
log says (`sessions`).
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from faultlab.runtime.resp.encoder import Result, error_line

from .commands import INT64_MAX, INT64_MIN, NOT_AN_INTEGER, Op, SetFlags, parse_integer
from .lists import GENERATIONS, WRONG_TYPE, Data, ListValue, length, push, slice_of
from .log_digest import LogDigest
from .messages import Entry
from .rules import Rule
from .sessions import New, Sessions, fingerprint_of
from .store_snapshot import FrozenStore, read_chunks

_decode = msgspec.msgpack.Decoder(list).decode

MAX_REPLY_BYTES = 8 * 1024 * 1024
"""The values that one MGET or LRANGE may answer with."""

_REPLY_TOO_LONG = error_line(
    f"ERR the values are longer than {MAX_REPLY_BYTES} bytes together; ask for fewer keys or values"
)
_OVERFLOW = error_line("ERR increment or decrement would overflow")

_NO_COMMAND = b"\xc1"
"""No command's encoding begins so: it tells entries of other kinds apart in the digest."""

_NX, _XX, _GET = int(SetFlags.NX), int(SetFlags.XX), int(SetFlags.GET)


class KeyValueStore:
    """The map, and how far into the log it has come."""

    def __init__(
        self, break_rule: Rule | None = None, *, own_clock_ms: Callable[[], int] | None = None
    ) -> None:
        """`own_clock_ms` (wall clock, milliseconds) is what the rule `expireByOwnClock` expires by."""
        self._data: Data = {}
        self._digest = LogDigest()
        self._generation = next(GENERATIONS)
        self._keep_sessions = break_rule != "snapshotWithoutSessions"
        by_own_clock = break_rule == "expireByOwnClock"
        if by_own_clock and own_clock_ms is None:
            raise ValueError("the rule expireByOwnClock needs own_clock_ms")
        self._sessions = Sessions(
            ignore_numbers=break_rule == "forgetSession", own_clock_ms=own_clock_ms if by_own_clock else None
        )
        self._methods: dict[int, Callable[[list[Any]], Result]] = {
            Op.RPUSH: self._push,
            Op.SESSION_OPEN: self._open_session,
            Op.SESSION_CLOSE: self._close_session,
            Op.REQ: self._request,
        }
        self.applied_index = 0
        self.applied_term = 0

    def __len__(self) -> int:
        return len(self._data)

    @property
    def sessions(self) -> int:
        """How many clients' sessions are open."""
        return len(self._sessions)

    def apply(self, entry: Entry) -> Result:
        """Applies the next entry of the log; one that is no command changes nothing else and answers None.

        Entries come in order, each once.
        """
        index, data = entry.index, entry.data
        assert index == self.applied_index + 1, f"entry {index} applied after {self.applied_index}"
        self.applied_index = index
        self.applied_term = term = entry.term
        if entry.kind:
            self._digest.add(index, term, _NO_COMMAND + data)
            return None
        self._digest.add(index, term, data)
        if not data:
            return None
        args = _decode(data)
        function = _APPLY.get(args[0])
        return function(self._data, args) if function is not None else self._methods[args[0]](args)

    def read(self, command: bytes) -> Result:
        """Answers a reading command from the map as it is."""
        args = _decode(command)
        return _READ[args[0]](self._data, args)

    def digest(self) -> str:
        """A hash, in hex, over every entry applied so far: index, term and data."""
        return self._digest.hex()

    def freeze(self) -> FrozenStore:
        """The state as it is now: a shallow copy, some milliseconds for 100,000 keys."""
        frozen = self._frozen(with_sessions=self._keep_sessions)
        self._generation = next(GENERATIONS)
        return frozen

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Takes the state that `FrozenStore.chunks` wrote, however it is cut, in place of its own.

        Raises BadState, and then nothing has changed. To read a large one elsewhere than on the loop:
        `read_chunks` there, `become` here.
        """
        self.become(read_chunks(chunks))

    def become(self, frozen: FrozenStore) -> None:
        """Takes a frozen state in place of its own; the frozen one stays as it is."""
        self._data = dict(frozen.data)
        self._generation = next(GENERATIONS)
        self._sessions.replace(frozen.sessions, frozen.log_time_ms)
        self._digest = LogDigest(frozen.applied_index, frozen.applied_term, frozen.digest)
        self.applied_index = frozen.applied_index
        self.applied_term = frozen.applied_term

    def fingerprint(self) -> str:
        """A hash, in hex, over the whole state, sessions included: as long as the state is large."""
        whole = hashlib.blake2b(digest_size=16)
        for chunk in self._frozen(with_sessions=True).chunks():
            whole.update(chunk)
        return whole.hexdigest()

    def _frozen(self, *, with_sessions: bool) -> FrozenStore:
        sessions = self._sessions.freeze()
        return FrozenStore(
            self.applied_index,
            self.applied_term,
            self._digest.state(),
            self._sessions.log_time_ms,
            dict(self._data),
            sessions if with_sessions else (),
        )

    def _perform(self, args: list[Any]) -> Result:
        function = _APPLY.get(args[0])
        return function(self._data, args) if function is not None else self._methods[args[0]](args)

    def _push(self, args: list[Any]) -> Result:
        return push(self._data, args[1], args[2:], self._generation)

    def _open_session(self, args: list[Any]) -> Result:
        _, ttl_ms, *user, stamp_ms = args
        self._sessions.advance(stamp_ms)
        self._sessions.open(self.applied_index, user[0] if user else "", ttl_ms)
        return self.applied_index

    def _close_session(self, args: list[Any]) -> Result:
        _, session, *user, stamp_ms = args
        self._sessions.advance(stamp_ms)
        return int(self._sessions.close(session, user[0] if user else ""))

    def _request(self, args: list[Any]) -> Result:
        """Applies a write once for each number of a session (thesis, section 6.3)."""
        _, session, number, command, *user, stamp_ms = args
        sessions = self._sessions
        sessions.advance(stamp_ms)
        fingerprint = fingerprint_of(command)
        kept = sessions.recall(session, user[0] if user else "", number, fingerprint)
        if not isinstance(kept, New):
            return kept
        reply = self._perform(_decode(command))
        sessions.keep(session, number, fingerprint, reply)
        return reply


def _set(data: Data, args: list[Any]) -> Result:
    if len(args) == 3:
        data[args[1]] = args[2]
        return "+OK"
    _, key, value, flags = args
    old = data.get(key)
    if flags & _GET and type(old) is ListValue:
        return WRONG_TYPE
    stored = not (flags & _NX and old is not None) and not (flags & _XX and old is None)
    if stored:
        data[key] = value
    if flags & _GET:
        return old  # type: ignore[return-value]
    return "+OK" if stored else None


def _del(data: Data, args: list[Any]) -> Result:
    return sum(data.pop(key, None) is not None for key in args[1:])


def _incr(data: Data, args: list[Any]) -> Result:
    _, key, step = args
    value = data.get(key, b"0")
    if type(value) is not bytes:
        return WRONG_TYPE
    current = parse_integer(value)
    if current is None:
        return NOT_AN_INTEGER
    total: int = current + step
    if not INT64_MIN <= total <= INT64_MAX:
        return _OVERFLOW
    data[key] = b"%d" % total
    return total


def _cas(data: Data, args: list[Any]) -> Result:
    _, key, expected, new = args
    value = data.get(key)
    if value != expected:
        return WRONG_TYPE if type(value) is ListValue else 0
    data[key] = new
    return 1


def _mset(data: Data, args: list[Any]) -> Result:
    data.update(zip(args[1::2], args[2::2], strict=True))
    return "+OK"


def _get(data: Data, args: list[Any]) -> Result:
    value = data.get(args[1])
    return WRONG_TYPE if type(value) is ListValue else value  # type: ignore[return-value]


def _exists(data: Data, args: list[Any]) -> Result:
    return sum(key in data for key in args[1:])


def _mget(data: Data, args: list[Any]) -> Result:
    """A list among the values shows as null, as in Redis."""
    values: list[Result] = []
    size = 0
    for key in args[1:]:
        value = data.get(key)
        if type(value) is bytes:
            size += len(value)
            if size > MAX_REPLY_BYTES:
                return _REPLY_TOO_LONG
            values.append(value)
        else:
            values.append(None)
    return values


def _lrange(data: Data, args: list[Any]) -> Result:
    _, key, start, stop = args
    values = slice_of(data.get(key), start, stop)
    if values is None:
        return WRONG_TYPE
    if sum(map(len, values)) > MAX_REPLY_BYTES:
        return _REPLY_TOO_LONG
    return list[Result](values)


_Function = Callable[[Data, list[Any]], Result]

_APPLY: dict[int, _Function] = {Op.SET: _set, Op.DEL: _del, Op.INCR: _incr, Op.CAS: _cas, Op.MSET: _mset}
_READ: dict[int, _Function] = {
    Op.GET: _get,
    Op.EXISTS: _exists,
    Op.MGET: _mget,
    Op.LRANGE: _lrange,
    Op.LLEN: length,
}
