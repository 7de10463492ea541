"""The verbs on objects: list, get, create, replace, patch, delete, each a thin layer over the registry."""

from __future__ import annotations

import base64
import bisect
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import Any

import msgspec
from aiohttp import web

from faultlab_embedded.apiserver.formats import (
    Accepted,
    Object,
    accepted,
    decode_yaml,
    read_body,
    reply,
    reply_object,
)
from faultlab_embedded.apiserver.patching import APPLY_PATCH, read_change
from faultlab_embedded.apiserver.settings import Settings
from faultlab_embedded.apiserver.shapes import shape_of
from faultlab_embedded.apiserver.target import Target, flag, integer, selection_of, write_of
from faultlab_embedded.apiserver.watching import WatchStream
from faultlab_embedded.store.errors import (
    BadRequest,
    Expired,
    FieldError,
    GatewayTimeout,
    Invalid,
    MethodNotAllowed,
    TooManyRequests,
)
from faultlab_embedded.store.log import Record
from faultlab_embedded.store.registry import DeleteOptions, Registry, Write
from faultlab_embedded.store.views import show_as, store_as

MAX_WATCHES = 2_000
"""Open at a time; one more gets 429."""
Answer = Callable[[web.Request, Target], Awaitable[web.StreamResponse]]


class Objects:
    """Handlers of collections and single objects, main resource and status alike."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings
        self._streams: set[WatchStream] = set()

    async def handle(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Answer a request on a resource or its status."""
        on_collection: dict[str, Answer] = {
            "GET": self._list_or_watch,
            "POST": self._create,
            "DELETE": self._delete_collection,
        }
        on_object: dict[str, Answer] = {"GET": self._get, "PUT": self._replace, "PATCH": self._patch}
        if target.subresource is None:
            on_object["DELETE"] = self._delete
        answers = on_collection if target.name is None else on_object
        answer = answers.get(request.method)
        if target.resource.namespaced and target.namespace is None and request.method != "GET":
            answer = None
        if answer is None:
            raise MethodNotAllowed
        return await answer(request, target)

    # Reading

    async def _get(self, request: web.Request, target: Target) -> web.StreamResponse:
        if flag(request.query, "watch"):
            return await self._watch(request, target)
        want = accepted(request)
        record = self._registry.record(_storage(target), target.namespace, _name(target))
        body = shape_of(target, want, request.query).record(record)
        return reply(body, as_yaml=want.yaml)

    async def _list_or_watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        if flag(request.query, "watch"):
            return await self._watch(request, target)
        self._check_version(request.query)
        want = accepted(request)
        records, meta = self._page(target, request.query)
        if target.resource.custom and want.shape == "object":
            meta.setdefault("continue", "")
        return reply(shape_of(target, want, request.query).list(records, meta), as_yaml=want.yaml)

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        encode = shape_of(target, accepted(request), request.query).for_watch()
        stream = WatchStream(self._registry, target, request, encode, self._settings.bookmark_interval_s)
        timeout = integer(request.query, "timeoutSeconds") or self._settings.watch_timeout_s
        if len(self._streams) >= MAX_WATCHES:
            raise TooManyRequests(
                f"{MAX_WATCHES} watches are open, and no more are served at a time: try again later"
            )
        self._streams.add(stream)
        try:
            return await stream.run(timeout)
        finally:
            self._streams.discard(stream)

    async def stop_watches(self, _: web.Application) -> None:
        """End every open watch, for `on_shutdown`."""
        for stream in self._streams:
            stream.stop()

    def _check_version(self, query: Mapping[str, str]) -> None:
        """Lists are always of the present: another exact version is gone, a later one never was."""
        asked = integer(query, "resourceVersion")
        if not asked or query.get("continue"):
            return
        if asked > self._registry.version:
            raise GatewayTimeout.ahead(asked, self._registry.version)
        if query.get("resourceVersionMatch") == "Exact" and asked != self._registry.version:
            raise Expired(f"The resourceVersion for the provided list is too old: {asked}")

    def _page(self, target: Target, query: Mapping[str, str]) -> tuple[list[Record], Object]:
        """One page and the list's metadata. It goes on in the present state, not in a snapshot."""
        meta: Object = {"resourceVersion": str(self._registry.version)}
        limit = integer(query, "limit") or 0
        records = self._registry.records(_storage(target), selection_of(target, query))
        if not limit and not query.get("continue"):
            return list(records), meta
        every = list(records)
        start = 0
        if token := query.get("continue"):
            after = _read_continue(token)
            start = bisect.bisect_right(every, after, key=lambda record: (record.namespace, record.name))
        page = list(islice(every, start, start + limit if limit else None))
        left = len(every) - start - len(page)
        if left:
            meta["continue"] = _write_continue(page[-1])
            meta["remainingItemCount"] = left
        return page, meta

    # Writing

    async def _create(self, request: web.Request, target: Target) -> web.StreamResponse:
        want = accepted(request)
        obj = await read_body(request, expected=f"a {target.resource.kind}")
        write = write_of(request)
        obj = _placed(target, obj)
        created = self._registry.create(_storage(target), store_as(target.resource, obj), write)
        return self._answer(request, target, want, created, write, status=201)

    async def _replace(self, request: web.Request, target: Target) -> web.StreamResponse:
        want = accepted(request)
        obj = _placed(target, await read_body(request, expected=f"a {target.resource.kind}"))
        self._registry.record(_storage(target), target.namespace, _name(target))
        if target.resource.custom and not obj["metadata"].get("resourceVersion"):
            error = FieldError.invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise Invalid.of(target.resource.plural, target.resource.group, _name(target), [error])
        write = write_of(request)
        stored = store_as(target.resource, obj)
        updated = self._registry.update(_storage(target), stored, target.subresource, write)
        return self._answer(request, target, want, updated, write)

    async def _patch(self, request: web.Request, target: Target) -> web.StreamResponse:
        want = accepted(request)
        write = write_of(request)
        if request.content_type == APPLY_PATCH:
            return await self._apply(request, target, want, write)
        change = await read_change(request, target.resource)
        resource, version = target.resource, target.version

        def change_stored(obj: Object) -> Object:
            return store_as(resource, change(show_as(resource, version, obj)))

        patched = self._registry.modify(
            _storage(target), target.namespace, _name(target), change_stored, target.subresource, write
        )
        return self._answer(request, target, want, patched, write)

    async def _apply(
        self, request: web.Request, target: Target, want: Accepted, write: Write
    ) -> web.StreamResponse:
        if not request.query.get("fieldManager"):
            error = FieldError.required("fieldManager", "is required for apply patch")
            raise Invalid.of("PatchOptions", "meta.k8s.io", "", [error])
        obj = _placed(target, decode_yaml(await request.read(), f"a {target.resource.kind}"))
        force = flag(request.query, "force")
        existed = self._registry.find(_storage(target), target.namespace, _name(target)) is not None
        applied = self._registry.apply_fields(_storage(target), obj, write, target.subresource, force=force)
        return self._answer(request, target, want, applied, write, status=200 if existed else 201)

    async def _delete(self, request: web.Request, target: Target) -> web.StreamResponse:
        want = accepted(request)
        options = await _delete_options(request)
        write = write_of(request)
        resource, name = _storage(target), _name(target)
        left = self._registry.remove(resource, target.namespace, name, options, write)
        shown = show_as(target.resource, target.version, left.obj)
        if left.gone and not target.resource.returns_deleted:
            return reply_object(_deleted(target, shown), as_yaml=want.yaml)
        return reply_object(shown, status=200, as_yaml=want.yaml)

    async def _delete_collection(self, request: web.Request, target: Target) -> web.StreamResponse:
        want = accepted(request)
        options = await _delete_options(request)
        write = write_of(request)
        records, meta = self._page(target, request.query)
        for record in records:
            self._registry.remove(record.resource, record.namespace, record.name, options, write)
        return reply(shape_of(target, want, request.query).list(records, meta), as_yaml=want.yaml)

    def _answer(
        self,
        request: web.Request,
        target: Target,
        want: Accepted,
        obj: Object,
        write: Write,
        *,
        status: int = 200,
    ) -> web.Response:
        body = shape_of(target, want, request.query).object(obj)
        return reply(body, status=status, as_yaml=want.yaml, warnings=write.warnings or ())


