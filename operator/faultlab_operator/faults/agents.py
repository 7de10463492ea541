"""The nodes' agents over HTTP: one method for each request of `faultlab_chaos.contract.wire`."""

from collections.abc import Callable
from typing import TypeVar

import aiohttp
import msgspec

from faultlab_chaos.contract.wire import (
    AGENT_PORT,
    CollectedProbes,
    CollectProbes,
    InjectionsStatus,
    OpenedProbes,
    OpenProbes,
    PodRef,
    ProbeDatagram,
    SendProbes,
    SentProbes,
    WantedInjections,
)
from faultlab_operator.core.cache import Cache
from faultlab_operator.faults.errors import AgentError
from faultlab_operator.kube.agent_key import SECRET, AgentKey
from faultlab_operator.kube.resources import AGENT_APP, APP_NAME

REQUEST_TIMEOUT_S = 1.0
"""Longer than an agent ever needs, and short enough that two lost requests do not end a lease."""

Answer = TypeVar("Answer")


class Agents:
    """The agents of all nodes. Every method raises AgentError when the node's agent does not do it.

    While `may_act` says no, nothing is asked for: another operator may see to the faults by now.
    """

    def __init__(
        self,
        cache: Cache,
        http: aiohttp.ClientSession,
        namespace: str,
        key: AgentKey,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self._may_act = may_act
        self._cache = cache
        self._http = http
        self._namespace = namespace
        self._key = key

    def address(self, node: str) -> str:
        """The address of the node's agent. Raises AgentError when none runs there.

        One that is being ended serves until its process ends, and is asked while there is no other.
        """
        ending = ""
        for pod in self._cache.list("Pod", self._namespace, {APP_NAME: AGENT_APP}):
            status = pod.get("status") or {}
            address = str(status.get("podIP") or "")
            if (pod.get("spec") or {}).get("nodeName") != node or status.get("phase") in (
                "Succeeded",
                "Failed",
            ):
                continue
            if address and not pod["metadata"].get("deletionTimestamp"):
                return address
            ending = ending or address
        if ending:
            return ending
        raise AgentError(
            f"no agent runs on node {node}: look at the pods {APP_NAME}={AGENT_APP} "
            f"in namespace {self._namespace}"
        )

    async def put(self, node: str, wanted: WantedInjections) -> InjectionsStatus:
        return await self._ask("PUT", node, "/v1/injections", wanted, InjectionsStatus)

    async def standing(self, node: str) -> InjectionsStatus:
        return await self._ask("GET", node, "/v1/injections", None, InjectionsStatus)

    async def open_probes(self, node: str, pods: tuple[PodRef, ...]) -> OpenedProbes:
        return await self._ask("POST", node, "/v1/probes/open", OpenProbes(pods), OpenedProbes)

    async def send_probes(self, node: str, datagrams: tuple[ProbeDatagram, ...]) -> None:
        """Raises AgentError also where a datagram could not be sent: it proves nothing."""
        sent = await self._ask("POST", node, "/v1/probes/send", SendProbes(datagrams), SentProbes)
        if sent.errors:
            nonce, why = next(iter(sent.errors.items()))
            source = next(each.source.name for each in datagrams if each.nonce == nonce)
            raise AgentError(f"node {node} could not send a probe from pod {source}: {why}")

    async def collect_probes(self, node: str, wanted: CollectProbes) -> CollectedProbes:
        timeout = REQUEST_TIMEOUT_S + wanted.wait_ms / 1000
        return await self._ask("POST", node, "/v1/probes/collect", wanted, CollectedProbes, timeout)

    async def _ask(
        self,
        method: str,
        node: str,
        path: str,
        body: msgspec.Struct | None,
        answer: type[Answer],
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Answer:
        if not self._may_act():
            raise AgentError(f"the agent of node {node} is not asked: this operator does not lead (any more)")
        key = self._key.value
        status, content = await self._send(method, node, path, body, key, timeout_s)
        if status == 401 and await self._key.renew(key):
            status, content = await self._send(method, node, path, body, self._key.value, timeout_s)
        if status == 401:
            raise AgentError(
                f"the agent of node {node} has another key than Secret {self._namespace}/{SECRET}: "
                "delete its pod, so that it starts with the key that the Secret has now"
            )
        if status >= 300:
            said = content[:300].decode(errors="replace")
            raise AgentError(f"the agent of node {node} refused {path}: {status} {said}")
        try:
            return msgspec.json.decode(content, type=answer)
        except msgspec.DecodeError as error:
            raise AgentError(f"the agent of node {node} answered {path} with no {answer.__name__}") from error

    async def _send(
        self, method: str, node: str, path: str, body: msgspec.Struct | None, key: str, timeout_s: float
    ) -> tuple[int, bytes]:
        """The status and the content of the answer. Raises AgentError if there is none."""
        try:
            async with self._http.request(
                method,
                f"http://{self.address(node)}:{AGENT_PORT}{path}",
                data=None if body is None else msgspec.json.encode(body),
                headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                return response.status, await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            what = str(error) or f"no answer within {timeout_s:g} s"
            unsure = not isinstance(error, aiohttp.ClientConnectorError)
            raise AgentError(f"the agent of node {node} cannot be reached: {what}", unsure=unsure) from error
