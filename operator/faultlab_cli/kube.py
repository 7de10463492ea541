"""A small synchronous Kubernetes client over plain documents: what `faultlab` itself needs.

Connection and credentials come from the kubeconfig; kinds are found by discovery, so
`faultlab get raft` works with every short name that a server announces. What a server refuses is
told with what to do about it.
"""

import difflib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from lightkube.core.exceptions import ConfigError

from faultlab_cli import refusals
from faultlab_cli.errors import CliError
from faultlab_cli.kubeconfig import Configured

Document = dict[str, Any]
FIELD_MANAGER = "faultlab-cli"
DEFAULT_NAMESPACE = "faultlab"
"""Where neither the command nor the context names one."""
CORE = ("", "v1")
OWN_GROUP = "faultlab.dev"
MAX_LISTED = 30
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1,application/json"


class ApiError(CliError):
    """The API server refused; `status` is Kubernetes' Status document, or has but a message where the
    answer is from behind a proxy path (then `reason` is empty)."""

    def __init__(self, http_status: int, status: Document, origin: str = "this cluster") -> None:
        super().__init__(refusals.refused(http_status, status, origin))
        self.http_status = http_status
        self.reason = status.get("reason", "")


class Unreachable(CliError):
    """No answer came, or it broke off."""


@dataclass(frozen=True)
class Resource:
    """A kind as discovery describes it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    names: frozenset[str]
    """Everything a person may call it: plural, singular, short names, kind; in lower case."""

    @property
    def base(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None, name: str | None = None) -> str:
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.base}{scope}/{self.plural}" + (f"/{name}" if name else "")


class Kube:
    """One cluster, embedded or real.

    `namespace` is for what names none itself; `origin` is what messages call this cluster.
    """

    def __init__(self, client: httpx.Client, namespace: str, origin: str = "this cluster") -> None:
        self._client = client
        self.namespace = namespace
        self.origin = origin
        self._groups: dict[tuple[str, str], list[Resource]] = {}

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; raises ApiError for a refusal, Unreachable where the server is not reached."""
        timeout = options.pop("timeout", httpx.USE_CLIENT_DEFAULT)
        request = self._client.build_request(method, path, timeout=timeout, **options)
        with self._told():
            return self._accepted(self._send(request))

    def get(self, path: str, **options: Any) -> Any:
        return self.request("GET", path, **options).json()

    def find(self, path: str) -> Document | None:
        """The object at the path, or None where there is none."""
        try:
            found: Document = self.get(path)
        except ApiError as error:
            if error.http_status == 404:
                return None
            raise
        return found

    def apply(self, document: Document, namespace: str | None = None) -> tuple[Document, str]:
        """Server-side apply; returns the object and `created`, `configured` or `unchanged`."""
        metadata = document.get("metadata", {})
        resource = self.resource_of(document)
        path = resource.path(metadata.get("namespace") or namespace or self.namespace, metadata.get("name"))
        before = self.find(path)
        after: Document = self.request(
            "PATCH",
            path,
            params={"fieldManager": FIELD_MANAGER, "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            json=document,
        ).json()
        if before is None:
            return after, "created"
        same = before["metadata"].get("resourceVersion") == after["metadata"].get("resourceVersion")
        return after, "unchanged" if same else "configured"

    def delete(self, path: str, *, wait_s: float = 0.0) -> bool:
        """Deletes the object, waits up to `wait_s` until it is gone; False where there was none.

        A successor under the same name, as a StatefulSet makes, is another object.
        """
        try:
            answer = self.request("DELETE", path, json={"propagationPolicy": "Background"}).json()
        except ApiError as error:
            if error.http_status == 404:
                return False
            raise
        uid = answer.get("metadata", {}).get("uid") or answer.get("details", {}).get("uid")
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline and self.holds(path, uid):
            time.sleep(0.1)
        return True

    def holds(self, path: str, uid: str | None) -> bool:
        """Whether the object at the path is still the one with this uid (any, where None)."""
        found = self.find(path)
        return found is not None and uid in (None, found["metadata"].get("uid"))

    @contextmanager
    def stream(self, path: str, **options: Any) -> Iterator[httpx.Response]:
        """A long answer: logs, a watch, an artifact. What breaks it off while it is read is Unreachable."""
        timeout = options.pop("timeout", httpx.USE_CLIENT_DEFAULT)
        request = self._client.build_request("GET", path, timeout=timeout, **options)
        with self._told():
            response = self._send(request, stream=True)
            try:
                yield self._accepted(response)
            finally:
                response.close()

    def _send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """An exec plugin runs in here; what fails in it comes as it does in lightkube's own code."""
        try:
            return self._client.send(request, stream=stream)
        except (ConfigError, OSError, KeyError, ValueError) as error:
            cause = str(error) if isinstance(error, (ConfigError, OSError)) else "it gave no token"
            raise CliError(f"the credentials plugin of {self.origin} failed: {cause.strip()}") from error

    def _accepted(self, response: httpx.Response) -> httpx.Response:
        if response.is_error:
            response.read()
            raise ApiError(response.status_code, _status_of(response), self.origin)
        return response

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            url = str(self._client.base_url).rstrip("/")
            raise Unreachable(refusals.unreachable(url, self.origin, error)) from error

    def resource(self, name: str) -> Resource:
        """The resource that a person calls `name`; raises CliError with what exists where unknown.

        The core and the lab's own kinds come first, as short names may occur twice in a cluster.
        """
        wanted, _, group = name.lower().partition(".")
        known = set()
        for resource in self._discovered():
            if wanted in resource.names and (not group or resource.group == group):
                return resource
            known.add(resource.plural)
        raise CliError(f"there is no resource {name!r} here; {_instead(wanted, known)}")

    def resource_of(self, document: Document) -> Resource:
        """The resource that a manifest belongs to."""
        api_version, kind = document.get("apiVersion"), document.get("kind")
        if not api_version or not kind or not document.get("metadata", {}).get("name"):
            raise CliError("a manifest needs apiVersion, kind and metadata.name")
        group, _, version = str(api_version).rpartition("/")
        for resource in self._group(group, version):
            if resource.kind == kind:
                return resource
        what = f"{api_version} {kind}"
        if group == OWN_GROUP:
            raise CliError(refusals.not_installed(self.origin, what))
        raise CliError(f"{self.origin} does not know {what}")

    def _discovered(self) -> Iterator[Resource]:
        """All resources, in preferred versions; those of a group that does not answer are left out, as one
        broken extension API must not hide the rest."""
        yield from self._group(*CORE)
        groups = self.get("/apis").get("groups", [])
        for group in sorted(groups, key=lambda each: each["name"] != OWN_GROUP):
            yield from self._group(group["name"], group["preferredVersion"]["version"])

    def _group(self, group: str, version: str) -> list[Resource]:
        known = self._groups.get((group, version))
        if known is None:
            found = self._discovery(f"/apis/{group}/{version}" if group else f"/api/{version}")
            known = self._groups[group, version] = _resources(found, group, version)
        return known

    def _discovery(self, path: str) -> Document:
        try:
            found: Document = self.get(path)
        except ApiError as error:
            if error.http_status in (404, 503):
                return {}
            raise
        return found


def connect(kubeconfig: Path | None, context: str | None, *, origin: str = "") -> Kube:
    """Opens the cluster of a kubeconfig (default: KUBECONFIG, ~/.kube/config), raising CliError.

    Its namespace is the context's, else `faultlab`.
    """
    configured = Configured(kubeconfig)
    chosen = configured.context(context)
    namespace = chosen.context.namespace or DEFAULT_NAMESPACE
    return Kube(configured.client(chosen), namespace, origin or f"context {chosen.context_name}")


def pod_proxy(namespace: str, pod: str, port: int, path: str) -> str:
    """The API server's path to a pod's HTTP port: the only way in from outside."""
    return f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/{path.lstrip('/')}"


def _instead(wanted: str, known: set[str]) -> str:
    """What a person may have meant: everything, where that is not too much to read."""
    if len(known) <= MAX_LISTED:
        return f"there are {', '.join(sorted(known))}"
    close = difflib.get_close_matches(wanted, known)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{meant}`kubectl api-resources` lists all {len(known)}"


def _status_of(response: httpx.Response) -> Document:
    try:
        document = response.json()
    except ValueError:
        return {"message": response.text.strip()[:500]}
    return document if isinstance(document, dict) else {}


def _resources(discovery: Document, group: str, version: str) -> list[Resource]:
    return [
        Resource(
            group=group,
            version=version,
            plural=item["name"],
            kind=item["kind"],
            namespaced=item["namespaced"],
            names=frozenset(
                name.lower()
                for name in (
                    item["name"],
                    item.get("singularName") or item["kind"],
                    item["kind"],
                    *item.get("shortNames", ()),
                )
            ),
        )
        for item in discovery.get("resources", [])
        if "/" not in item["name"]
    ]
