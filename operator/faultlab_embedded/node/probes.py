"""Probes, from the node's address: a cut between pods never reaches them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp

Object = Mapping[str, Any]
Execute = Callable[[list[str], float], Awaitable[tuple[int, str]]]
"""Runs a command in the container within so many seconds: exit code and output. Raises TimeoutError."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How often a probe asks and how many answers in a row count; seconds."""

    delay: float
    period: float
    timeout: float
    success: int
    failure: int

    @classmethod
    def of(cls, probe: Object) -> Timing:
        """Kubernetes' defaults where the probe says nothing."""
        return cls(
            delay=float(probe.get("initialDelaySeconds") or 0),
            period=float(probe.get("periodSeconds") or 10),
            timeout=float(probe.get("timeoutSeconds") or 1),
            success=int(probe.get("successThreshold") or 1),
            failure=int(probe.get("failureThreshold") or 3),
        )


@dataclass(slots=True)
class Streak:
    """Counts answers in a row and says when they add up to a verdict. Pure."""

    timing: Timing
    _good: int = 0
    _bad: int = 0

    def add(self, good: bool) -> bool | None:
        """True or False once the threshold is reached (and on every answer after it), else None."""
        if good:
            self._good, self._bad = self._good + 1, 0
            return True if self._good >= self.timing.success else None
        self._good, self._bad = 0, self._bad + 1
        return False if self._bad >= self.timing.failure else None


def port_number(container: Object, port: int | str) -> int:
    """A probe's port; a name is looked up in the container's ports. Raises ValueError."""
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise ValueError(f"port {port!r} is not a named port of container {container['name']!r}")


async def ask(
    probe: Object, container: Object, address: str, http: aiohttp.ClientSession, execute: Execute
) -> tuple[bool, str]:
    """One probe: whether it succeeded, and why not. Takes at most the probe's timeout."""
    timeout = Timing.of(probe).timeout
    try:
        if action := probe.get("httpGet"):
            return await _http_get(action, container, address, http, timeout)
        if action := probe.get("tcpSocket"):
            return await _connect(action, container, address, timeout)
        if action := probe.get("exec"):
            code, output = await execute(list(action.get("command") or ()), timeout)
            return code == 0, output.strip() or f"command exited with {code}"
    except TimeoutError:
        return False, f"no answer within {timeout:g} s"
    except (OSError, ValueError, aiohttp.ClientError) as error:
        return False, str(error) or type(error).__name__
    return False, "the probe has no httpGet, tcpSocket or exec"


async def _http_get(
    action: Object, container: Object, address: str, http: aiohttp.ClientSession, timeout: float
) -> tuple[bool, str]:
    scheme = str(action.get("scheme") or "HTTP").lower()
    port = port_number(container, action["port"])
    path = "/" + str(action.get("path") or "/").lstrip("/")
    headers = {entry["name"]: entry["value"] for entry in action.get("httpHeaders") or ()}
    headers.setdefault("User-Agent", "kube-probe/embedded")
    url = f"{scheme}://{action.get('host') or address}:{port}{path}"
    limit = aiohttp.ClientTimeout(total=timeout)
    async with http.get(url, headers=headers, timeout=limit, ssl=False, allow_redirects=False) as answer:
        good = 200 <= answer.status < 400
        return good, f"HTTP probe failed with statuscode: {answer.status}"


async def _connect(action: Object, container: Object, address: str, timeout: float) -> tuple[bool, str]:
    port = port_number(container, action["port"])
    async with asyncio.timeout(timeout):
        _, writer = await asyncio.open_connection(action.get("host") or address, port)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True, ""
