"""Real worlds for the tests, and a client small enough to hold no opinion of its own."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from faultlab_embedded.world import NamespacesForbidden, WorldInfo, default_table, down, up

IMAGE = "faultlab/faultlab:0.1.0"
Object = dict[str, Any]
T = TypeVar("T")


def until(look: Callable[[], T], what: str = "", deadline_s: float = 15.0) -> T:
    """The first true answer of `look`; fails with the last one at the deadline."""
    end = time.monotonic() + deadline_s
    while not (answer := look()):
        if time.monotonic() > end:
            pytest.fail(f"not within {deadline_s} s: {what or look}: {answer!r}")
        time.sleep(0.02)
    return answer


class Api:
    """Requests to a world's API server, with the credentials of its kubeconfig."""

    def __init__(self, info: WorldInfo) -> None:
        config = yaml.safe_load(Path(info.kubeconfig).read_text())
        cluster = config["clusters"][0]["cluster"]
        ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.info = info
        self._url = cluster["server"]
        self._token = config["users"][0]["user"]["token"]
        self._tls = ssl.create_default_context(cadata=ca)

    def raw(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> bytes:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        request = urllib.request.Request(self._url + path, method=method, data=data, headers=headers)
        with urllib.request.urlopen(request, context=self._tls, timeout=10) as answer:
            return bytes(answer.read())

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Object:
        answer: Object = json.loads(self.raw(method, path, body, kind))
        return answer

    def find(self, path: str) -> Object | None:
        try:
            return self.call("GET", path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def merge(self, path: str, patch: Object) -> Object:
        return self.call("PATCH", path, patch, "application/merge-patch+json")

    def pod(self, name: str) -> Object | None:
        return self.find(f"/api/v1/namespaces/default/pods/{name}")

    def phase(self, name: str) -> str:
        return str(((self.pod(name) or {}).get("status") or {}).get("phase"))

    def container(self, name: str) -> Object:
        statuses = ((self.pod(name) or {}).get("status") or {}).get("containerStatuses") or [{}]
        first: Object = statuses[0]
        return first

    def run(self, name: str, command: list[str], **spec: Any) -> None:
        """Creates a pod with one container; keywords of the container in `container`, others in the spec."""
        container = {"name": "c", "image": IMAGE, "command": command, **spec.pop("container", {})}
        meta = {"name": name, "namespace": "default", "labels": spec.pop("labels", {})}
        body = {
            "containers": [container],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            **spec,
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body}
        self.call("POST", "/api/v1/namespaces/default/pods", pod)

    def create(self, plural: str, kind: str, name: str, **fields: Any) -> Object:
        """A core/v1 object in `default`."""
        meta = {"name": name, "namespace": "default"}
        obj = {"apiVersion": "v1", "kind": kind, "metadata": meta, **fields}
        return self.call("POST", f"/api/v1/namespaces/default/{plural}", obj)

    def delete(self, plural: str, name: str, grace_s: int | None = None) -> None:
        query = "" if grace_s is None else f"?gracePeriodSeconds={grace_s}"
        self.raw("DELETE", f"/api/v1/namespaces/default/{plural}/{name}{query}")

    def logs(self, name: str, query: str = "") -> str:
        return self.raw("GET", f"/api/v1/namespaces/default/pods/{name}/log{query}").decode()

    def output(self, name: str, command: list[str], **spec: Any) -> str:
        """Runs a pod to its end and returns what it printed."""
        self.run(name, command, **spec)
        until(lambda: self.phase(name) in ("Succeeded", "Failed"), f"{name} ends")
        return self.logs(name)


def start(home: Path, **options: Any) -> Api:
    """A world in `home`; skips where the machine forbids namespaces."""
    try:
        return Api(up(home, **{"images": default_table("faultlab/faultlab:*"), **options}))
    except NamespacesForbidden as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One world for all tests of a module."""
    home = tmp_path_factory.mktemp("world")
    yield start(home)
    down(home, purge=True)


@pytest.fixture
def start_world() -> Callable[..., Api]:
    return start


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    return until
