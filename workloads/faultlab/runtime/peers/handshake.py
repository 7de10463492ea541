"""How two members prove to each other who they are, before anything else passes between them. No I/O.

    dialling                                  answering
    HELLO(version, cluster, ids, uuid,
          address, nonce)                 ->
                                          <-  CHALLENGE(nonce, uuid, proof)
    PROOF(proof)                          ->
                                          <-  WELCOME, or REFUSED(reason), or REFUSED_IDENTITY(message, proof)

A proof is HMAC-SHA256 under the cluster's key over everything both have said, with the role of who proves.
Each side's proof covers the other's fresh nonce, so one that was recorded proves nothing later; the
roles and the order of the ids make one that is sent back to its sender worthless. Whoever answers proves
itself first: who dialled a stranger learns it before it has proved anything itself, and believes no stranger
that says its identity is refused. Without a key the proofs are empty and not looked at.

A key protects the handshake alone: what follows is neither encrypted nor signed
(docs/systems/raft-security.md).
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec

from ..errors import ProtocolError
from .frames import CHALLENGE, HELLO, PROOF, REFUSED, REFUSED_IDENTITY, WELCOME, frame

PROTOCOL_VERSION = 2
NONCE_BYTES = 32
_MAX_REASON_BYTES = 1024

RefusalReason = Literal[
    "malformed", "version", "cluster", "recipient", "sender", "reflected", "replayed", "key", "identity",
    "crowded", "timeout",
]  # fmt: skip
REFUSAL_REASONS: tuple[RefusalReason, ...] = (
    "malformed", "version", "cluster", "recipient", "sender", "reflected", "replayed", "key", "identity",
    "crowded", "timeout",
)  # fmt: skip
"""Garbage; another version; another cluster; meant for another member; from nobody that may be a member; our
own words; words heard before; no proof of the key; a known id with another uuid; too many that had not shaken
hands; a handshake that was not finished in time."""

_Role = Literal["dialling", "answering", "refusing"]


class Refusal(ProtocolError):
    """The other side may not go on; `reason` is what it is counted under."""

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RefusedByPeer(ProtocolError):
    """The other side does not let us in, and says why. Not proved: no reason to do more than try again."""


class IdentityRefused(ProtocolError):
    """The other side has proved itself, and knows our id under another uuid: our data is not what it was."""


class Identity(msgspec.Struct, frozen=True):
    """Who a member is, towards its peers."""

    cluster: str
    member: str
    uuid: str = ""
    """Of its data directory; empty: not told, and never learned."""
    key: bytes | None = msgspec.field(default=None)
    """Shared by the members of the cluster; None: nobody proves anything."""
    address: tuple[str, int] | None = None
    """Host and port at which it hears its peers, for those that do not know it yet."""

    def __repr__(self) -> str:
        return (
            f"Identity({self.cluster!r}, {self.member!r}, {self.uuid!r}, key={'set' if self.key else None})"
        )


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """Who dials, and whom it means to reach. `version` stays first for ever; version 1 ended with `to`."""

    version: int
    cluster: str
    sender: str
    to: str
    uuid: str = ""
    nonce: bytes = b""
    address: tuple[str, int] | None = None


class Challenge(msgspec.Struct, frozen=True, array_like=True):
    """The answering side's nonce and uuid, and its proof."""

    nonce: bytes
    uuid: str
    proof: bytes


class _IdentityRefusal(msgspec.Struct, frozen=True, array_like=True):
    message: str
    proof: bytes


_T = TypeVar("_T")


def _decode(kind: type[_T], payload: bytes) -> _T:
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal("malformed", f"not a handshake: {error}") from error


def encode_hello(hello: Hello) -> bytes:
    """HELLO as a frame."""
    return frame(HELLO, msgspec.msgpack.encode(hello))


def prove(key: bytes | None, role: _Role, hello: Hello, nonce: bytes, uuid: str, message: str = "") -> bytes:
    """The proof of `role` in the handshake begun by `hello` and answered with `nonce` and `uuid`."""
    if key is None:
        return b""
    said = msgspec.msgpack.encode(("faultlab peers", role, hello, nonce, uuid, message))
    return hmac.digest(key, said, hashlib.sha256)


