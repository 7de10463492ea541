"""The one tree of errors that storing or serving an object can raise, each one a Kubernetes `Status`.

Wording follows kube-apiserver (apimachinery's `api/errors` and `util/validation/field`), because clients and
people match on it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class ApiError(Exception):
    """Base of the tree: an answer other than success, with its HTTP code, reason and message."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(self, message: str, *, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def status(self) -> dict[str, Any]:
        """The `v1.Status` object that goes on the wire."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


class InternalError(ApiError):
    """A fault of the server itself (500)."""


class Unclassified(ApiError):
    """What kube-apiserver answers with a 500 that gives no reason, for some requests that are wrong."""

    reason = ""


class BadRequest(ApiError):
    """The request cannot be understood: malformed body, wrong kind, unknown selector (400)."""

    code = 400
    reason = "BadRequest"


class Undecodable(BadRequest):
    """An object that cannot be read as one of its kind (400); `why` in the words of Go's decoder."""

    def __init__(self, sent: str, version: str, kind: str, why: str) -> None:
        super().__init__(f'{sent} in version "{version}" cannot be handled as a {kind}: {why}')
        self.why = why


class Unauthorized(ApiError):
    """No token, or one that this world did not issue (401)."""

    code = 401
    reason = "Unauthorized"

    def __init__(self, message: str = "Unauthorized") -> None:
        super().__init__(message)


class Forbidden(ApiError):
    """Understood and refused, as a create in a namespace that is going away (403)."""

    code = 403
    reason = "Forbidden"

    @classmethod
    def of(cls, resource: str, name: str, why: str, causes: Sequence[dict[str, Any]] = ()) -> Forbidden:
        """`configmaps "x" is forbidden: ...`."""
        details = _details(resource, name)
        if causes:
            details["causes"] = list(causes)
        return cls(f'{resource} "{name}" is forbidden: {why}', details=details)


class NotFound(ApiError):
    """No such object, resource or path (404)."""

    code = 404
    reason = "NotFound"

    @classmethod
    def of(cls, resource: str, name: str) -> NotFound:
        """`pods "x" not found`; `resource` is `plural[.group]`."""
        return cls(f'{resource} "{name}" not found', details=_details(resource, name))

    @classmethod
    def path(cls) -> NotFound:
        """What kube-apiserver says about a path it does not serve."""
        return cls("the server could not find the requested resource", details={})


class NotServed(NotFound):
    """A path that belongs to no group; kube-apiserver answers these with plain text (404)."""

    def __init__(self) -> None:
        super().__init__("404 page not found")


class MethodNotAllowed(ApiError):
    """The resource exists and does not do this (405)."""

    code = 405
    reason = "MethodNotAllowed"

    def __init__(self, message: str = "") -> None:
        message = message or "the server does not allow this method on the requested resource"
        super().__init__(message, details={})


class NotAcceptable(ApiError):
    """None of the formats in Accept can be produced (406)."""

    code = 406
    reason = "NotAcceptable"


class AlreadyExists(ApiError):
    """A create of a name that is taken (409)."""

    code = 409
    reason = "AlreadyExists"

    @classmethod
    def of(cls, resource: str, name: str, *, going: bool = False) -> AlreadyExists:
        """`going`: what is there is being deleted."""
        head = "object is being deleted: " if going else ""
        return cls(f'{head}{resource} "{name}" already exists', details=_details(resource, name))


class Conflict(ApiError):
    """A write that was computed from an older version, or a failed precondition (409)."""

    code = 409
    reason = "Conflict"

    @classmethod
    def of(cls, resource: str, name: str, why: str | None = None) -> Conflict:
        why = why or (
            "the object has been modified; please apply your changes to the latest version and try again"
        )
        return cls(
            f'Operation cannot be fulfilled on {resource} "{name}": {why}', details=_details(resource, name)
        )


class ApplyConflict(ApiError):
    """Server-side apply without force of fields that other managers own (409)."""

    code = 409
    reason = "Conflict"


class Expired(ApiError):
    """A resourceVersion or continue token older than what is remembered: list again (410)."""

    code = 410
    reason = "Expired"


class UnsupportedMediaType(ApiError):
    """A body in a format that is not read here (415)."""

    code = 415
    reason = "UnsupportedMediaType"


class TooManyRequests(ApiError):
    """Refused for now, as an eviction that a disruption budget forbids (429)."""

    code = 429
    reason = "TooManyRequests"


