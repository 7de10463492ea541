"""Lists: which version is asked for, and one page after the other."""

from __future__ import annotations

import base64
import bisect
from collections.abc import Mapping
from itertools import islice

import msgspec

from faultlab_embedded.apiserver.formats import Object
from faultlab_embedded.apiserver.target import Target, integer, selection_of, version_number
from faultlab_embedded.store.errors import (
    BadRequest,
    Expired,
    FieldError,
    GatewayTimeout,
    Invalid,
    Unclassified,
)
from faultlab_embedded.store.log import Record
from faultlab_embedded.store.registry import Registry

MATCH = "resourceVersionMatch"


def check_read(registry: Registry, query: Mapping[str, str]) -> None:
    """Whether an object can be read as it is asked for: objects are shown as they are now."""
    try:
        asked = version_number(query) or 0
    except ValueError as error:
        raise Unclassified(str(error)) from None
    if asked > registry.version:
        raise GatewayTimeout.ahead(asked, registry.version)


def check_version(registry: Registry, query: Mapping[str, str]) -> None:
    """Whether a list can be had as it is asked for. Lists are always of the present: another exact version is
    gone, a later one never was."""
    if errors := _wrong_match(query):
        raise Invalid.of("ListOptions", "meta.k8s.io", "", errors)
    try:
        asked = version_number(query)
    except ValueError as error:
        raise BadRequest(f"invalid resource version: {error}") from None
    if not asked:
        return
    if query.get("continue"):
        raise BadRequest("specifying resource version is not allowed when using continue")
    if asked > registry.version:
        raise GatewayTimeout.ahead(asked, registry.version)
    if query.get(MATCH) == "Exact" and asked != registry.version:
        raise Expired(f"The resourceVersion for the provided list is too old: {asked}")


def _wrong_match(query: Mapping[str, str]) -> list[FieldError]:
    """What resourceVersionMatch may not say, given the other options."""
    errors = []
    if match := query.get(MATCH, ""):
        version = query.get("resourceVersion", "")
        if not version:
            detail = f"{MATCH} is forbidden unless resourceVersion is provided"
            errors.append(FieldError.forbidden(MATCH, detail))
        if query.get("continue"):
            errors.append(FieldError.forbidden(MATCH, f"{MATCH} is forbidden when continue is provided"))
        if match not in ("Exact", "NotOlderThan"):
            errors.append(FieldError.not_supported(MATCH, match, ["Exact", "NotOlderThan", ""]))
        if match == "Exact" and version == "0":
            detail = f'{MATCH} "exact" is forbidden for resourceVersion "0"'
            errors.append(FieldError.forbidden(MATCH, detail))
    if "sendInitialEvents" in query:
        errors.append(FieldError.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return errors


def page(registry: Registry, target: Target, query: Mapping[str, str]) -> tuple[list[Record], Object]:
    """One page and the list's metadata. It goes on in the present state, not in a snapshot."""
    meta: Object = {"resourceVersion": str(registry.version)}
    limit = max(integer(query, "limit") or 0, 0)
    resource = target.resource
    selection = selection_of(target, query)
    every = list(registry.records(resource.stored_as or resource.key, selection))
    start = 0
    if token := query.get("continue"):
        after = _read_continue(token)
        start = bisect.bisect_right(every, after, key=lambda record: (record.namespace, record.name))
    found = list(islice(every, start, start + limit if limit else None))
    if left := len(every) - start - len(found):
        meta["continue"] = _write_continue(found[-1])
        if selection.labels is None and selection.fields is None:
            meta["remainingItemCount"] = left
    return found, meta


def _write_continue(record: Record) -> str:
    token = msgspec.json.encode([record.namespace, record.name])
    return base64.urlsafe_b64encode(token).decode()


def _read_continue(token: str) -> tuple[str, str]:
    try:
        namespace, name = msgspec.json.decode(base64.urlsafe_b64decode(token), type=tuple[str, str])
    except (ValueError, msgspec.MsgspecError):
        raise BadRequest(
            "invalid continue token: continue key is not valid: take it from the last list's "
            "metadata.continue"
        ) from None
    return namespace, name
