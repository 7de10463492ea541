"""Whether somebody comes after this agent: asked of the API server when the agent is told to end.

A DaemonSet's pod is ended for two reasons. It is replaced (a rollout, a deleted pod): then the next agent
takes up what stands, and what stands must not be healed. Or the lab is uninstalled: then nobody comes, and
what is left in a pod's network would stay there for as long as the pod lives.
"""

import asyncio
import enum
import logging
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

_log = logging.getLogger(__name__)

ASK_WITHIN_S: Final = 4.0
"""For the whole question, on a node that may be busy ending many pods. The lease in the kernel runs
meanwhile, and so does the pod's grace, of which this is less than a half."""
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_METADATA_ALONE: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json"
_FORBIDDEN: Final = 403
_GONE: Final = 404
_OK: Final = 200


class Successor(enum.Enum):
    """What the API server says about the next agent of this node."""

    COMES = "comes"
    NONE = "none"
    """The DaemonSet or its namespace is gone or going, or this account's rights are: it is uninstalled."""
    UNKNOWN = "unknown"
    """No answer, or one that says nothing."""


class _Metadata(msgspec.Struct, rename="camel"):
    deletion_timestamp: str | None = None


class _Object(msgspec.Struct):
    metadata: _Metadata


@dataclass(frozen=True)
class ApiServer:
    """The API server as a pod sees it, and this pod's account there."""

    url: str
    namespace: str
    daemon_set: str
    account: Path

    @classmethod
    def of_this_pod(
        cls, daemon_set: str, environment: Mapping[str, str] | None = None, account: Path = ACCOUNT
    ) -> "ApiServer":
        """From the variables that kubelet sets. Outside a pod it has no address and never answers."""
        known = os.environ if environment is None else environment
        host, port = known.get("KUBERNETES_SERVICE_HOST", ""), known.get("KUBERNETES_SERVICE_PORT", "443")
        namespace = known.get("POD_NAMESPACE", "") or _text(account / "namespace")
        bracketed = f"[{host}]" if ":" in host else host
        return cls(f"https://{bracketed}:{port}" if host else "", namespace, daemon_set, account)


async def find_successor(api: ApiServer, within_s: float = ASK_WITHIN_S) -> Successor:
    """Asks once, for the DaemonSet and for its namespace at the same time. Never raises."""
    if not api.url or not api.namespace:
        _log.warning("not in a pod (no KUBERNETES_SERVICE_HOST or no namespace): nobody can be asked")
        return Successor.UNKNOWN
    daemon_set = f"/apis/apps/v1/namespaces/{api.namespace}/daemonsets/{api.daemon_set}"
    try:
        async with asyncio.timeout(within_s), _session(api) as session:
            # A namespace that ends loses its pods first, while its DaemonSets look as if nothing were.
            asked = [_ask(session, daemon_set), _ask(session, f"/api/v1/namespaces/{api.namespace}")]
            own, namespace = await asyncio.gather(*asked)
    except (TimeoutError, OSError, aiohttp.ClientError) as error:
        _log.warning("the API server at %s does not answer: %s", api.url, str(error) or type(error).__name__)
        return Successor.UNKNOWN
    return _judge(own, namespace)


def _judge(daemon_set: tuple[int, bytes], namespace: tuple[int, bytes]) -> Successor:
    """A namespace that may not be looked at is taken to stand: its DaemonSet decides alone.

    401 says nothing: a token ends with its account, but also with its pod, when that is deleted by force.
    """
    status, answer = daemon_set
    if status in (_FORBIDDEN, _GONE) or _ending(answer):
        return Successor.NONE
    namespace_status, namespace_answer = namespace
    if namespace_status == _GONE or (namespace_status == _OK and _ending(namespace_answer)):
        return Successor.NONE
    return Successor.COMES if status == _OK else Successor.UNKNOWN


def _ending(answer: bytes) -> bool:
    with suppress(msgspec.MsgspecError):
        return msgspec.json.decode(answer, type=_Object).metadata.deletion_timestamp is not None
    return False


async def _ask(session: aiohttp.ClientSession, path: str) -> tuple[int, bytes]:
    async with session.get(path) as response:
        return response.status, await response.read()


def _session(api: ApiServer) -> aiohttp.ClientSession:
    """Raises OSError without a readable certificate. Without a token the answer is 401."""
    headers = {"Authorization": f"Bearer {_text(api.account / 'token')}", "Accept": _METADATA_ALONE}
    options: dict[str, Any] = {"base_url": api.url, "headers": headers}
    if api.url.startswith("https:"):
        trusted = ssl.create_default_context(cafile=str(api.account / "ca.crt"))
        options["connector"] = aiohttp.TCPConnector(ssl=trusted)
    return aiohttp.ClientSession(**options)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
