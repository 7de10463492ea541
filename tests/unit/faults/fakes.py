"""A cluster without Kubernetes: the operator's cache as the API server, agents with a kernel of their own."""

import asyncio
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from faultlab.contract.member import RaftStatus
from faultlab.contract.run import MemberView
from faultlab_chaos.contract.wire import (
    CollectedProbes,
    CollectProbes,
    InjectionsStatus,
    InjectionState,
    OpenedProbes,
    PodRef,
    ProbeDatagram,
    ProbeSocket,
    WantedInjections,
)
from faultlab_operator.core import Cache, Key, Services, Settings, SystemClock, rfc3339
from faultlab_operator.core.clock import Clock
from faultlab_operator.faults.errors import AgentError
from faultlab_operator.kube.merge import merge_patch

NAMESPACE = "lab"
_versions = itertools.count(1)


class FakeKube:
    """Writes into the cache, as the API server's answers do."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.events: list[tuple[str, str]] = []

    async def apply(self, obj: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        metadata = obj["metadata"]
        known = self.cache.get(obj["kind"], metadata["namespace"], metadata["name"]) or {}
        return self._put({**known, **obj, "metadata": {**known.get("metadata", {}), **metadata}})

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, Any], **_: Any
    ) -> dict[str, Any]:
        known = self.cache.get(kind, namespace, name)
        assert known is not None
        return self._put(_merge(known, patch))

    async def patch_status(self, kind: str, namespace: str, name: str, status: Mapping[str, Any]) -> bool:
        known = self.cache.get(kind, namespace, name)
        if known is None or not merge_patch(known.get("status") or {}, status):
            return False
        self._put({**known, "status": dict(status)})
        return True

    async def delete(self, kind: str, namespace: str, name: str, **_: Any) -> bool:
        known = self.cache.get(kind, namespace, name)
        if known is None:
            return False
        self.cache.drop(known)
        return True

    async def create_event(self, _involved: Mapping[str, Any], _kind: str, reason: str, message: str) -> None:
        self.events.append((reason, message))

    def _put(self, obj: dict[str, Any]) -> dict[str, Any]:
        metadata = obj["metadata"]
        version = next(_versions)
        obj = {
            **obj,
            "metadata": {
                "uid": f"uid-{version}",
                "generation": 1,
                "creationTimestamp": rfc3339(SystemClock().now()),
                **metadata,
                "resourceVersion": str(version),
            },
        }
        self.cache.put(obj)
        return obj


def _merge(known: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(known)
    for key, value in patch.items():
        if isinstance(value, Mapping):
            merged[key] = _merge(merged.get(key) or {}, value)
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


@dataclass
class FakeAgents:
    """All nodes' agents: injections with leases in a kernel that drops datagrams for as long as they last."""

    addresses: dict[str, str] = field(default_factory=dict)
    """Pod name -> IP."""
    down: set[str] = field(default_factory=set)
    """Nodes whose agent does not answer."""
    ineffective: bool = False
    """The agents say that they applied it, and nothing is cut."""
    held: dict[str, dict[str, tuple[float, Any]]] = field(default_factory=dict)
    """node -> fault -> (until, injection)"""
    puts: list[tuple[str, float]] = field(default_factory=list)
    mail: dict[str, list[str]] = field(default_factory=dict)

    async def put(self, node: str, wanted: WantedInjections) -> InjectionsStatus:
        await self._asked(node)
        now = time.monotonic()
        self.puts.append((node, now))
        self.held[node] = {each.id: (now + each.lease_ms / 1000, each) for each in wanted.injections}
        return await self.standing(node)

    async def standing(self, node: str) -> InjectionsStatus:
        await self._asked(node)
        now = time.monotonic()
        return InjectionsStatus(
            tuple(
                InjectionState(
                    id_, "faultlab-operator", deaf.pod, True, lease_remaining_ms=int((until - now) * 1000)
                )
                for id_, (until, injection) in self.held.get(node, {}).items()
                if until > now
                for deaf in injection.deaf
            )
        )

    async def open_probes(self, node: str, pods: tuple[PodRef, ...]) -> OpenedProbes:
        await self._asked(node)
        for pod in pods:
            self.mail[pod.name] = []
        return OpenedProbes(tuple(ProbeSocket(pod, 9, pod.name) for pod in pods))

    async def send_probes(self, node: str, datagrams: tuple[ProbeDatagram, ...]) -> None:
        await self._asked(node)
        names = {address: name for name, address in self.addresses.items()}
        for datagram in datagrams:
            target = names[datagram.address]
            if not self.is_cut(datagram.source.name, target):
                self.mail[target].append(datagram.nonce)

    async def collect_probes(self, node: str, wanted: CollectProbes) -> CollectedProbes:
        await self._asked(node)
        return CollectedProbes({name: tuple(self.mail.pop(name)) for name in wanted.socket_ids})

    def cut_on(self, node: str) -> bool:
        """Whether anything still stands in the node's kernel."""
        return any(until > time.monotonic() for until, _ in self.held.get(node, {}).values())

    def is_cut(self, source: str, target: str) -> bool:
        """Whether the target does not hear the source now."""
        now = time.monotonic()
        return not self.ineffective and any(
            deaf.pod.name == target and self.addresses[source] in deaf.sources
            for faults in self.held.values()
            for until, injection in faults.values()
            if until > now
            for deaf in injection.deaf
        )

    async def _asked(self, node: str) -> None:
        await asyncio.sleep(0)
        if node in self.down:
            raise AgentError(f"the agent of node {node} cannot be reached")


