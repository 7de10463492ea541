"""Pods' own subresources: logs and eviction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

from aiohttp import web

from faultlab_embedded.apiserver.backend import NodeBackend
from faultlab_embedded.apiserver.formats import Object, read_body, reply_object
from faultlab_embedded.apiserver.streams import pump
from faultlab_embedded.apiserver.target import Target, flag, integer, write_of
from faultlab_embedded.store.deletion import DeleteOptions
from faultlab_embedded.store.errors import BadRequest, MethodNotAllowed, TooManyRequests
from faultlab_embedded.store.registry import Registry
from faultlab_embedded.store.selectors import match_labels


class Pods:
    """Handlers of pods/log and pods/eviction."""

    def __init__(self, registry: Registry, backend: NodeBackend) -> None:
        self._registry = registry
        self._backend = backend

    async def handle(self, request: web.Request, target: Target) -> web.StreamResponse:
        if target.subresource == "log" and request.method == "GET":
            return await self._log(request, target)
        if target.subresource == "eviction" and request.method == "POST":
            return await self._evict(request, target)
        raise MethodNotAllowed

    async def _log(self, request: web.Request, target: Target) -> web.StreamResponse:
        query = request.query
        pod = self._registry.get("pods", target.namespace, target.name or "")
        container = _container(pod, query.get("container") or None)
        left = integer(query, "limitBytes", least=1)
        pieces = self._backend.logs(
            pod["metadata"]["namespace"],
            pod["metadata"]["name"],
            container,
            follow=flag(query, "follow"),
            tail_lines=integer(query, "tailLines", least=0),
            previous=flag(query, "previous"),
            timestamps=flag(query, "timestamps"),
            since=_since(query),
        )
        response = web.StreamResponse(
            headers={"Content-Type": "text/plain", "Cache-Control": "no-cache, private"}
        )
        await pump(request, response, pieces if left is None else _limited(pieces, left))
        return response

    async def _evict(self, request: web.Request, target: Target) -> web.Response:
        body = await read_body(request, expected="Eviction")
        name = target.name or ""
        pod = self._registry.get("pods", target.namespace, name)
        if (body.get("metadata") or {}).get("name", name) != name:
            raise BadRequest("name in URL does not match name in Eviction object")
        write = write_of(request)
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed", "Pending"):
            self._check_budgets(pod)
        options = body.get("deleteOptions") or {}
        grace = options.get("gracePeriodSeconds")
        self._registry.remove("pods", target.namespace, name, DeleteOptions(grace_seconds=grace), write)
        return reply_object(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201},
            status=201,
        )

    def _check_budgets(self, pod: Object) -> None:
        """Refuse what a disruption budget does not allow, and count what it does."""
        meta = pod["metadata"]
        for budget in self._registry.list("poddisruptionbudgets.policy", meta["namespace"]):
            if not match_labels(budget["spec"].get("selector"))(meta.get("labels") or {}):
                continue
            status = budget.get("status") or {}
            allowed = int(status.get("disruptionsAllowed", 0))
            name = budget["metadata"]["name"]
            if allowed < 1:
                raise TooManyRequests(
                    "Cannot evict pod as it would violate the pod's disruption budget.",
                    details={
                        "causes": [
                            {
                                "reason": "DisruptionBudget",
                                "message": f"The disruption budget {name} needs "
                                f"{status.get('desiredHealthy', 0)} "
                                f"healthy pods and has {status.get('currentHealthy', 0)} currently",
                            }
                        ]
                    },
                )
            patch = {"status": {"disruptionsAllowed": allowed - 1}}
            self._registry.patch("poddisruptionbudgets.policy", meta["namespace"], name, patch, "status")


def _container(pod: Object, wanted: str | None) -> str:
    """The container whose log is meant; BadRequest where the pod has no such, or several and none is
    named."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    main = [container["name"] for container in spec["containers"]]
    initial = [container["name"] for container in spec.get("initContainers") or []]
    if wanted is None:
        if len(main) == 1:
            return str(main[0])
        raise BadRequest(
            f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
            + (f" or one of the init containers: [{' '.join(initial)}]" if initial else "")
        )
    if wanted not in main + initial:
        raise BadRequest(f"container {wanted} is not valid for pod {name}")
    return wanted


def _since(query: Mapping[str, str]) -> datetime | None:
    """The moment before which lines are left out. Raises BadRequest where it is none, or given twice."""
    seconds, text = integer(query, "sinceSeconds", least=1), query.get("sinceTime", "")
    if seconds is not None and text:
        raise BadRequest("at most one of `sinceTime` or `sinceSeconds` may be specified")
    if seconds is not None:
        try:
            return datetime.now(UTC) - timedelta(seconds=seconds)
        except OverflowError:
            return None
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRequest(f"invalid sinceTime: {text!r} is no time of RFC 3339") from None


async def _limited(pieces: AsyncIterator[bytes], left: int) -> AsyncIterator[bytes]:
    """The first `left` bytes."""
    try:
        async for piece in pieces:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