class Dialling:
    """The dialling side of one handshake: `hello()`, then `received` for each frame until `done`."""

    def __init__(self, own: Identity, to: str, check_uuid: Callable[[str, str], str | None]) -> None:
        """`check_uuid(id, uuid)`: why that uuid is not that of the id; None where it may be."""
        self._own = own
        self._check_uuid = check_uuid
        self._hello = Hello(
            PROTOCOL_VERSION,
            own.cluster,
            own.member,
            to,
            own.uuid,
            secrets.token_bytes(NONCE_BYTES),
            own.address,
        )
        self._challenge: Challenge | None = None
        self.done = False

    @property
    def uuid(self) -> str:
        """The peer's; empty before it has told it."""
        return self._challenge.uuid if self._challenge is not None else ""

    def hello(self) -> bytes:
        """The first frame."""
        return encode_hello(self._hello)

    def received(self, channel: int, payload: bytes) -> bytes | None:
        """What to answer, if anything; raises Refusal, RefusedByPeer or IdentityRefused."""
        if channel == REFUSED and not self.done:
            raise RefusedByPeer(f"refused: {payload[:200].decode('utf-8', 'replace')}")
        if channel == CHALLENGE and self._challenge is None:
            return self._challenged(_decode(Challenge, payload))
        if channel == REFUSED_IDENTITY and self._challenge is not None and not self.done:
            self._identity_refused(_decode(_IdentityRefusal, payload), self._challenge)
        if channel == WELCOME and self._challenge is not None and not self.done:
            self.done = True
            return None
        raise Refusal("malformed", f"unexpected frame on channel {channel}; only the dialling side sends")

    def _challenged(self, challenge: Challenge) -> bytes:
        own, hello = self._own, self._hello
        if len(challenge.nonce) != NONCE_BYTES:
            raise Refusal("malformed", f"a nonce of {len(challenge.nonce)} bytes; {NONCE_BYTES} are expected")
        if challenge.nonce == hello.nonce:
            raise Refusal("reflected", f"{hello.to!r} answered with our own nonce")
        expected = prove(own.key, "answering", hello, challenge.nonce, challenge.uuid)
        if own.key is not None and not hmac.compare_digest(expected, challenge.proof):
            raise Refusal("key", f"{hello.to!r} did not prove that it has the key of cluster {own.cluster!r}")
        problem = self._check_uuid(hello.to, challenge.uuid)
        if problem is not None:
            raise Refusal("identity", problem)
        self._challenge = challenge
        return frame(PROOF, prove(own.key, "dialling", hello, challenge.nonce, challenge.uuid))

    def _identity_refused(self, refusal: _IdentityRefusal, challenge: Challenge) -> None:
        key = self._own.key
        expected = prove(key, "refusing", self._hello, challenge.nonce, challenge.uuid, refusal.message)
        if key is not None and not hmac.compare_digest(expected, refusal.proof):
            raise Refusal("key", f"somebody other than {self._hello.to!r} refused our identity")
        raise IdentityRefused(refusal.message)


class Answering:
    """The answering side of one handshake: `received` for each frame until `peer` is set."""

    def __init__(
        self,
        own: Identity,
        check_sender: Callable[[Hello], None],
        check_uuid: Callable[[str, str], str | None],
    ) -> None:
        """`check_sender(hello)` raises Refusal for who may not come in; `check_uuid` as in Dialling."""
        self._own = own
        self._check_sender = check_sender
        self._check_uuid = check_uuid
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._hello: Hello | None = None
        self.peer: Hello | None = None
        """Who it is, once that is proved."""

    def received(self, channel: int, payload: bytes) -> bytes:
        """What to answer; raises Refusal, for which `refusal_frame` has the last word to the other side."""
        if channel == HELLO and self._hello is None:
            return self._greeted(_decode(Hello, payload))
        if channel == PROOF and self._hello is not None and self.peer is None:
            return self._proved(self._hello, payload)
        raise Refusal("malformed", f"channel {channel} before the handshake was done")

    def refusal_frame(self, refusal: ProtocolError) -> bytes:
        """The last frame to who was refused."""
        message = str(refusal)
        if isinstance(refusal, Refusal) and refusal.reason == "identity" and self._hello is not None:
            message = message[:_MAX_REASON_BYTES]
            proof = prove(self._own.key, "refusing", self._hello, self._nonce, self._own.uuid, message)
            return frame(REFUSED_IDENTITY, msgspec.msgpack.encode(_IdentityRefusal(message, proof)))
        return frame(REFUSED, message.encode("utf-8", "replace")[:_MAX_REASON_BYTES])

    def _greeted(self, hello: Hello) -> bytes:
        own = self._own
        if hello.version != PROTOCOL_VERSION:
            raise Refusal(
                "version", f"version {hello.version} of the peer protocol; {PROTOCOL_VERSION} is spoken here"
            )
        if hello.cluster != own.cluster:
            raise Refusal("cluster", f"cluster {hello.cluster!r}; this is {own.cluster!r}")
        if hello.sender == own.member:
            raise Refusal("reflected", f"{hello.sender!r} is this member itself")
        if hello.to != own.member:
            raise Refusal("recipient", f"looking for {hello.to!r}; this is {own.member!r}")
        if len(hello.nonce) != NONCE_BYTES:
            raise Refusal("malformed", f"a nonce of {len(hello.nonce)} bytes; {NONCE_BYTES} are expected")
        self._check_sender(hello)
        self._hello = hello
        proof = prove(own.key, "answering", hello, self._nonce, own.uuid)
        return frame(CHALLENGE, msgspec.msgpack.encode(Challenge(self._nonce, own.uuid, proof)))

    def _proved(self, hello: Hello, proof: bytes) -> bytes:
        own = self._own
        expected = prove(own.key, "dialling", hello, self._nonce, own.uuid)
        if own.key is not None and not hmac.compare_digest(expected, proof):
            raise Refusal(
                "key", f"{hello.sender!r} did not prove that it has the key of cluster {own.cluster!r}"
            )
        problem = self._check_uuid(hello.sender, hello.uuid)
        if problem is not None:
            raise Refusal("identity", problem)
        self.peer = hello
        return frame(WELCOME, b"")
