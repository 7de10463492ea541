"""API servers to try the CRDs on: the embedded registry, and Kubernetes' own where its program is."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from faultlab_operator.api import API_VERSION, KINDS
from faultlab_operator.api.generate import load_crds
from faultlab_operator.kube.resources import RESOURCES

STARTS_WITHIN_S = 60.0
TOKEN = "tests-only"


class Answer(NamedTuple):
    accepted: bool
    message: str
    obj: dict[str, Any]


class ApiUnderTest(Protocol):
    def create(self, obj: dict[str, Any]) -> Answer: ...
    def update(self, obj: dict[str, Any], subresource: str = "") -> Answer: ...
    def delete(self, kind: str, name: str) -> None: ...
    def take(self, obj: dict[str, Any]) -> Answer:
        """Creates an object of one of Kubernetes' own kinds."""


class EmbeddedApi:
    """The embedded world's registry, without its HTTP."""

    def __init__(self) -> None:
        registry_module = pytest.importorskip("faultlab_embedded.store.open")
        self._errors = pytest.importorskip("faultlab_embedded.store.errors")
        self._registry = registry_module.open_registry(None)
        for crd in load_crds():
            self._registry.create("customresourcedefinitions.apiextensions.k8s.io", crd)

    def _resource(self, kind: str) -> str:
        return f"{KINDS[kind].plural}.faultlab.dev"

    def create(self, obj: dict[str, Any]) -> Answer:
        try:
            return Answer(True, "", self._registry.create(self._resource(obj["kind"]), obj))
        except self._errors.ApiError as error:
            return Answer(False, json.dumps(error.status()), {})

    def update(self, obj: dict[str, Any], subresource: str = "") -> Answer:
        try:
            made = self._registry.update(self._resource(obj["kind"]), obj, subresource=subresource or None)
            return Answer(True, "", made)
        except self._errors.ApiError as error:
            return Answer(False, json.dumps(error.status()), {})

    def delete(self, kind: str, name: str) -> None:
        self._registry.delete(self._resource(kind), "default", name)

    def take(self, obj: dict[str, Any]) -> Answer:
        group = obj["apiVersion"].rpartition("/")[0]
        resource = f"{RESOURCES[obj['kind']].plural}.{group}".rstrip(".")
        try:
            return Answer(True, "", self._registry.create(resource, obj))
        except self._errors.ApiError as error:
            return Answer(False, json.dumps(error.status()), {})


class RealApi:
    """A kube-apiserver with an etcd of its own, on loopback."""

    def __init__(self, folder: Path, apiserver: str, etcd: str) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        client, peer, port = _free_ports(3)
        self._base = f"https://127.0.0.1:{port}"
        key = folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        tokens = folder / "tokens.csv"
        tokens.write_text(f"{TOKEN},tests,tests,system:masters\n")
        self._start(
            folder / "etcd.log",
            [
                etcd,
                "--data-dir",
                str(folder / "etcd"),
                "--unsafe-no-fsync",
                f"--listen-client-urls=http://127.0.0.1:{client}",
                f"--advertise-client-urls=http://127.0.0.1:{client}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
            ],
        )
        self._start(
            folder / "apiserver.log",
            [
                apiserver,
                f"--etcd-servers=http://127.0.0.1:{client}",
                f"--secure-port={port}",
                "--bind-address=127.0.0.1",
                f"--cert-dir={folder / 'certs'}",
                f"--token-auth-file={tokens}",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-account-issuer=https://tests.invalid",
                "--authorization-mode=AlwaysAllow",
                "--disable-admission-plugins=ServiceAccount",
                "--service-cluster-ip-range=10.0.0.0/24",
            ],
        )

    def _start(self, log: Path, command: list[str]) -> None:
        with log.open("wb") as out:
            self._processes.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT))

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGKILL)
            process.wait()

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            text = error.read()
            try:
                return error.code, json.loads(text)
            except ValueError:
                return error.code, {"message": text.decode(errors="replace")}

    def install(self) -> None:
        """Waits for the server and gives it the CRDs. Fails where it does not take them."""
        self._until(lambda: self.request("GET", "/api/v1/namespaces/default")[0] == 200)
        for crd in load_crds():
            path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            status, answer = self.request("POST", path, crd)
            assert status == 201, answer["message"]
            self._until(lambda path=path, crd=crd: self._established(f"{path}/{crd['metadata']['name']}"))

    def _established(self, path: str) -> bool:
        conditions = self.request("GET", path)[1].get("status", {}).get("conditions") or []
        broken = [item["message"] for item in conditions if item["type"] == "NonStructuralSchema"]
        assert not broken, broken
        return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)

    def _until(self, done: Any) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                if done():
                    return
            except OSError:
                pass
            ended = [process.args for process in self._processes if process.poll() is not None]
            assert not ended, f"{ended} ended"
            assert time.monotonic() < deadline, "the API server did not come up"
            time.sleep(0.1)

    def _path(self, kind: str) -> str:
        return f"/apis/{API_VERSION}/namespaces/default/{KINDS[kind].plural}"

    def create(self, obj: dict[str, Any]) -> Answer:
        status, answer = self.request("POST", self._path(obj["kind"]), obj)
        return Answer(status == 201, json.dumps(answer), answer)

    def update(self, obj: dict[str, Any], subresource: str = "") -> Answer:
        path = f"{self._path(obj['kind'])}/{obj['metadata']['name']}"
        status, answer = self.request("PUT", f"{path}/{subresource}".rstrip("/"), obj)
        return Answer(status == 200, json.dumps(answer), answer)

    def delete(self, kind: str, name: str) -> None:
        status, answer = self.request("DELETE", f"{self._path(kind)}/{name}")
        assert status == 200, answer

    def take(self, obj: dict[str, Any]) -> Answer:
        path = RESOURCES[obj["kind"]].path(obj["metadata"]["namespace"])
        status, answer = self.request("POST", path + "?fieldValidation=Strict", obj)
        return Answer(status == 201, json.dumps(answer), answer)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


def _program(variable: str, name: str) -> str | None:
    """By its variable, on the PATH, or in the test bed's cache."""
    named = os.environ.get(variable)
    if named:
        return named
    cached = Path(os.environ.get("KINDBED_CACHE", "/nonexistent")) / "bin" / name
    return shutil.which(name) or (str(cached) if cached.exists() else None)


@pytest.fixture(scope="session", params=["embedded", "kube-apiserver"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiUnderTest]:
    if request.param == "embedded":
        yield EmbeddedApi()
        return
    apiserver, etcd = _program("KUBE_APISERVER", "kube-apiserver"), _program("ETCD", "etcd")
    if apiserver is None or etcd is None:
        pytest.skip("no kube-apiserver and etcd: set KUBE_APISERVER and ETCD, or put them on the PATH")
    server = RealApi(tmp_path_factory.mktemp("apiserver"), apiserver, etcd)
    try:
        server.install()
        yield server
    finally:
        server.stop()
