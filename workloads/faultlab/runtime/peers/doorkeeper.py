"""Who may come in, who is known by which uuid, and how often somebody was turned away."""

import logging
from collections.abc import Callable, Mapping

from ..errors import ProtocolError
from .handshake import REFUSAL_REASONS, Hello, Refusal, RefusalReason

log = logging.getLogger("faultlab.peers")

_MAX_NONCES = 1024
"""Of the handshakes begun last: one that begins like any of them is a replay. An older one fails as `key`."""
_LOG_EVERY_S = 10.0
"""A refusal for one reason is logged at most so often; the counters see all of them."""


class Doorkeeper:
    """Keeps the list of members, what is known of them, and the counts of refusals by reason."""

    def __init__(
        self,
        keyed: bool,
        known: Mapping[str, str],
        on_learned: Callable[[str, str], None],
        time_s: Callable[[], float],
    ) -> None:
        """`known`: the uuid of each id that was ever met; `on_learned(id, uuid)`: one was met now.
        Grows by one entry for each id that ever was a member."""
        self.listed: frozenset[str] = frozenset()
        self.refusals: dict[RefusalReason, int] = dict.fromkeys(REFUSAL_REASONS, 0)
        self._keyed = keyed
        self._known = dict(known)
        self._on_learned = on_learned
        self._time_s = time_s
        self._nonces: dict[bytes, None] = {}
        self._logged: dict[RefusalReason, float] = {}

    def check_sender(self, hello: Hello) -> None:
        """Raises Refusal for who may not come in.

        A member that was left behind may hear from a leader that its configuration does not know yet, and has
        to listen to it all the same (thesis, 4.1); one that joins knows nobody at all. With a key the proof
        decides. Without one an unlisted id has to be one that was met before, or one that a leader has made
        (`name#N`), unless none is listed.
        """
        may_be = self._keyed or not self.listed or "#" in hello.sender or hello.sender in self._known
        if hello.sender not in self.listed and not may_be:
            raise Refusal("sender", f"{hello.sender!r} is no member of {hello.cluster!r}")
        if hello.nonce in self._nonces:
            raise Refusal("replayed", f"{hello.sender!r} began a handshake as one before it began")
        if len(self._nonces) >= _MAX_NONCES:
            del self._nonces[next(iter(self._nonces))]
        self._nonces[hello.nonce] = None

    def check_uuid(self, member: str, uuid: str) -> str | None:
        """Why `uuid` is not that of `member`; None where it is, or may be."""
        known = self._known.get(member)
        if known is None or known == uuid:
            return None
        return (
            f"{member!r} is known here with the data {known!r} and has come with {uuid!r}: it has lost its"
            " data, or was given another's; replace it under a new id (the operator does; by hand: --replace)"
        )

    def learn(self, member: str, uuid: str) -> None:
        """`member` has proved itself under `uuid`."""
        if uuid and member not in self._known:
            self._known[member] = uuid
            self._on_learned(member, uuid)

    def refused(self, error: ProtocolError, who: str) -> None:
        """Counts and logs that `who` was turned away."""
        reason: RefusalReason = error.reason if isinstance(error, Refusal) else "malformed"
        self.refusals[reason] += 1
        now_s = self._time_s()
        if now_s >= self._logged.get(reason, -_LOG_EVERY_S) + _LOG_EVERY_S:
            self._logged[reason] = now_s
            log.warning("refused %s (%s, %d so far): %s", who, reason, self.refusals[reason], error)