def _storage(target: Target) -> str:
    return target.resource.stored_as or target.resource.key


def _name(target: Target) -> str:
    assert target.name is not None  # collections are handled apart
    return target.name


def _placed(target: Target, obj: Object) -> Object:
    """The object with the path's namespace, name and version, or BadRequest where it says otherwise."""
    resource = target.resource
    obj.setdefault("apiVersion", resource.api_version(target.version))
    obj.setdefault("kind", resource.kind)
    _check_type(target, obj)
    meta = obj.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise BadRequest("metadata must be an object")
    if resource.namespaced:
        namespace = target.namespace or meta.get("namespace") or "default"
        if meta.setdefault("namespace", namespace) != namespace:
            raise BadRequest(
                f"the namespace of the provided object does not match the namespace sent on the request: "
                f"{meta['namespace']!r} is not {namespace!r}"
            )
    if target.name is not None and meta.setdefault("name", target.name) != target.name:
        raise BadRequest(
            f"the name of the object ({meta['name']}) does not match the name on the URL ({target.name})"
        )
    return obj


def _check_type(target: Target, obj: Object) -> None:
    """Refuse another apiVersion or kind than the path's, in kube-apiserver's words."""
    resource = target.resource
    expected = resource.api_version(target.version)
    if obj["apiVersion"] != expected:
        raise BadRequest(
            f"the API version in the data ({obj['apiVersion']}) does not match the expected API version "
            f"({expected})"
        )
    if obj["kind"] == resource.kind:
        return
    if resource.custom:
        error = FieldError.invalid("kind", obj["kind"], f"must be {resource.kind}")
        meta = obj.get("metadata")
        name = str(meta.get("name", "")) if isinstance(meta, dict) else ""
        raise Invalid.of(str(obj["kind"]), resource.group, name, [error])
    raise BadRequest(
        f'{obj["kind"]} in version "{target.version}" cannot be handled as a {resource.kind}: send it '
        f"to where {obj['kind']} is served"
    )