class ServiceUnavailable(ApiError):
    """What stands behind the request does not answer, as a pod without an address (503)."""

    code = 503
    reason = "ServiceUnavailable"


class GatewayTimeout(ApiError):
    """A resourceVersion from the future: this server never was that far (504)."""

    code = 504
    reason = "Timeout"

    @classmethod
    def ahead(cls, asked: int, current: int) -> GatewayTimeout:
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        message = f"Timeout: Too large resource version: {asked}, current: {current}"
        return cls(message, details={"causes": [cause], "retryAfterSeconds": 1})


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field.

    `reason` is the cause's reason in Kubernetes' words (FieldValueRequired, ...); `text` reads as
    `Required value: ...` and is shown after the field's path.
    """

    reason: str
    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"

    @classmethod
    def required(cls, field: str, detail: str = "") -> FieldError:
        return cls("FieldValueRequired", field, _with("Required value", detail))

    @classmethod
    def invalid(cls, field: str, value: Any, detail: str) -> FieldError:
        return cls("FieldValueInvalid", field, f"Invalid value: {_show(value)}: {detail}")

    @classmethod
    def type_invalid(cls, field: str, value: Any, detail: str) -> FieldError:
        return cls("FieldValueTypeInvalid", field, f"Invalid value: {_show(value)}: {detail}")

    @classmethod
    def not_supported(cls, field: str, value: Any, supported: Sequence[str]) -> FieldError:
        options = ", ".join(json.dumps(option) for option in supported)
        return cls(
            "FieldValueNotSupported", field, f"Unsupported value: {_show(value)}: supported values: {options}"
        )

    @classmethod
    def forbidden(cls, field: str, detail: str) -> FieldError:
        return cls("FieldValueForbidden", field, _with("Forbidden", detail))

    @classmethod
    def not_found(cls, field: str, value: Any) -> FieldError:
        return cls("FieldValueNotFound", field, f"Not found: {_show(value)}")

    @classmethod
    def duplicate(cls, field: str, value: Any) -> FieldError:
        return cls("FieldValueDuplicate", field, f"Duplicate value: {_show(value)}")

    @classmethod
    def too_long(cls, field: str, limit: int) -> FieldError:
        return cls("FieldValueTooLong", field, f"Too long: may not be more than {limit} bytes")

    @classmethod
    def too_many(cls, field: str, count: int, limit: int) -> FieldError:
        items = "item" if limit == 1 else "items"
        return cls("FieldValueTooMany", field, f"Too many: {count}: must have at most {limit} {items}")


class Invalid(ApiError):
    """The object is well formed and says something that may not be (422)."""

    code = 422
    reason = "Invalid"

    @classmethod
    def of(cls, kind: str, group: str, name: str, errors: Sequence[FieldError]) -> Invalid:
        """`StatefulSet.apps "x" is invalid: spec.replicas: ...` with one cause for each error."""
        shown = list(dict.fromkeys(str(error) for error in errors))
        joined = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
        qualified = f"{kind}.{group}" if group else kind
        details: dict[str, Any] = {"name": name} if name else {}
        if group:
            details["group"] = group
        details["kind"] = kind
        details["causes"] = [
            {"reason": error.reason, "message": error.text, "field": error.field} for error in errors
        ]
        return cls(f'{qualified} "{name}" is invalid: {joined}', details=details)


class PatchFailed(ApiError):
    """A patch that does not fit the object, or makes it one that cannot be read (422)."""

    code = 422
    reason = "Invalid"

    def __init__(self) -> None:
        super().__init__("the server rejected our request due to an error in our request", details={})

    @classmethod
    def making(cls, obj: dict[str, Any], why: str) -> PatchFailed:
        """`why` the object that the patch makes cannot be read."""
        error = FieldError("FieldValueInvalid", "patch", f"Invalid value: {_show(_show(obj))}: {why}")
        failed = cls()
        failed.message = f' "" is invalid: {error}'
        failed.details = {"causes": [{"reason": error.reason, "message": error.text, "field": error.field}]}
        return failed


def _details(resource: str, name: str) -> dict[str, Any]:
    plural, _, group = resource.partition(".")
    return {"name": name, **({"group": group} if group else {}), "kind": plural}


def _with(head: str, detail: str) -> str:
    return f"{head}: {detail}" if detail else head


def _show(value: Any) -> str:
    shown = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, dict | list):  # Go escapes what HTML would read, of all but plain texts
        for char in "<>&":
            shown = shown.replace(char, f"\\u{ord(char):04x}")
    return shown
