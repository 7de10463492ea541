"""Kubernetes' own API server on loopback, for tests that ask the real thing.

Programs are found by their variables (KUBE_APISERVER, ETCD, KUBE_CONTROLLER_MANAGER), on the PATH, or in the
test bed's cache (KINDBED_CACHE/bin).
"""

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
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

STARTS_WITHIN_S = 60.0
TOKEN = "tests-only"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Programs(NamedTuple):
    """Where Kubernetes' programs are; no controller manager where it was not found."""

    apiserver: str
    etcd: str
    controller_manager: str | None


def find_programs() -> Programs | None:
    """The programs of this machine, or None where it has no kube-apiserver and etcd."""
    apiserver, etcd = _program("KUBE_APISERVER", "kube-apiserver"), _program("ETCD", "etcd")
    if apiserver is None or etcd is None:
        return None
    return Programs(apiserver, etcd, _program("KUBE_CONTROLLER_MANAGER", "kube-controller-manager"))


class RealApi:
    """A kube-apiserver with an etcd of its own, which keep their files in `folder`.

    With `accounts` pods need and get their namespace's ServiceAccount, as on a cluster: call
    `start_controllers` then, which create it. With `rbac` accounts may do what roles say, and these tests
    everything. `stop` ends everything.
    """

    def __init__(
        self, folder: Path, programs: Programs, *, accounts: bool = False, rbac: bool = False
    ) -> None:
        self._folder = folder
        self._programs = programs
        self._processes: list[subprocess.Popen[bytes]] = []
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        client, peer, port = _free_ports(3)
        self.url = f"https://127.0.0.1:{port}"
        self._key = folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", str(self._key), "2048"], check=True, capture_output=True)
        tokens = folder / "tokens.csv"
        tokens.write_text(f"{TOKEN},tests,tests,system:masters\n")
        self._start(
            "etcd",
            programs.etcd,
            f"--data-dir={folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        )
        self._start(
            "apiserver",
            programs.apiserver,
            f"--etcd-servers=http://127.0.0.1:{client}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={folder / 'certs'}",
            f"--token-auth-file={tokens}",
            f"--service-account-key-file={self._key}",
            f"--service-account-signing-key-file={self._key}",
            "--service-account-issuer=https://tests.invalid",
            "--allow-privileged",
            f"--authorization-mode={'RBAC' if rbac else 'AlwaysAllow'}",
            *(() if accounts else ("--disable-admission-plugins=ServiceAccount",)),
            "--service-cluster-ip-range=10.0.0.0/24",
        )

    def start_controllers(self) -> None:
        """Kubernetes' controllers, for a server that is up. There is no scheduler and no node."""
        assert self._programs.controller_manager is not None, "no kube-controller-manager"
        kubeconfig = self._folder / "controllers.kubeconfig"
        kubeconfig.write_text(self.kubeconfig())
        self._start(
            "controllers",
            self._programs.controller_manager,
            f"--kubeconfig={kubeconfig}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={_free_ports(1)[0]}",
            f"--cert-dir={self._folder / 'controller-certs'}",
            f"--service-account-private-key-file={self._key}",
            f"--root-ca-file={self._folder / 'certs' / 'apiserver.crt'}",
        )

    def kubeconfig(self, token: str = TOKEN) -> str:
        """For clients that want one; YAML. With another token than the tests' own it is for its account."""
        cluster = {"server": self.url, "insecure-skip-tls-verify": True}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "tests", "user": {"token": token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
            "current-context": "tests",
        }
        return json.dumps(document)

    def _start(self, name: str, *command: str) -> None:
        with (self._folder / f"{name}.log").open("wb") as out:
            self._processes.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT))

    def stop(self) -> None:
        """Ends every process that was started; safe to call twice."""
        for process in reversed(self._processes):
            process.send_signal(signal.SIGKILL)
            process.wait()

    def request(
        self, method: str, path: str, body: Any = None, *, token: str = TOKEN
    ) -> tuple[int, dict[str, Any]]:
        """Status and body of one request with JSON; what is no JSON becomes the `message` of a dict."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
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

    def await_server(self) -> None:
        """Returns when it answers and has its namespaces."""
        self.until(lambda: self.request("GET", "/api/v1/namespaces/default")[0] == 200)

    def install(self, crd: dict[str, Any]) -> None:
        """Creates a CRD and waits until it is served. Fails where the server does not take it."""
        status, answer = self.request("POST", CRDS, crd)
        assert status == 201, answer["message"]
        self.until(lambda: self._established(f"{CRDS}/{crd['metadata']['name']}"))

    def _established(self, path: str) -> bool:
        conditions = self.request("GET", path)[1].get("status", {}).get("conditions") or []
        broken = [item["message"] for item in conditions if item["type"] == "NonStructuralSchema"]
        assert not broken, broken
        return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)

    def until(self, done: Callable[[], object]) -> None:
        """Waits for a condition; fails where a process ends or the deadline passes before it."""
        deadline = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                if done():
                    return
            except OSError:
                pass
            ended = [process.args for process in self._processes if process.poll() is not None]
            assert not ended, f"{ended} ended; see the logs in {self._folder}"
            assert time.monotonic() < deadline, f"not so within {STARTS_WITHIN_S} s; see {self._folder}"
            time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


def _program(variable: str, name: str) -> str | None:
    named = os.environ.get(variable)
    if named:
        return named
    cached = Path(os.environ.get("KINDBED_CACHE", "/nonexistent")) / "bin" / name
    return shutil.which(name) or (str(cached) if cached.exists() else None)
