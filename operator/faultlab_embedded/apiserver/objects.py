"""The verbs on objects: list, get, create, replace, patch, delete, each a thin layer over the registry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from faultlab_embedded.apiserver.formats import (
    Accepted,
    Object,
    accepted,
    add_warnings,
    read_body,
    reply,
    reply_object,
)
from faultlab_embedded.apiserver.paging import check_read, check_version, page
from faultlab_embedded.apiserver.patching import APPLY_PATCH, read_applied, read_change
from faultlab_embedded.apiserver.settings import Settings
from faultlab_embedded.apiserver.shapes import shape_of
from faultlab_embedded.apiserver.target import Target, flag, integer, write_of
from faultlab_embedded.apiserver.twice import fields_given_twice
from faultlab_embedded.apiserver.watching import WatchStream
from faultlab_embedded.store.deletion import JOBS, ORPHANS_WARNING
from faultlab_embedded.store.errors import (
    ApiError,
    BadRequest,
    FieldError,
    Invalid,
    MethodNotAllowed,
    NotServed,
    TooManyRequests,
)
from faultlab_embedded.store.log import Record
from faultlab_embedded.store.objects import OTHER_NAMESPACE, check_type, copy, decode, metadata
from faultlab_embedded.store.registry import DeleteOptions, Registry, Write
from faultlab_embedded.store.typed import check_applied
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
        if request.method == "DELETE" and target.name is None and not target.resource.collection_deletes:
            answer = None
        if answer is None:
            raise _refused(request.method, target)
        response = await answer(request, target)
        if target.resource.warning and not response.prepared:
            add_warnings(response, [target.resource.warning])
        return response

    # Reading

    async def _get(self, request: web.Request, target: Target) -> web.StreamResponse:
        want = accepted(request)
        check_read(self._registry, request.query)
        record = self._registry.record(_storage(target), target.namespace, _name(target))
        body = shape_of(target, want, request.query).record(record)
        return reply(body, as_yaml=want.yaml)

    async def _list_or_watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        if flag(request.query, "watch"):
            return await self._watch(request, target)
        check_version(self._registry, request.query)
        want = accepted(request)
        records, meta = page(self._registry, target, request.query)
        return self._listed(request, target, want, records, meta)

    @staticmethod
    def _listed(
        request: web.Request, target: Target, want: Accepted, records: Sequence[Record], meta: Object
    ) -> web.Response:
        if target.resource.custom and want.shape == "object":
            meta.setdefault("continue", "")
        shape = shape_of(target, want, request.query, is_list=True)
        return reply(shape.list(records, meta), as_yaml=want.yaml)

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

    # Writing

    async def _create(self, request: web.Request, target: Target) -> web.StreamResponse:
        want = accepted(request)
        obj = await read_body(request, expected=target.resource.kind)
        write = replace(write_of(request), twice=fields_given_twice(await request.read()))
        obj = _placed(target, obj)
        created = self._registry.create(_storage(target), store_as(target.resource, obj), write)
        return self._answer(request, target, want, created, write, status=201)

    async def _replace(self, request: web.Request, target: Target) -> web.StreamResponse:
        want = accepted(request)
        obj = _placed(target, await read_body(request, expected=target.resource.kind))
        self._registry.record(_storage(target), target.namespace, _name(target))
        write = replace(write_of(request), twice=fields_given_twice(await request.read()))
        if target.resource.custom and not obj["metadata"].get("resourceVersion"):
            decode(target.resource, copy(obj), strict=write.strict, warnings=None, twice=write.twice)
            error = FieldError.invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise Invalid.of(target.resource.plural, target.resource.group, _name(target), [error])
        stored = store_as(target.resource, obj)
        updated = self._registry.update(_storage(target), stored, target.subresource, write)
        return self._answer(request, target, want, updated, write)

    async def _patch(self, request: web.Request, target: Target) -> web.StreamResponse:
        want = accepted(request)
        write = write_of(request)
        if request.content_type == APPLY_PATCH:
            return await self._apply(request, target, want, write)
        if "force" in request.query:
            error = FieldError.forbidden("force", "may not be specified for non-apply patch")
            raise Invalid.of("PatchOptions", "meta.k8s.io", "", [error])
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
        obj = read_applied(await request.read(), _name(target))
        resource = target.resource
        check_type(resource, obj, [resource.api_version(target.version)])
        check_applied(resource, target.version, obj)
        obj = _placed(target, obj)
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
        told = [ORPHANS_WARNING] if resource == JOBS and options.propagation is None else []
        if left.gone and not target.resource.returns_deleted:
            return reply_object(_deleted(target, shown), as_yaml=want.yaml, warnings=told)
        return reply_object(shown, status=200, as_yaml=want.yaml, warnings=told)

    async def _delete_collection(self, request: web.Request, target: Target) -> web.StreamResponse:
        want = accepted(request)
        options = await _delete_options(request)
        write = write_of(request)
        records, meta = page(self._registry, target, request.query)
        for record in records:
            self._registry.remove(record.resource, record.namespace, record.name, options, write)
        return self._listed(request, target, want, records, meta)

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


def _refused(method: str, target: Target) -> ApiError:
    """Why there is no such method on this path; of custom resources it is said in another way."""
    if not target.resource.custom:
        return MethodNotAllowed()
    if target.resource.namespaced and target.namespace is None:
        return NotServed()
    if target.name is None and method in ("PUT", "PATCH"):
        return BadRequest("name must be provided")
    return MethodNotAllowed()


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
    check_type(resource, obj, [resource.api_version(target.version)])
    meta = metadata(obj)
    if resource.namespaced:
        namespace = target.namespace or meta.get("namespace") or "default"
        if meta.setdefault("namespace", namespace) != namespace:
            raise BadRequest(OTHER_NAMESPACE)
    if target.name is not None and meta.setdefault("name", target.name) != target.name:
        raise BadRequest(
            f"the name of the object ({meta['name']}) does not match the name on the URL ({target.name})"
        )
    return obj


async def _delete_options(request: web.Request) -> DeleteOptions:
    """From the body and, over it, from the query."""
    options: dict[str, Any] = {}
    if request.can_read_body and (await request.read()).strip():
        options = await read_body(request, expected="DeleteOptions")
    query = request.query
    grace = integer(query, "gracePeriodSeconds")
    grace = grace if grace is not None else options.get("gracePeriodSeconds")
    propagation = query.get("propagationPolicy") or options.get("propagationPolicy")
    orphan = query.get("orphanDependents", options.get("orphanDependents"))
    if propagation is not None and orphan is not None:
        text = "orphanDependents and deletionPropagation cannot be both set"
        error = FieldError.invalid("propagationPolicy", propagation, text)
        raise Invalid.of("DeleteOptions", "meta.k8s.io", "", [error])
    if orphan is not None:
        propagation = "Orphan" if str(orphan).lower() == "true" else "Background"
    if options.get("dryRun") not in (None, [], ["All"]):
        error = FieldError.not_supported("dryRun", options["dryRun"], ["All"])
        raise Invalid.of("DeleteOptions", "meta.k8s.io", "", [error])
    preconditions = options.get("preconditions") or {}
    return DeleteOptions(
        grace_seconds=grace,
        propagation=propagation or None,
        uid=preconditions.get("uid"),
        version=preconditions.get("resourceVersion"),
        dry_run=bool(options.get("dryRun")),
    )


def _deleted(target: Target, obj: Object) -> Object:
    details = {"name": target.name, "kind": target.resource.plural, "uid": obj["metadata"]["uid"]}
    if target.resource.group:
        details["group"] = target.resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
