"""Formats of requests and answers: what a client sends, what it wants back, and Status for everything
else."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import yaml
from aiohttp import web

from faultlab_embedded.store.errors import (
    ApiError,
    BadRequest,
    InternalError,
    NotAcceptable,
    NotServed,
    UnsupportedMediaType,
)

Object = dict[str, Any]
Shape = Literal["object", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
AGGREGATED = f"{JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_JSON_TYPES = (JSON, "application/*", "*/*")
_YAML_TYPES = (YAML, "application/x-yaml", "text/yaml")

NO_OBJECT = {list: "array", dict: "object", str: "string", bool: "bool", type(None): "null"}
"""What Go calls the kinds of values that are no numbers."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The first form in a request's Accept that can be produced."""

    shape: Shape = "object"
    yaml: bool = False


def accepted(request: web.Request, *, whole_only: bool = False) -> Accepted:
    """What the client wants; NotAcceptable where none of it can be had.

    With `whole_only` nothing is offered as a Table or as metadata.
    """
    header = request.headers.get("Accept", "").strip()
    if not header:
        return Accepted()
    known = False
    for offer in header.split(","):
        media, *rest = (part.strip() for part in offer.split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest)
        shape = parameters.get("as", "object")
        if media in _JSON_TYPES or media in _YAML_TYPES:
            known = True
            if shape == "object":
                return Accepted(yaml=media in _YAML_TYPES)
            if not whole_only and _is_meta_shape(parameters):
                return Accepted(shape)  # type: ignore[arg-type]
    if known or whole_only:
        raise NotAcceptable(f"only the following media types are accepted: {JSON}, {YAML}")
    raise NotAcceptable(
        f"406: Not Acceptable\n\nAvailable representations: {JSON}, {YAML}, {JSON};stream=watch", details={}
    )


def _is_meta_shape(parameters: Mapping[str, str]) -> bool:
    shapes = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
    named = parameters["as"] in shapes and parameters.get("g") == "meta.k8s.io"
    return named and parameters.get("v") == "v1"


def aggregated(request: web.Request) -> str | None:
    """The content type of aggregated discovery where the client asks for it first (kubectl does)."""
    media, *rest = request.headers.get("Accept", "").partition(",")[0].replace(" ", "").split(";")
    wanted = {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"}
    return AGGREGATED if media == JSON and wanted <= set(rest) else None


def reply(
    body: bytes, *, status: int = 200, as_yaml: bool = False, warnings: Iterable[str] = ()
) -> web.Response:
    """An answer from encoded JSON."""
    response = web.Response(body=body, status=status, content_type=JSON)
    if as_yaml:
        text = yaml.safe_dump(msgspec.json.decode(body), sort_keys=False)
        response = web.Response(text=text, status=status, content_type=YAML)
    response.headers["Cache-Control"] = "no-cache, private"
    add_warnings(response, warnings)
    return response


def add_warnings(response: web.StreamResponse, warnings: Iterable[str]) -> None:
    """Headers that kubectl prints as `Warning: ...`; each once."""
    for warning in dict.fromkeys(warnings):
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')


def reply_object(
    obj: Object,
    *,
    status: int = 200,
    as_yaml: bool = False,
    warnings: Iterable[str] = (),
    content_type: str = "",
) -> web.Response:
    """An answer from an object."""
    response = reply(msgspec.json.encode(obj), status=status, as_yaml=as_yaml, warnings=warnings)
    if content_type:
        response.headers["Content-Type"] = content_type
    return response


def reply_error(error: ApiError) -> web.Response:
    """The `Status` of an error."""
    return reply_object(error.status(), status=error.code)


async def read_body(request: web.Request, *, expected: str = "Object") -> Object:
    """The request's body as an object, from JSON or YAML; UnsupportedMediaType or BadRequest otherwise."""
    raw = await request.read()
    media = request.content_type if request.headers.get("Content-Type") else JSON
    if media == PROTOBUF:
        raise UnsupportedMediaType(
            "this server reads JSON and YAML, not protobuf; some kubectl commands (create configmap, "
            "namespace, "
            "secret or token, auth can-i) send nothing else: write a manifest and use `kubectl apply -f` "
            "instead"
        )
    if media in _YAML_TYPES:
        return decode_yaml(raw, expected)
    if media not in (JSON, "application/octet-stream", "text/plain"):
        raise UnsupportedMediaType(
            f"the body of the request was in an unknown format - accepted media types include: {JSON}, {YAML}"
        )
    return decode_json(raw, expected)


def decode_json(raw: bytes, expected: str) -> Object:
    """JSON bytes as an object; BadRequest with the decoder's words."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        why = f"couldn't get version/kind; json parse error: {json_error(error)}"
        raise _unrecognized(expected, why) from error
    return _as_object(value, expected)


def json_error(error: Exception) -> str:
    """What is wrong with a text that should be JSON; where it ends too early, in Go's words."""
    return "unexpected end of JSON input" if "truncated" in str(error) else str(error)


class _Loader(yaml.SafeLoader):
    """Reads no aliases: a few lines of them can stand for gigabytes, and clients expand their own."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read here: write the content out")
        return super().compose_node(parent, index)


def load_yaml(raw: bytes) -> Any:
    """One YAML document as JSON's types; ValueError with the parser's words."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # most YAML that clients send is JSON, which is read a hundred times faster
    try:
        value = yaml.load(raw, _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"yaml: {error}") from error
    # Through JSON, so that YAML's dates become text and nothing but JSON's types is left.
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, msgspec.MsgspecError) as error:
        raise ValueError(f"yaml: the document holds what JSON cannot say: {error}") from error


def decode_yaml(raw: bytes, expected: str) -> Object:
    """One YAML document as an object; BadRequest with the parser's words."""
    try:
        return _as_object(load_yaml(raw), expected)
    except ValueError as error:
        raise _unrecognized(expected, str(error)) from error


def _as_object(value: Any, expected: str) -> Object:
    if not isinstance(value, dict):
        kind = NO_OBJECT.get(type(value), "number")
        raise _unrecognized(
            expected, f"couldn't get version/kind; json parse error: json: cannot unmarshal {kind}"
        )
    return value


def _unrecognized(expected: str, why: str) -> BadRequest:
    return BadRequest(f"the object provided is unrecognized (must be of type {expected}): {why}")


@web.middleware
async def errors_as_status(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error leaves as a Kubernetes Status; what nobody foresaw as a 500 that names it, with a log
    entry."""
    try:
        return await handler(request)
    except NotServed as error:
        return web.Response(text=f"{error.message}\n", status=error.code)
    except ApiError as error:
        return reply_error(error)
    except web.HTTPRequestEntityTooLarge as error:
        too_large = BadRequest(f"the body is larger than this server takes: {error.text}")
        return reply_object(
            {**too_large.status(), "code": 413, "reason": "RequestEntityTooLarge"}, status=413
        )
    except web.HTTPException as error:
        if error.status < 400:
            raise
        body = ApiError(error.reason).status()
        return reply_object({**body, "code": error.status, "reason": error.reason}, status=error.status)
    except ConnectionError:
        raise
    except RecursionError:
        return reply_error(BadRequest("the body is nested more deeply than this server follows"))
    except Exception as error:
        log.exception("%s %s failed", request.method, request.path)
        return reply_error(InternalError(f"an error on the server: {type(error).__name__}: {error}"))
