"""The operator's client of the API server: a few verbs on plain dicts.

Every call ends within TIMEOUT_S and raises a KubeError when it did not do what it says. Nothing is
retried here: reconcilers are level-triggered, and their queue backs off.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

import aiohttp

from faultlab_operator.core.cache import Cache
from faultlab_operator.errors import Conflict, KubeError, LeadershipLost, NotFound, Refused, Unavailable
from faultlab_operator.kube.connection import Connection, ssl_context
from faultlab_operator.kube.events import EventRecorder
from faultlab_operator.kube.merge import merge_patch
from faultlab_operator.kube.resources import RESOURCES, WATCHED, ResourceInfo, is_ours

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 10.0
FIELD_MANAGER: Final = "faultlab-operator"

Object = dict[str, Any]


class KubeClient:
    """Use as an async context manager. Answers to writes go into the cache at once.

    While `may_write` says no, every write raises LeadershipLost instead of being sent.
    """

    def __init__(
        self, connection: Connection, cache: Cache, may_write: Callable[[], bool] = lambda: True
    ) -> None:
        self._connection = connection
        self._cache = cache
        self._may_write = may_write
        self._http: aiohttp.ClientSession | None = None
        self._events = EventRecorder(self)

    async def __aenter__(self) -> Self:
        context = ssl_context(self._connection.info)
        self._http = aiohttp.ClientSession(
            base_url=self._connection.server + "/",
            connector=aiohttp.TCPConnector(ssl=context if context is not None else True, limit=32),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            headers={"User-Agent": FIELD_MANAGER, "Accept": "application/json"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        """One object. Raises NotFound."""
        return await self._call("GET", _info(kind).path(namespace, name))

    async def list(
        self, kind: str, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        """All objects of a kind, with `kind` and `apiVersion` filled in. Raises NotFound for an
        unknown kind."""
        info = _info(kind)
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        answer = await self._call(
            "GET", info.path(namespace), query={"labelSelector": selector} if selector else None
        )
        return [{"apiVersion": info.api_version, "kind": kind, **item} for item in answer["items"]]

    async def apply(self, obj: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """Creates the object or takes over the fields that it names (server-side apply, forced)."""
        metadata = obj["metadata"]
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        if dry_run:
            query["dryRun"] = "All"
        return await self._write(
            "PATCH",
            _info(obj["kind"]).path(metadata.get("namespace"), metadata["name"]),
            obj,
            content_type="application/apply-patch+yaml",
            query=query,
        )

    async def create(self, obj: Mapping[str, Any]) -> Object:
        """Creates the object. Raises Conflict if it exists."""
        path = _info(obj["kind"]).path(obj["metadata"].get("namespace"))
        return await self._write("POST", path, obj, query={"fieldManager": FIELD_MANAGER})

    async def replace(self, obj: Mapping[str, Any]) -> Object:
        """Puts the object in the place of the version that its `metadata.resourceVersion` names. Raises
        Conflict if that is not the newest, NotFound if there is none."""
        metadata = obj["metadata"]
        path = _info(obj["kind"]).path(metadata.get("namespace"), metadata["name"])
        return await self._write("PUT", path, obj, query={"fieldManager": FIELD_MANAGER})

    async def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        patch: Mapping[str, Any],
        subresource: str | None = None,
    ) -> Object:
        """A merge patch. Raises NotFound."""
        return await self._write(
            "PATCH",
            _info(kind).path(namespace, name, subresource),
            patch,
            content_type="application/merge-patch+json",
            query={"fieldManager": FIELD_MANAGER},
        )

    async def patch_status(self, kind: str, namespace: str, name: str, status: Mapping[str, Any]) -> bool:
        """Makes `status` the object's whole status; says whether anything had to be written.

        Compares with the cached object first, so that an unchanged status costs no request. An
        object that is gone is no error: there is nothing left to say.
        """
        known = self._cache.get(kind, namespace, name)
        change = merge_patch((known or {}).get("status") or {}, status)
        if not change:
            return False
        patch: dict[str, Any] = {"status": change}
        if known is not None:
            # A successor of the same name has another uid, and must not be given this status.
            patch["metadata"] = {"uid": known["metadata"].get("uid")}
        try:
            await self.patch(kind, namespace, name, patch, subresource="status")
        except (NotFound, Conflict):
            return False
        except Refused as error:
            if "metadata.uid" in str(error):
                return False  # There is a successor; its uid cannot be changed to the one that was meant.
            raise
        return True

    async def delete(
        self,
        kind: str,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        grace_seconds: int | None = None,
    ) -> bool:
        """Deletes the object, and its children in the background; False if it was not there (or, with
        `uid`, is another one by now)."""
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            await self._call("DELETE", _info(kind).path(namespace, name), body=options)
        except (NotFound, Conflict):
            return False
        return True

    async def create_event(self, involved: Mapping[str, Any], kind: str, reason: str, message: str) -> None:
        """A Kubernetes Event about an object; `kind` is Normal or Warning. Rate-limited, and never
        raises: an Event that cannot be written is logged."""
        await self._events.record(involved, kind, reason, message)

    async def _write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        *,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Object:
        answer = await self._call(method, path, body=body, content_type=content_type, query=query)
        kind = answer.get("kind", "")
        if kind in WATCHED and is_ours(kind, answer["metadata"].get("labels")):
            self._cache.put(answer)
        return answer

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Object:
        if self._http is None:
            raise Unavailable(0, "Closed", "the operator's API client was used before it was opened")
        if method != "GET" and not self._may_write():
            raise LeadershipLost(f"{method} {path} is not sent: this operator does not lead (any more)")
        headers = {"Content-Type": content_type} if body is not None else {}
        token = self._connection.token()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            async with self._http.request(
                method, path.lstrip("/"), json=body, params=query, headers=headers
            ) as response:
                if response.status < 400:
                    answer: Object = await response.json(content_type=None)
                    return answer
                raise await _failure(method, path, response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                0,
                "NoAnswer",
                f"{method} {path}: no answer from the API server: {error or type(error).__name__}",
            ) from error


def _info(kind: str) -> ResourceInfo:
    return RESOURCES[kind]


async def _failure(method: str, path: str, response: aiohttp.ClientResponse) -> KubeError:
    """The error that a Status document, or whatever came instead of one, stands for."""
    try:
        status = await response.json(content_type=None)
        reason, message = str(status.get("reason", "")), str(status.get("message", ""))
    except (ValueError, AttributeError):
        reason, message = response.reason or "", (await response.text())[:500]
    text = f"{method} {path}: {response.status} {reason}: {message}"
    for codes, error in (((404, 410), NotFound), ((409,), Conflict), ((400, 401, 403, 405, 422), Refused)):
        if response.status in codes:
            return error(response.status, reason, text)
    return Unavailable(response.status, reason, text)
