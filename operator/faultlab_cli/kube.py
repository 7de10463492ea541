"""A small synchronous Kubernetes client over plain documents: what `faultlab` itself needs.

Connection and credentials come from lightkube's kubeconfig reader; kinds are found by discovery, so
`faultlab get raft` works with every short name that a server announces.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ConfigError

from faultlab_cli.errors import CliError

Document = dict[str, Any]
FIELD_MANAGER = "faultlab-cli"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1,application/json"


class ApiError(CliError):
    """The API server refused; `status` is Kubernetes' Status document."""

    def __init__(self, http_status: int, status: Document) -> None:
        super().__init__(str(status.get("message") or f"the API server answered {http_status}"))
        self.http_status = http_status
        self.reason = status.get("reason", "")


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
    """One cluster, embedded or real."""

    def __init__(self, client: httpx.Client, namespace: str) -> None:
        self._client = client
        self.namespace = namespace
        self._resources: list[Resource] = []

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; raises ApiError for a refusal, CliError where the server is not reached."""
        try:
            response = self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise CliError(f"the API server at {self._client.base_url} does not answer: {error}") from error
        if response.is_error:
            raise ApiError(response.status_code, _status_of(response))
        return response

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
        """A long answer: logs, a watch, an artifact."""
        with self._client.stream("GET", path, **options) as response:
            if response.is_error:
                response.read()
                raise ApiError(response.status_code, _status_of(response))
            yield response

    def resource(self, name: str) -> Resource:
        """The resource that a person calls `name`; raises CliError with what exists where unknown."""
        wanted, _, group = name.lower().partition(".")
        for resource in self._discovered():
            if wanted in resource.names and (not group or resource.group == group):
                return resource
        known = ", ".join(sorted({r.plural for r in self._discovered()}))
        raise CliError(f"there is no resource {name!r} here; there are {known}")

    def resource_of(self, document: Document) -> Resource:
        """The resource that a manifest belongs to."""
        api_version, kind = document.get("apiVersion"), document.get("kind")
        if not api_version or not kind or not document.get("metadata", {}).get("name"):
            raise CliError("a manifest needs apiVersion, kind and metadata.name")
        group, _, version = str(api_version).rpartition("/")
        for resource in self._discovered():
            if (resource.group, resource.version, resource.kind) == (group, version, kind):
                return resource
        raise CliError(f"this cluster does not know {api_version} {kind}; are Faultlab's CRDs installed?")

    def _discovered(self) -> list[Resource]:
        if not self._resources:
            self._resources = _resources(self.get("/api/v1"), "", "v1")
            for group in self.get("/apis").get("groups", []):
                name, version = group["name"], group["preferredVersion"]["version"]
                self._resources += _resources(self.get(f"/apis/{name}/{version}"), name, version)
        return self._resources


def connect(kubeconfig: Path | None, context: str | None) -> Kube:
    """Opens the cluster of a kubeconfig (default: KUBECONFIG, ~/.kube/config), raising CliError."""
    try:
        loaded = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()
        config = loaded.get(context_name=context)
        if config is None:
            raise CliError("no cluster is configured; `faultlab up` starts the embedded one")
        local = urlsplit(config.cluster.server).hostname in ("127.0.0.1", "localhost", "::1")
        client = Client(config, ConnectionParams(timeout=httpx.Timeout(10.0), trust_env=not local))
    except (ConfigError, OSError) as error:
        raise CliError(f"kubeconfig: {error}") from error
    return Kube(client, config.namespace)


def pod_proxy(namespace: str, pod: str, port: int, path: str) -> str:
    """The API server's path to a pod's HTTP port: the only way in from outside."""
    return f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/{path.lstrip('/')}"


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