class FakeMembers:
    """A hub whose members say what the test wants."""

    def __init__(self) -> None:
        self.views: dict[str, MemberView] = {}

    def statuses(self, _namespace: str, _name: str) -> dict[str, MemberView]:
        return self.views

    async def refresh(self, _namespace: str, _name: str) -> None:
        """They are always fresh."""

    def lead(self, leader: str | None, members: tuple[str, ...], term: int = 3) -> None:
        self.views = {
            name: MemberView(
                name,
                True,
                RaftStatus(
                    "raft", "demo", name, "leader" if name == leader else "follower", term, leader,
                    0, 0, 0, {}, "0.1.0", "",
                ),
            )
            for name in members
        }  # fmt: skip


@dataclass
class Lab:
    """The operator's services around the fakes, with a cluster `demo` of five and a load on it."""

    services: Services
    cache: Cache
    kube: FakeKube
    agents: FakeAgents
    members: FakeMembers

    def pod(self, name: str, address: str, node: str, component: str = "member", uid: str = "1") -> None:
        self.agents.addresses[name] = address
        self.kube._put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": NAMESPACE,
                    "uid": f"{name}-{uid}",
                    "labels": {
                        "app.kubernetes.io/component": component,
                        "faultlab.dev/system-name": "demo",
                    },
                },
                "spec": {"nodeName": node},
                "status": {
                    "phase": "Running",
                    "podIP": address,
                    "containerStatuses": [{"containerID": f"embedded://{name}-{uid}"}],
                },
            }
        )

    async def partition(self, name: str = "cut", **spec: Any) -> Key:
        spec.setdefault("selector", {"system": {"kind": "RaftCluster", "name": "demo"}})
        spec.setdefault("duration", "10s")
        await self.kube.apply(
            {
                "apiVersion": "faultlab.dev/v1alpha1",
                "kind": "NetworkPartition",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": spec,
            }
        )
        return Key("NetworkPartition", NAMESPACE, name)

    def status(self, key: Key) -> dict[str, Any]:
        obj = self.cache.get(*key)
        assert obj is not None
        return obj.get("status") or {}

    def conditions(self, key: Key) -> dict[str, str]:
        return {each["type"]: each["status"] for each in self.status(key).get("conditions", ())}

    def message(self, key: Key, condition: str) -> str:
        return next(each["message"] for each in self.status(key)["conditions"] if each["type"] == condition)


MEMBERS = tuple(f"demo-{index}" for index in range(5))


def make_lab(clock: Clock | None = None) -> Lab:
    """Members on two nodes; demo-2 leads."""
    cache = Cache()
    kube = FakeKube(cache)
    members = FakeMembers()
    services = Services(
        settings=Settings(),
        clock=clock or SystemClock(),
        cache=cache,
        kube=kube,  # type: ignore[arg-type]
        members=members,  # type: ignore[arg-type]
        loads=None,  # type: ignore[arg-type]
        http=None,  # type: ignore[arg-type]
        wake=lambda _key, _after: None,
    )
    lab = Lab(services, cache, kube, FakeAgents(), members)
    labels = {"faultlab.dev/chaos": "enabled"}
    kube._put({"kind": "Namespace", "metadata": {"name": NAMESPACE, "namespace": "", "labels": labels}})
    system = {"kind": "RaftCluster", "name": "demo"}
    for kind, spec in (("RaftCluster", {"replicas": 5}), ("LoadTest", {"system": system})):
        kube._put({"kind": kind, "metadata": {"name": "demo", "namespace": NAMESPACE}, "spec": spec})
    for index, name in enumerate(MEMBERS):
        lab.pod(name, f"10.0.0.{index + 1}", f"node-{index % 2}")
    lab.pod("demo-load", "10.0.0.9", "node-0", component="load")
    members.lead("demo-2", MEMBERS)
    return lab
