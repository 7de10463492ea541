"""The operator as a process with its account's token and nothing more: no request of its work is refused."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_cluster import Cluster
from chart_lab import NAMESPACE, ROOT, Object

WITHIN_S = 30.0
REFUSED = re.compile(r"\b40[13]\b|forbidden|not enough permissions", re.IGNORECASE)


class Operator:
    """A running `faultlab-operator`."""

    def __init__(self, cluster: Cluster, folder: Path, namespaces: str) -> None:
        self._log = folder / "operator.log"
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(cluster.api.kubeconfig(cluster.token("faultlab-operator")))
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
            ports = one.getsockname()[1], two.getsockname()[1]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")}
        environment |= {
            "KUBECONFIG": str(kubeconfig),
            "POD_NAME": "operator",
            "POD_NAMESPACE": NAMESPACE,
            "FAULTLAB_NAMESPACES": namespaces,
            "FAULTLAB_DATA_DIR": str(folder / "data"),
            "FAULTLAB_HTTP_PORT": str(ports[0]),
            "FAULTLAB_LOCUST_PORT": str(ports[1]),
        }
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "faultlab_operator.main"], env=environment, stdout=out, stderr=out
            )

    def until(self, done: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not done():
            assert self._process.poll() is None, f"the operator ended:\n{self.log()}"
            assert time.monotonic() < deadline, f"{what}: not within {WITHIN_S} s:\n{self.log()}"
            time.sleep(0.1)

    def log(self) -> str:
        return self._log.read_text()

    def refusals(self) -> list[str]:
        return [line for line in self.log().splitlines() if REFUSED.search(line)]

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()


@pytest.fixture(params=["", "faultlab"], ids=["all namespaces", "one namespace"])
def operator(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path: Path
) -> Iterator[tuple[Cluster, Operator]]:
    served: str = request.param
    cluster.install({"operator": {"watchNamespaces": [served] if served else []}})
    running = Operator(cluster, tmp_path, served)
    try:
        yield cluster, running
    finally:
        running.stop()
        cluster.install()


def get(cluster: Cluster, path: str) -> dict[str, Any]:
    """The object there, empty if there is none."""
    status, answer = cluster.api.request("GET", path)
    return answer if status == 200 else {}


SYSTEM_OF_NOBODY = {"system": {"kind": "RaftCluster", "name": "nobody"}}
PARTITION: Object = {
    "apiVersion": "faultlab.dev/v1alpha1",
    "kind": "NetworkPartition",
    "metadata": {"name": "waiting"},
    "spec": {
        "selector": SYSTEM_OF_NOBODY,
        "topology": {"type": "isolate", "with": {"members": ["nobody-0"]}},
        "duration": "10s",
    },
}
LOAD: Object = {
    "apiVersion": "faultlab.dev/v1alpha1",
    "kind": "LoadTest",
    "metadata": {"name": "waiting"},
    "spec": SYSTEM_OF_NOBODY,
}
SCENARIO: Object = yaml.safe_load((ROOT / "chaos/scenarios/raft-leader-partition.yaml").read_text())
LAB = "namespaces/faultlab"
OURS = f"/apis/faultlab.dev/v1alpha1/{LAB}"


def test_nothing_of_its_work_is_refused(operator: tuple[Cluster, Operator]) -> None:
    """As far as it comes where no pod ever runs: children and status of all kinds, the key and the lock."""
    cluster, running = operator
    scenario, system = SCENARIO["metadata"]["name"], SCENARIO["spec"]["systems"][0]["metadata"]["name"]
    given = {
        f"{OURS}/scenarios/{scenario}": SCENARIO,
        f"{OURS}/networkpartitions/waiting": PARTITION,
        f"{OURS}/loadtests/waiting": LOAD,
    }
    children = [
        f"{OURS}/raftclusters/{system}",
        f"/api/v1/{LAB}/configmaps/{system}-config",
        f"/api/v1/{LAB}/secrets/{system}-peers",
        f"/api/v1/{LAB}/services/{system}",
        f"/apis/apps/v1/{LAB}/statefulsets/{system}",
        f"/apis/policy/v1/{LAB}/poddisruptionbudgets/{system}",
    ]
    stray = f"/apis/faultlab.dev/v1alpha1/namespaces/{NAMESPACE}/loadtests/waiting"
    home = [
        f"/api/v1/namespaces/{NAMESPACE}/secrets/faultlab-agent",
        f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/faultlab-operator",
    ]
    try:
        for path, obj in given.items():
            status, answer = cluster.api.request("POST", path.rpartition("/")[0], obj)
            assert status == 201, answer["message"]
        assert cluster.api.request("POST", stray.rpartition("/")[0], LOAD)[0] == 201
        for path in (*home, *children):
            running.until(lambda path=path: get(cluster, path), path)
        for path in (*given, children[0]):
            running.until(lambda path=path: get(cluster, path).get("status"), f"status of {path}")
        assert not running.refusals()
    finally:
        # Nobody collects garbage here.
        for path in (*given, *children, stray):
            cluster.api.request("DELETE", path)