async def _delete_options(request: web.Request) -> DeleteOptions:
    """From the body and, over it, from the query."""
    options: dict[str, Any] = {}
    if request.can_read_body and (await request.read()).strip():
        options = await read_body(request, expected="DeleteOptions")
    query = request.query
    grace = integer(query, "gracePeriodSeconds")
    grace = grace if grace is not None else options.get("gracePeriodSeconds")
    propagation = query.get("propagationPolicy") or options.get("propagationPolicy")
    orphan = query.get("orphanDependents") or options.get("orphanDependents")
    if propagation is None and orphan is not None:
        propagation = "Orphan" if str(orphan).lower() == "true" else "Background"
    if options.get("dryRun") not in (None, [], ["All"]):
        error = FieldError.not_supported("dryRun", options["dryRun"], ["All"])
        raise Invalid.of("DeleteOptions", "meta.k8s.io", "", [error])
    preconditions = options.get("preconditions") or {}
    return DeleteOptions(
        grace_seconds=grace,
        propagation=propagation or "Background",
        uid=preconditions.get("uid"),
        version=preconditions.get("resourceVersion"),
        dry_run=bool(options.get("dryRun")),
    )


def _deleted(target: Target, obj: Object) -> Object:
    details = {"name": target.name, "kind": target.resource.plural, "uid": obj["metadata"]["uid"]}
    if target.resource.group:
        details["group"] = target.resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _write_continue(record: Record) -> str:
    token = msgspec.json.encode([record.namespace, record.name])
    return base64.urlsafe_b64encode(token).decode()


def _read_continue(token: str) -> tuple[str, str]:
    try:
        namespace, name = msgspec.json.decode(base64.urlsafe_b64decode(token), type=tuple[str, str])
    except (ValueError, msgspec.MsgspecError):
        raise BadRequest(
            "continue key is not valid: take it from the last list's metadata.continue"
        ) from None
    return namespace, name
