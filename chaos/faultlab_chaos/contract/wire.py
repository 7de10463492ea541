"""What the operator tells a node's agent over HTTP, and what the agent answers.

All requests carry `Authorization: Bearer KEY`. Bodies are JSON.

- `PUT /v1/injections` (`WantedInjections` -> `InjectionsStatus`): the whole set wanted on this node by
  this `owner`. Level-triggered: what is not in it is undone, what is in it is applied or has its
  lease renewed. An injection that nobody renews ends with its lease, in the kernel.
- `GET /v1/injections` -> `InjectionsStatus`: what stands in the kernel now.
- `POST /v1/probes/open` (`OpenProbes` -> `OpenedProbes`): a UDP socket in each named pod, for 10 s at most.
- `POST /v1/probes/send` (`SendProbes` -> `SentProbes`): one-way datagrams, from one pod to another's socket.
- `POST /v1/probes/collect` (`CollectProbes` -> `CollectedProbes`): nonces that arrived; closes sockets.
- `GET /v1/capabilities` -> `Capabilities`. `GET /healthz`: without a key.

Anything but 200 has a body `Problem`: 400 garbage or beyond a bound (nothing was done), 401 wrong or no key,
404 no such path, 405 no such method there, 409 too late (nothing was done), 413 too long.
"""

from typing import Final

import msgspec

AGENT_PORT: Final = 7010


class PodRef(msgspec.Struct, frozen=True, rename="camel"):
    """A pod as the agent finds it: by the runtime's id of one of its containers, else by its uid."""

    namespace: str
    name: str
    container_id: str
    """As in the pod's status, with its scheme: `containerd://...`, `embedded://...`."""
    uid: str = ""
    """The pod's uid. While the container is being restarted it leads to the pod's sandbox, whose network
    the next container gets; empty: the container alone is looked for."""


class Deafness(msgspec.Struct, frozen=True, rename="camel"):
    """One pod and the addresses that it does not hear (packets from them are dropped on arrival)."""

    pod: PodRef
    sources: tuple[str, ...]
    """IPv4 addresses."""


class PartitionInjection(msgspec.Struct, frozen=True, rename="camel", tag="partition", tag_field="kind"):
    """The part of a partition that concerns this node's pods."""

    id: str
    """Stable name of the fault, unique in the cluster: `NAMESPACE/NAME/UID`."""
    lease_ms: int
    deaf: tuple[Deafness, ...]


class WantedInjections(msgspec.Struct, frozen=True, rename="camel"):
    """Everything that one owner wants on this node; two owners do not disturb each other."""

    owner: str
    injections: tuple[PartitionInjection, ...]
    valid_until_ms: int = 0
    """On the agent's clock (`InjectionsStatus.clock_ms`); 0: always. What was held up longer, by an agent
    that was stopped or by the network, is answered with 409: its sender has given it up, and a cut made
    then would stand when nobody says so."""


class InjectionState(msgspec.Struct, frozen=True, rename="camel"):
    """One injection on one pod."""

    id: str
    owner: str
    pod: PodRef
    applied: bool
    message: str = ""
    """Why it is not applied: the pod is not here, the kernel refused, ..."""
    lease_remaining_ms: int = 0


class InjectionsStatus(msgspec.Struct, frozen=True, rename="camel"):
    injections: tuple[InjectionState, ...]
    clock_ms: int = 0
    """The agent's monotonic clock as it answered; another node's has nothing to do with it."""


class OpenProbes(msgspec.Struct, frozen=True, rename="camel"):
    pods: tuple[PodRef, ...]


class ProbeSocket(msgspec.Struct, frozen=True, rename="camel"):
    pod: PodRef
    port: int
    socket_id: str
    error: str = ""


class OpenedProbes(msgspec.Struct, frozen=True, rename="camel"):
    sockets: tuple[ProbeSocket, ...]


class ProbeDatagram(msgspec.Struct, frozen=True, rename="camel"):
    """Send `nonce` from inside `source` to `address:port`."""

    source: PodRef
    address: str
    port: int
    nonce: str


class SendProbes(msgspec.Struct, frozen=True, rename="camel"):
    datagrams: tuple[ProbeDatagram, ...]


class SentProbes(msgspec.Struct, frozen=True, rename="camel"):
    """A datagram that a cut swallows was sent all the same; here are those that could not even be sent."""

    errors: dict[str, str] = {}
    """Nonce -> why it was not sent: such a probe proves nothing."""


class CollectProbes(msgspec.Struct, frozen=True, rename="camel"):
    socket_ids: tuple[str, ...]
    wait_ms: int
    """How long to wait for nonces that have not come."""
    expected: tuple[str, ...] = ()
    """Nonces that should arrive: collecting ends early once all of them have."""


class CollectedProbes(msgspec.Struct, frozen=True, rename="camel"):
    received: dict[str, tuple[str, ...]]
    """socket id -> nonces. A socket that is not open (any more) is left out: that proves nothing."""


class Capability(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    available: bool
    message: str = ""


class Capabilities(msgspec.Struct, frozen=True, rename="camel"):
    version: str
    kernel: str
    capabilities: tuple[Capability, ...]


class Problem(msgspec.Struct, frozen=True, rename="camel"):
    """Why a request was not answered with 200."""

    error: str
