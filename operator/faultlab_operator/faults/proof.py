"""Proof that a partition stands, or is gone: one-way datagrams over every edge.

A probe of an edge is a datagram with a nonce, sent in the source pod's network namespace to a socket in the
target pod's. A cut edge must swallow it and an edge left alone must deliver it, each direction for itself:
the presence of our own rule proves nothing, and neither does a TCP connection that needs both directions.
"""

import asyncio
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from faultlab_chaos.contract.grudges import Edge
from faultlab_chaos.contract.wire import CollectProbes, PodRef, ProbeDatagram, ProbeSocket
from faultlab_operator.faults.agents import Agents
from faultlab_operator.faults.errors import AgentError
from faultlab_operator.faults.pods import PodAt

WAIT_MS = 300
"""For datagrams that should arrive; on one machine they take less than one."""


@dataclass(frozen=True)
class Proof:
    """One round of probes."""

    leaking: tuple[Edge, ...]
    """Edges that should be cut and let a datagram through."""
    silent: tuple[Edge, ...]
    """Edges that should be open and lost theirs."""

    @property
    def holds(self) -> bool:
        return not self.leaking and not self.silent

    def describe(self) -> str:
        """What is wrong, for a condition's message."""
        said = []
        if self.leaking:
            said.append(f"not cut: {_edges(self.leaking)}")
        if self.silent:
            said.append(f"should be open and is not: {_edges(self.silent)}")
        return "; ".join(said)


async def probe(
    agents: Agents, pods: Mapping[str, PodAt], cut: Collection[Edge], left: Collection[Edge]
) -> Proof:
    """One round over all edges at once. Raises AgentError when a node's agent cannot take part."""
    cut = [edge for edge in cut if edge.source in pods and edge.target in pods]
    left = [edge for edge in left if edge.source in pods and edge.target in pods]
    sockets = await _open(agents, pods, {edge.target for edge in (*cut, *left)})
    nonces = {secrets.token_hex(8): edge for edge in (*cut, *left)}
    open_nonces = [nonce for nonce, edge in nonces.items() if edge in set(left)]
    # What must not arrive goes first: by the time the rest has arrived it would have as well.
    for nonce_set in (set(nonces) - set(open_nonces), set(open_nonces)):
        await _send(agents, pods, sockets, {nonce: nonces[nonce] for nonce in nonce_set})
    received = await _collect(agents, pods, sockets, nonces, open_nonces)
    return Proof(
        leaking=tuple(sorted(nonces[nonce] for nonce in received if nonces[nonce] in set(cut))),
        silent=tuple(sorted(nonces[nonce] for nonce in open_nonces if nonce not in received)),
    )


async def _open(
    agents: Agents, pods: Mapping[str, PodAt], targets: Collection[str]
) -> dict[str, ProbeSocket]:
    by_node: dict[str, list[PodRef]] = {}
    for name in sorted(targets):
        by_node.setdefault(pods[name].node, []).append(pods[name].ref)
    opened = await asyncio.gather(*(agents.open_probes(node, tuple(refs)) for node, refs in by_node.items()))
    sockets = {socket.pod.name: socket for answer in opened for socket in answer.sockets}
    for name in targets:
        if name not in sockets or sockets[name].error:
            said = sockets[name].error if name in sockets else "the agent did not mention it"
            raise AgentError(f"no probe socket in pod {name} on node {pods[name].node}: {said}")
    return sockets


async def _send(
    agents: Agents, pods: Mapping[str, PodAt], sockets: Mapping[str, ProbeSocket], nonces: Mapping[str, Edge]
) -> None:
    by_node: dict[str, list[ProbeDatagram]] = {}
    for nonce, edge in nonces.items():
        source, target = pods[edge.source], pods[edge.target]
        datagram = ProbeDatagram(source.ref, target.address, sockets[edge.target].port, nonce)
        by_node.setdefault(source.node, []).append(datagram)
    await asyncio.gather(*(agents.send_probes(node, tuple(some)) for node, some in by_node.items()))


async def _collect(
    agents: Agents,
    pods: Mapping[str, PodAt],
    sockets: Mapping[str, ProbeSocket],
    nonces: Mapping[str, Edge],
    expected: Collection[str],
) -> set[str]:
    by_node: dict[str, list[str]] = {}
    for name in sockets:
        by_node.setdefault(pods[name].node, []).append(name)
    collected = await asyncio.gather(
        *(
            agents.collect_probes(
                node,
                CollectProbes(
                    socket_ids=tuple(sockets[name].socket_id for name in names),
                    wait_ms=WAIT_MS,
                    expected=tuple(nonce for nonce in expected if nonces[nonce].target in names),
                ),
            )
            for node, names in by_node.items()
        )
    )
    arrived = {nonce for answer in collected for some in answer.received.values() for nonce in some}
    return arrived & set(nonces)


def _edges(edges: Collection[Edge]) -> str:
    shown = [f"{edge.source} to {edge.target}" for edge in list(edges)[:4]]
    more = len(edges) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
