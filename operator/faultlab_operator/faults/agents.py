"""The nodes' agents over HTTP: one method for each request of `faultlab_chaos.contract.wire`."""

from pathlib import Path
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
from faultlab_operator.kube.resources import AGENT_APP, APP_NAME

REQUEST_TIMEOUT_S = 1.0
"""Longer than an agent ever needs, and short enough that two lost requests do not end a lease."""

Answer = TypeVar("Answer")


class Agents:
    """The agents of all nodes. Every method raises AgentError when the node's agent does not do it."""

    def __init__(self, cache: Cache, http: aiohttp.ClientSession, namespace: str, key_path: Path) -> None:
        self._cache = cache
        self._http = http
        self._namespace = namespace
        self._key_path = key_path

    def address(self, node: str) -> str:
        """The address of the node's agent. Raises AgentError when none runs there."""
        for pod in self._cache.list("Pod", self._namespace, {APP_NAME: AGENT_APP}):
            if (pod.get("spec") or {}).get("nodeName") == node:
                address = (pod.get("status") or {}).get("podIP")
                if address and not pod["metadata"].get("deletionTimestamp"):
                    return str(address)
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
        url = f"http://{self.address(node)}:{AGENT_PORT}{path}"
        try:
            async with self._http.request(
                method,
                url,
                data=None if body is None else msgspec.json.encode(body),
                headers={"Authorization": f"Bearer {self._key()}", "Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                content = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            what = str(error) or f"no answer within {timeout_s:g} s"
            raise AgentError(f"the agent of node {node} cannot be reached: {what}") from error
        if response.status >= 300:
            said = content[:300].decode(errors="replace")
            raise AgentError(f"the agent of node {node} refused {path}: {response.status} {said}")
        try:
            return msgspec.json.decode(content, type=answer)
        except msgspec.DecodeError as error:
            raise AgentError(f"the agent of node {node} answered {path} with no {answer.__name__}") from error

    def _key(self) -> str:
        try:
            return self._key_path.read_text().strip()
        except OSError as error:
            raise AgentError(
                f"the agents' key {self._key_path} cannot be read ({error.strerror}): "
                "mount the Secret faultlab-agent there"
            ) from error
